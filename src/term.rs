//! The terminal: taken on start, given back on every way out; its input and the signals as events.

use std::{
    io::{self, BufWriter, Stdout, Write, stdout},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::Duration,
};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor::{Hide, Show},
    event::{self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    execute, queue,
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};

use crate::{app::Event, panics};

/// Whether the terminal is ours, so that it is given back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode on its alternate screen; dropping it restores what was there.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// # Errors
    /// Stdout is no terminal, or refuses.
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        enter()?;
        let terminal = terminal().inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    /// Draw a frame: only cells that changed are written, in one synchronised update.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw<T>(&mut self, render: impl FnOnce(&mut Frame<'_>) -> T) -> io::Result<Option<T>> {
        let mut drawn = None;
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| drawn = Some(render(frame)))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()?;
        Ok(drawn)
    }

    /// Put a text on the clipboard of the terminal, also one at the other end of SSH (the escape sequence OSC 52).
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Forget what is on the screen, so that the next frame is drawn whole.
    ///
    /// A new terminal, because ratatui's own way to clear asks for the cursor's position, whose answer the input thread
    /// would take.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal = terminal()?;
        queue!(self.terminal.backend_mut(), Clear(ClearType::All))
    }

    /// Give the terminal to the shell until this process is continued.
    ///
    /// # Errors
    /// The process can't be stopped, or the terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        // the whole job, so that a script that started the program stops with it
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        enter()?;
        self.clear()
    }
}

fn terminal() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout())))
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, Hide).inspect_err(|_| leave())
}

/// Every mode back to what it was; harmless when called twice. Errors have nobody to go to.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            stdout(),
            EndSynchronizedUpdate,
            DisableBracketedPaste,
            DisableMouseCapture,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

/// A panic of the main thread gives the terminal back before it is printed. One of the worker is caught there and shown
/// as an error, so it must leave the screen alone.
fn give_back_on_panic() {
    let main = thread::current().id();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if panics::is_expected() {
            return;
        }
        log::error!("{info}");
        if thread::current().id() == main {
            leave();
            print(info);
        } else if !TAKEN.load(Ordering::SeqCst) {
            print(info);
        }
    }));
}

/// Send keys, mouse and sizes, and [`Event::Quit`] on SIGTERM, SIGHUP, SIGINT, SIGQUIT or when the terminal is closed.
///
/// # Errors
/// Signals can't be caught or threads not started.
pub fn listen<T: From<Event> + Send + 'static>(events: &Sender<T>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT])?;
    let sender = events.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(Event::Quit.into()).is_err() {
                break;
            }
        }
    })?;
    // from here on a change of size is noticed, also before the thread has come to read; what is there already stays queued
    event::poll(Duration::ZERO)?;
    let sender = events.clone();
    thread::Builder::new().name("input".into()).spawn(move || {
        loop {
            let event = match event::read() {
                Ok(event::Event::Key(key)) => Event::Key(key),
                // the pointer's way over the screen asks for nothing, and must not cost a frame
                Ok(event::Event::Mouse(mouse)) if mouse.kind == event::MouseEventKind::Moved => continue,
                Ok(event::Event::Mouse(mouse)) => Event::Mouse(mouse, None),
                Ok(event::Event::Paste(text)) => Event::Paste(text),
                Ok(event::Event::Resize(width, height)) => Event::Resize(width, height),
                Ok(_) => continue,
                Err(_) => Event::Quit,
            };
            let last = matches!(event, Event::Quit);
            if sender.send(event.into()).is_err() || last {
                break;
            }
        }
    })?;
    Ok(())
}
