//! The modes of the terminal, and output to it.
//!
//! The state is global to the process, like the terminal, so that every thread and every signal handler can restore it.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, Write, stdin, stdout},
    num::NonZeroU16,
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

use super::{graphics::CellSize, kitty};

/// Enables the alternate screen, the mouse in every encoding and bracketed paste, and hides the cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1015h\x1b[?1006h\x1b[?2004h\x1b[?25l";

/// Undoes [`ENTER`], even in the middle of a frame.
const LEAVE: &[u8] =
    b"\x1b[?2026l\x1b[0m\x1b[?2004l\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// Whether the terminal may hold kitty's images, which have to be deleted.
static IMAGES: AtomicBool = AtomicBool::new(false);

/// How long to wait for a terminal that does not read before its unread output is discarded.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

struct Terminal {
    out: OwnedFd,
    /// `out` is shared with the shell, so writing to it blocks until the terminal reads.
    blocks: bool,
    /// The modes that the shell had set.
    before: Termios,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

/// Whether the terminal is in our modes; otherwise drawing is discarded.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether writing to the terminal has failed; drawing is then discarded.
static GONE: AtomicBool = AtomicBool::new(false);

/// Whether the program is ending, and no longer waits for a terminal that does not read.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Held while a piece of a frame is written, so that no piece follows the sequence that restores the terminal.
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

/// Delete kitty's images when the terminal is given back.
pub(super) fn has_images() {
    IMAGES.store(true, Ordering::SeqCst);
}

/// Stop waiting for a terminal that does not read.
pub(super) fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Whether the terminal belongs to another job.
pub(super) fn in_background() -> bool {
    matches!(tcgetpgrp(stdin()), Ok(foreground) if foreground != getpgrp())
}

/// Columns and rows.
pub(super) fn size() -> io::Result<(u16, u16)> {
    let size = tcgetwinsize(stdout())?;
    Ok((size.ws_col, size.ws_row))
}

/// The size of a cell of the screen, if the system knows it.
pub(super) fn cell_size() -> Option<CellSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    let per = |pixels: u16, cells: u16| NonZeroU16::new(pixels.checked_div(cells)?);
    Some((per(size.ws_xpixel, size.ws_col)?, per(size.ws_ypixel, size.ws_row)?))
}

/// Set raw mode, the alternate screen, mouse reporting and bracketed paste. Can be called again.
///
/// # Errors
/// Stdin is not a terminal, or the terminal is gone.
pub(super) fn enter() -> io::Result<()> {
    let terminal = if let Some(terminal) = TERMINAL.get() {
        terminal
    } else {
        let ((out, blocks), before) = (descriptor()?, tcgetattr(stdin())?);
        TERMINAL.get_or_init(|| Terminal { out, blocks, before })
    };
    let mut raw = terminal.before.clone();
    raw.make_raw();
    // Comes first, because in the background it stops the process, before anything is written.
    retry_on_intr(|| tcsetattr(stdin(), OptionalActions::Now, &raw))?;
    if let Err(error) = super::stderr::capture() {
        log::warn!("stderr is not captured: {error}");
    }
    TAKEN.store(true, Ordering::SeqCst);
    Output.write_all(ENTER)?;
    check()
}

/// A non-blocking descriptor of stdout's terminal, and false. Stdout itself must stay blocking, because it is shared with
/// the shell; if the terminal can't be opened, it is returned with true.
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

/// Restore every mode. Can be called again; errors are ignored, since there is no way to report them.
pub(super) fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _writing = writing();
        restore();
    }
}

/// [`leave`] for signal handlers: takes no lock and allocates nothing.
pub(super) fn leave_at_once() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        restore();
    }
}

fn restore() {
    let Some(Terminal { out, before, .. }) = TERMINAL.get() else { return };
    // in the background, the shell has already set the input modes
    let background = in_background();
    if background && before.local_modes.contains(LocalModes::TOSTOP) {
        // writing would stop the process
        return;
    }
    let images = if IMAGES.swap(false, Ordering::SeqCst) { kitty::DELETE } else { &[] };
    for mut rest in [images, LEAVE] {
        for _ in 0..3 {
            if rest.is_empty() {
                break;
            }
            if !is_writable(out, WRITE_TIMEOUT) && !background {
                let _ = tcflush(out, QueueSelector::OFlush);
            }
            match retry_on_intr(|| rustix::io::write(out, rest)) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::AGAIN) => {}
                Err(_) => break,
            }
        }
    }
    if !background {
        let _ = retry_on_intr(|| tcsetattr(stdin(), OptionalActions::Now, before));
    }
    super::stderr::print(|stderr| is_writable(stderr, WRITE_TIMEOUT));
}

/// Whether the terminal accepts output within `patience`.
fn is_writable(out: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    let mut fds = [PollFd::new(out, PollFlags::OUT)];
    // an interruption by a signal counts as no
    poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// Writes to the terminal as long as it is taken and reads. Errors are stored for [`check`], because ratatui would print
/// them when it is dropped.
pub(super) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// The bytes that a writable terminal accepts without blocking.
        const PIECE: usize = 256;
        let Some(Terminal { out, blocks, .. }) = TERMINAL.get() else { return Ok(bytes.len()) };
        let piece = if *blocks { &bytes[..bytes.len().min(PIECE)] } else { bytes };
        let mut ready = !blocks || is_writable(out, WRITE_TIMEOUT);
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
            ready = is_writable(out, WRITE_TIMEOUT);
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
    fn the_sequences_equal_those_of_crossterm() {
        let (mut enter, mut leave) = (vec![], vec![]);
        queue!(enter, EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, Hide).unwrap();
        assert_eq!(ENTER.escape_ascii().to_string(), enter.escape_ascii().to_string());
        queue!(leave, EndSynchronizedUpdate, ResetColor, DisableBracketedPaste, DisableMouseCapture).unwrap();
        queue!(leave, LeaveAlternateScreen, Show).unwrap();
        assert_eq!(LEAVE.escape_ascii().to_string(), leave.escape_ascii().to_string());
    }
}
