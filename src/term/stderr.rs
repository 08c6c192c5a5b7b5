//! What libraries and the runtime print on stderr, kept off the screen while it is ours and printed once it is given back.

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

struct Kept {
    stderr: OwnedFd,
    file: File,
}

static KEPT: OnceLock<Kept> = OnceLock::new();

/// More than this is not printed.
const LIMIT: u64 = 64 << 10;

/// Keep what is printed from now on, unless stderr leads elsewhere.
///
/// # Errors
/// There is no place for it.
pub(super) fn keep() -> io::Result<()> {
    if !stderr().is_terminal() {
        return Ok(());
    }
    let kept = if let Some(kept) = KEPT.get() {
        kept
    } else {
        let (file, stderr) = (file()?, stderr().as_fd().try_clone_to_owned()?);
        KEPT.get_or_init(|| Kept { stderr, file })
    };
    Ok(dup2_stderr(&kept.file)?)
}

/// A file without a name.
fn file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!(".pythia-tui.{}.stderr", std::process::id()));
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

/// Print what was kept, as far as the terminal takes it, and keep nothing more. For handlers of signals too: it takes no
/// lock and allocates nothing.
pub(super) fn print(is_writable: impl Fn(&OwnedFd) -> bool) {
    let Some(Kept { stderr, file }) = KEPT.get() else { return };
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
