//! Captures stderr output of libraries and the runtime while the screen is taken, and prints it afterwards.

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, IsTerminal, stderr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    sync::OnceLock,
};

use rustix::{io::retry_on_intr, stdio::dup2_stderr};

struct Captured {
    stderr: OwnedFd,
    file: File,
}

static CAPTURED: OnceLock<Captured> = OnceLock::new();

/// The most bytes that are printed.
const LIMIT: u64 = 64 << 10;

/// Redirect stderr to a temporary file if it is a terminal.
///
/// # Errors
/// The file can't be created.
pub(super) fn capture() -> io::Result<()> {
    if !stderr().is_terminal() {
        return Ok(());
    }
    let captured = if let Some(captured) = CAPTURED.get() {
        captured
    } else {
        let (file, stderr) = (file()?, stderr().as_fd().try_clone_to_owned()?);
        CAPTURED.get_or_init(|| Captured { stderr, file })
    };
    Ok(dup2_stderr(&captured.file)?)
}

/// An open file that is already deleted.
fn file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!(".pythia-tui.{}.stderr", std::process::id()));
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

/// Restore stderr and print what was captured, as far as the terminal accepts it. Safe in signal handlers: takes no lock and
/// allocates nothing.
pub(super) fn print(is_writable: impl Fn(&OwnedFd) -> bool) {
    let Some(Captured { stderr, file }) = CAPTURED.get() else { return };
    let _ = dup2_stderr(stderr);
    let (mut at, mut piece) = (0, [0; 256]);
    while let Ok(n @ 1..) = retry_on_intr(|| rustix::io::pread(file, &mut piece[..], at))
        && at < LIMIT
        && is_writable(stderr)
        && retry_on_intr(|| rustix::io::write(stderr, &piece[..n])).is_ok()
    {
        at += n as u64;
    }
    let _ = rustix::fs::ftruncate(file, 0);
}
