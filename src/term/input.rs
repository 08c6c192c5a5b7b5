//! Keys, the mouse and signals as events, each from a thread of its own; and an end that does not wait for anybody.

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

use super::{decode::Decoder, modes};
use crate::app::Event;

/// How long the explorer may take to end by itself once it is to.
const MOMENT: Duration = Duration::from_millis(400);

/// Send keys, mouse events and sizes; [`Event::Suspend`] and [`Event::Continued`] when the process is stopped and continued
/// from outside; and [`Event::Quit`] on Ctrl-C, on SIGTERM, SIGHUP, SIGINT and SIGQUIT, and when the terminal is closed.
///
/// Where the receiver does not end the process soon after [`Event::Quit`], the terminal is given back and the process ends
/// here, once `settle` has returned.
///
/// # Errors
/// Signals can't be caught or threads not started.
pub fn listen<T: From<Event> + Send + 'static>(events: &Sender<T>, settle: fn()) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT])?;
    let sender = events.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // a change of size is not told to a job in the background
            let resized = || modes::size().ok().map(|(width, height)| Event::Resize(width, height));
            let events = match signal {
                SIGWINCH => [resized(), None],
                SIGTSTP => [Some(Event::Suspend), None],
                SIGCONT => [resized(), Some(Event::Continued)],
                _ => end(&sender, settle),
            };
            for event in events.into_iter().flatten() {
                // nobody receives once the explorer has ended
                let _ = sender.send(event.into());
            }
        }
    })?;
    let sender = events.clone();
    thread::Builder::new().name("input".into()).spawn(move || {
        let mut send = |event: event::Event| match event {
            event::Event::Key(key) if key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL => {
                end(&sender, settle)
            }
            event::Event::Key(key) => drop(sender.send(Event::Key(key).into())),
            // the pointer's way over the screen asks for nothing, and must not cost a frame
            event::Event::Mouse(mouse) if mouse.kind == MouseEventKind::Moved => {}
            event::Event::Mouse(mouse) => drop(sender.send(Event::Mouse(mouse, None).into())),
            event::Event::Paste(text) => drop(sender.send(Event::Paste(text).into())),
            event::Event::Resize(..) | event::Event::FocusGained | event::Event::FocusLost => {}
        };
        // whatever is wrong with the terminal, there are no more keys
        let _ = read(&mut send);
        end(&sender, settle)
    })?;
    Ok(())
}

/// Read keys until the terminal is closed.
fn read(send: &mut impl FnMut(event::Event)) -> io::Result<()> {
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
        events.drain(..).for_each(&mut *send);
    }
}

/// Ask the explorer to end, and end without it if it does not.
fn end<T: From<Event>>(events: &Sender<T>, settle: fn()) -> ! {
    modes::end();
    // nobody receives once the explorer has ended
    let _ = events.send(Event::Quit.into());
    thread::sleep(MOMENT);
    modes::leave();
    settle();
    exit(0)
}
