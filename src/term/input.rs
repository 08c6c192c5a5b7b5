//! Threads that turn terminal input and signals into events, and end the process if the explorer does not.

use std::{
    io::{self, stdin},
    process::exit,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{self, KeyCode, KeyModifiers, MouseEventKind};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    iterator::Signals,
};

use super::{decode::Decoder, graphics::Answer, modes};
use crate::explorer::Event;

/// How long the explorer may take to end after [`Event::Quit`].
const GRACE: Duration = Duration::from_millis(400);

/// Send keys, mouse events and sizes; [`Event::Suspend`] and [`Event::Continued`] when the process is stopped and
/// continued from outside; the terminal's answers to queries; and [`Event::Quit`] on Ctrl-C, on SIGTERM, SIGHUP, SIGINT
/// and SIGQUIT, and when the terminal is closed.
///
/// If the receiver does not end the process soon after [`Event::Quit`], this restores the terminal, calls `settle` and ends
/// the process.
///
/// # Errors
/// Signals can't be caught, or threads can't be started.
pub fn listen<T: From<Event> + From<Answer> + Send + 'static>(events: &Sender<T>, settle: fn()) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT])?;
    let sender = events.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // a job in the background misses SIGWINCH, so SIGCONT reports the size too
            let resized = || modes::size().ok().map(|(width, height)| Event::Resize(width, height));
            let events = match signal {
                SIGWINCH => [resized(), None],
                SIGTSTP => [Some(Event::Suspend), None],
                SIGCONT => [resized(), Some(Event::Continued)],
                _ => end(&sender, settle),
            };
            for event in events.into_iter().flatten() {
                // fails only after the explorer has ended
                let _ = sender.send(event.into());
            }
        }
    })?;
    let sender = events.clone();
    thread::Builder::new().name("input".into()).spawn(move || {
        let answer = |answer: Answer| drop(sender.send(answer.into()));
        let send = |event: event::Event| match event {
            event::Event::Key(key) if key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL => {
                end(&sender, settle)
            }
            event::Event::Key(key) => drop(sender.send(Event::Key(key).into())),
            // moving the pointer changes nothing, and must not cost a frame
            event::Event::Mouse(mouse) if mouse.kind == MouseEventKind::Moved => {}
            event::Event::Mouse(mouse) => drop(sender.send(Event::Mouse(mouse, None).into())),
            event::Event::Paste(text) => drop(sender.send(Event::Paste(text).into())),
            event::Event::Resize(..) | event::Event::FocusGained | event::Event::FocusLost => {}
        };
        // after an error of the terminal, there is no more input
        let _ = read(send, answer);
        end(&sender, settle)
    })?;
    Ok(())
}

/// Read keys until the terminal is closed.
fn read(mut send: impl FnMut(event::Event), answer: impl Fn(Answer)) -> io::Result<()> {
    let (mut decoder, mut events, mut buffer) = (Decoder::default(), vec![], [0; 4096]);
    let (stdin, mut last) = (stdin(), Instant::now());
    loop {
        let left = decoder.patience().map(|patience| patience.saturating_sub(last.elapsed()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => decoder.give_up(&mut events),
            Ok(_) => match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    last = Instant::now();
                    decoder.push(buffer.get(..n).unwrap_or_default(), &mut events);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        decoder.answers.drain(..).for_each(&answer);
        events.drain(..).for_each(&mut send);
    }
}

/// Ask the explorer to end, and end the process if it does not.
fn end<T: From<Event>>(events: &Sender<T>, settle: fn()) -> ! {
    modes::end();
    // fails only after the explorer has ended
    let _ = events.send(Event::Quit.into());
    thread::sleep(GRACE);
    modes::leave();
    settle();
    exit(0)
}
