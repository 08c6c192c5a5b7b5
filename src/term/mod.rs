//! The terminal: taken on start, given back on every way out; its input and the signals as events.

mod action;
mod decode;
mod input;
mod modes;
mod sequence;
mod stderr;

use std::{
    io::{self, BufWriter, Write},
    thread,
};

use crossterm::{
    clipboard::CopyToClipboard,
    execute, queue,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};

use crate::panics;
use modes::Output;

pub use input::listen;

/// The terminal in raw mode on its alternate screen; dropping it restores what was there.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Output>>>,
}

impl Screen {
    /// # Errors
    /// Stdin or stdout is no terminal, or refuses.
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        action::guard();
        // whether to use colours is decided elsewhere
        crossterm::style::force_color_output(true);
        modes::enter().and_then(|()| terminal()).map(|terminal| Self { terminal }).inspect_err(|_| modes::leave())
    }

    /// Draw a frame: only cells that changed are written, in one synchronised update.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw<T>(&mut self, render: impl FnOnce(&mut Frame<'_>) -> T) -> io::Result<Option<T>> {
        if modes::in_background() {
            self.take_again()?;
        }
        let mut drawn = None;
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| drawn = Some(render(frame)))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()?;
        modes::check()?;
        Ok(drawn)
    }

    /// Put a text on the clipboard of the terminal, also one at the other end of SSH (the escape sequence OSC 52).
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))?;
        modes::check()
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        modes::size()
    }

    /// Set every mode again, whatever others did to the terminal, and forget what is on the screen, so that the next frame
    /// is drawn whole. In the background, this process stops until it is in the foreground.
    ///
    /// A new terminal, because ratatui's own way to clear asks for the cursor's position, whose answer the input thread
    /// would take.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn take_again(&mut self) -> io::Result<()> {
        modes::enter()?;
        self.terminal = terminal()?;
        queue!(self.terminal.backend_mut(), Clear(ClearType::All))
    }

    /// Give the terminal to the shell until this process is continued: with the whole `job`, so that a script that started
    /// the program stops with it, or alone.
    ///
    /// # Errors
    /// The process can't be stopped, or the terminal is gone.
    pub fn suspend(&mut self, job: bool) -> io::Result<()> {
        modes::leave();
        action::stop(job)?;
        self.take_again()
    }
}

fn terminal() -> io::Result<Terminal<CrosstermBackend<BufWriter<Output>>>> {
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, Output)))
}

impl Drop for Screen {
    fn drop(&mut self) {
        modes::leave();
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
            modes::leave();
            print(info);
        } else if !modes::is_taken() {
            print(info);
        }
    }));
}
