use std::io;

use super::Cell;

/// A file that takes rows one by one.
pub(super) trait RowWriter {
    fn push(&mut self, row: Vec<Cell>) -> io::Result<()>;

    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The error of a full disk, whatever wrapped it, so that its message names the cause.
pub(super) fn unwrapped(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(code) = found.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        cause = found.source();
    }
    io::Error::other(error)
}
