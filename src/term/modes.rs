//! The terminal itself: its modes, taken and given back, and what is written to it.
//!
//! Everything here is one for the whole process, as the terminal is, so that every thread and every signal can give it back.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, Write, stdin, stdout},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::{Errno, retry_on_intr},
    process::getpgrp,
    termios::{
        LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
        ttyname,
    },
};

/// The alternate screen, the mouse in every encoding, bracketed paste; no cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1015h\x1b[?1006h\x1b[?2004h\x1b[?25l";

/// The same back, from wherever a frame was broken off.
const LEAVE: &[u8] =
    b"\x1b[?2026l\x1b[0m\x1b[?2004l\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// How long a terminal that does not read is waited for before what it has not read is thrown away.
const DEAF: Duration = Duration::from_millis(50);

struct Terminal {
    out: OwnedFd,
    /// `out` is the shell's too, and writing to it waits until the terminal reads.
    waits: bool,
    /// As the shell had it.
    before: Termios,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

/// The terminal is in our modes; what is drawn otherwise goes nowhere.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal can't be written to: what is drawn goes nowhere.
static GONE: AtomicBool = AtomicBool::new(false);

/// The program ends, and waits for a terminal that does not read no longer.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Held while a piece of a frame is written, so that nothing is written behind what gives the terminal back.
static WRITING: Mutex<()> = Mutex::new(());

fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn is_taken() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

/// # Errors
/// The terminal was closed, or does not read while the program ends.
pub(super) fn check() -> io::Result<()> {
    if GONE.load(Ordering::SeqCst) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// From now on, a terminal that does not read is given up.
pub(super) fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Whether a shell has put another job on the terminal.
pub(super) fn in_background() -> bool {
    matches!(tcgetpgrp(stdin()), Ok(foreground) if foreground != getpgrp())
}

/// Columns and rows.
pub(super) fn size() -> io::Result<(u16, u16)> {
    let size = tcgetwinsize(stdout())?;
    Ok((size.ws_col, size.ws_row))
}

/// Raw mode, the alternate screen, the mouse and pastes as such; harmless when called twice.
///
/// # Errors
/// Stdin is no terminal, or the terminal is gone.
pub(super) fn enter() -> io::Result<()> {
    let terminal = if let Some(terminal) = TERMINAL.get() {
        terminal
    } else {
        let ((out, waits), before) = (descriptor()?, tcgetattr(stdin())?);
        TERMINAL.get_or_init(|| Terminal { out, waits, before })
    };
    let mut raw = terminal.before.clone();
    raw.make_raw();
    // First of all: in the background, this stops the process until the shell brings it back, before anything is written.
    retry_on_intr(|| tcsetattr(stdin(), OptionalActions::Now, &raw))?;
    if let Err(error) = super::stderr::keep() {
        log::warn!("stderr is not kept off the screen: {error}");
    }
    TAKEN.store(true, Ordering::SeqCst);
    Output.write_all(ENTER)?;
    check()
}

/// A descriptor of stdout's terminal on which writing does not wait: stdout itself is shared with the shell, which waits.
/// Where there is none, stdout, and true.
fn descriptor() -> io::Result<(OwnedFd, bool)> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.write(true).custom_flags(flags.bits().cast_signed());
    let name = ttyname(stdout(), Vec::new());
    let named = name.ok().and_then(|name| options.open(Path::new(OsStr::from_bytes(name.as_bytes()))).ok());
    // another user's terminal can't be opened by its name
    match named.or_else(|| options.open("/dev/tty").ok()) {
        Some(file) => Ok((file.into(), false)),
        None => Ok((stdout().as_fd().try_clone_to_owned()?, true)),
    }
}

/// Every mode back to what it was; harmless when called twice. Errors have nobody to go to.
pub(super) fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _writing = writing();
        restore();
    }
}

/// [`leave`] from the handler of a signal: it takes no lock and allocates nothing.
pub(super) fn leave_at_once() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        restore();
    }
}

fn restore() {
    let Some(Terminal { out, before, .. }) = TERMINAL.get() else { return };
    // the modes of the keyboard are then the shell's, as it has set them
    let background = in_background();
    if background && before.local_modes.contains(LocalModes::TOSTOP) {
        // writing would stop the process
        return;
    }
    let mut rest = LEAVE;
    for _ in 0..3 {
        if !is_writable(out, DEAF) && !background {
            let _ = tcflush(out, QueueSelector::OFlush);
        }
        match retry_on_intr(|| rustix::io::write(out, rest)) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(Errno::AGAIN) => {}
            Err(_) => break,
        }
        if rest.is_empty() {
            break;
        }
    }
    if !background {
        let _ = retry_on_intr(|| tcsetattr(stdin(), OptionalActions::Now, before));
    }
    super::stderr::print(|stderr| is_writable(stderr, DEAF));
}

/// Whether the terminal takes more within `patience`.
fn is_writable(out: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    let mut fds = [PollFd::new(out, PollFlags::OUT)];
    // a signal in between is no answer
    poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// What is drawn goes to the terminal as long as it is ours, reads, and is there. Errors are kept for [`check`]: ratatui
/// prints those that it meets on its way out.
pub(super) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// As much as a terminal that takes more takes without waiting.
        const PIECE: usize = 256;
        let Some(Terminal { out, waits, .. }) = TERMINAL.get() else { return Ok(bytes.len()) };
        let piece = if *waits { &bytes[..bytes.len().min(PIECE)] } else { bytes };
        let mut ready = !waits || is_writable(out, DEAF);
        loop {
            let held = writing();
            if !is_taken() || check().is_err() {
                return Ok(bytes.len());
            }
            if ready {
                match rustix::io::write(out, piece) {
                    Ok(n) => return Ok(n),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(_) => GONE.store(true, Ordering::SeqCst),
                }
            } else if ENDING.load(Ordering::SeqCst) {
                GONE.store(true, Ordering::SeqCst);
            }
            drop(held);
            ready = is_writable(out, DEAF);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crossterm::{
        cursor::{Hide, Show},
        event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
        queue,
        style::ResetColor,
        terminal::{EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
    };

    use super::*;

    #[test]
    fn the_sequences_are_those_of_crossterm() {
        let (mut enter, mut leave) = (vec![], vec![]);
        queue!(enter, EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, Hide).unwrap();
        assert_eq!(ENTER.escape_ascii().to_string(), enter.escape_ascii().to_string());
        queue!(leave, EndSynchronizedUpdate, ResetColor, DisableBracketedPaste, DisableMouseCapture).unwrap();
        queue!(leave, LeaveAlternateScreen, Show).unwrap();
        assert_eq!(LEAVE.escape_ascii().to_string(), leave.escape_ascii().to_string());
    }
}
