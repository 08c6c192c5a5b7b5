//! The terminal: taken at the start and restored however the program ends; its input and signals as events.

mod action;
mod decode;
mod graphics;
mod input;
mod kitty;
mod modes;
mod pictures;
mod sequence;
mod sixel;
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
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Rect};

use crate::{paint::Picture, panics};
use graphics::Graphics;
use modes::Output;
use pictures::Pictures;

pub use graphics::{Answer, CellSize, Protocol};
pub use input::listen;

/// The terminal in raw mode on its alternate screen; dropping this restores the previous state.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Output>>>,
    graphics: Graphics,
    pictures: Pictures,
    /// The area of the last frame.
    area: Rect,
}

impl Screen {
    /// # Errors
    /// Stdin or stdout is not a terminal, or its modes can't be set.
    pub fn take() -> io::Result<Self> {
        restore_on_panic();
        action::guard();
        // the theme decides about colours, not crossterm
        crossterm::style::force_color_output(true);
        let terminal = modes::enter().and_then(|()| terminal()).inspect_err(|_| modes::leave())?;
        Ok(Self { terminal, graphics: Graphics::default(), pictures: Pictures::default(), area: Rect::default() })
    }

    /// Ask the terminal whether it draws pictures, by one of these protocols. Does not wait: see [`Screen::answered`].
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn ask(&mut self, protocols: &[Protocol]) -> io::Result<()> {
        let questions = self.graphics.ask(protocols);
        self.write(questions)
    }

    /// Note an answer of the terminal.
    pub fn answered(&mut self, answer: Answer) {
        self.graphics.answered(answer, modes::cell_size());
    }

    /// The pixels of a cell of the screen, if the terminal draws pictures.
    #[must_use]
    pub fn pixels(&self) -> Option<CellSize> {
        self.graphics.protocol().map(|(_, cell)| cell)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let backend = self.terminal.backend_mut();
        backend.write_all(text.as_bytes())?;
        backend.flush()?;
        modes::check()
    }

    /// Draw a frame and the pictures that `render` puts into the list. Only changes are written, in one synchronised
    /// update.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw<T>(&mut self, render: impl FnOnce(&mut Frame<'_>, &mut Vec<Picture>) -> T) -> io::Result<Option<T>> {
        if modes::in_background() {
            self.take_again()?;
        }
        let (mut drawn, mut pictures) = (None, vec![]);
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let frame = self.terminal.draw(|frame| drawn = Some(render(frame, &mut pictures)))?;
        if let Some(how) = self.graphics.protocol() {
            let (area, buffer) = (frame.area, frame.buffer.clone());
            let backend = self.terminal.backend_mut();
            if area != self.area {
                // the screen was erased, and the size of its cells may have changed
                self.pictures.forget(backend, how.0)?;
                self.area = area;
                write!(backend, "{}", graphics::CELL_SIZE)?;
            }
            self.pictures.show(backend, how, &buffer, pictures)?;
        }
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()?;
        modes::check()?;
        Ok(drawn)
    }

    /// Copy a text to the clipboard of the terminal with the escape sequence OSC 52, which works over SSH.
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

    /// Set every mode again, because other programs may have changed them, and draw the next frame completely. In the
    /// background, the process stops here until it is in the foreground.
    ///
    /// This creates a new [`Terminal`], because clearing the old one would ask for the cursor position, and the input
    /// thread would receive the answer.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn take_again(&mut self) -> io::Result<()> {
        modes::enter()?;
        self.terminal = terminal()?;
        if let Some((protocol, _)) = self.graphics.protocol() {
            self.pictures.forget(self.terminal.backend_mut(), protocol)?;
        }
        queue!(self.terminal.backend_mut(), Clear(ClearType::All))
    }

    /// Restore the terminal and stop until continued: the whole `job`, so that a script that started the program stops with
    /// it, or this process alone.
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
        // later answers of the terminal would reach the shell
        thread::sleep(self.graphics.time_to_wait());
        modes::leave();
    }
}

/// Make a panic of the main thread restore the terminal before it is printed. Panics of other threads are caught and shown as
/// errors, so they must not touch the screen.
fn restore_on_panic() {
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
