use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::plain;
use crate::printed;

/// The largest text file, such as a config, an experiment or settings, in bytes.
pub const TEXT_LIMIT: u64 = 16 << 20;

/// Why a file can't be read. The caller adds the path to the message.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}", plain(.0))]
    Io(io::Error),
    #[error("it is a link to {}, which is not there", printed::path(.0))]
    Dangling(PathBuf),
    #[error("it is {0}; expected a regular file")]
    NotAFile(&'static str),
    #[error("it is larger than {}; expected at most that", size(*.limit))]
    TooLarge { limit: u64 },
    #[error("line {line} is not UTF-8; expected a UTF-8 text")]
    NotUtf8 { line: usize },
}

/// Open a regular file for reading. Pipes and devices are refused without blocking.
///
/// # Errors
/// The file does not exist, can't be opened, or is not a regular file.
pub fn open(path: &Path) -> Result<File, ReadError> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // opening a pipe without a writer would block, and a terminal could become the controlling terminal
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        options.custom_flags(flags.bits().cast_signed());
    }
    // a socket can't be opened at all
    let file = options.open(path).map_err(|e| match (path.metadata(), path.read_link()) {
        (Ok(found), _) => kind_of(&found).map_or(ReadError::Io(e), ReadError::NotAFile),
        (Err(e), Ok(target)) if e.kind() == io::ErrorKind::NotFound => ReadError::Dangling(target),
        (Err(_), _) => ReadError::Io(e),
    })?;
    match kind_of(&file.metadata().map_err(ReadError::Io)?) {
        Some(kind) => Err(ReadError::NotAFile(kind)),
        None => Ok(file),
    }
}

/// The kind of a file; None for a regular file.
fn kind_of(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some("a directory");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
    }
    Some("a device")
}

/// The bytes of a regular file of at most `limit` bytes, even if it grows while being read.
///
/// # Errors
/// It can't be read, is no regular file, or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = open(path)?;
    if file.metadata().map_err(ReadError::Io)?.len() > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge { limit }) } else { Ok(bytes) }
}

/// The text of a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and for bytes that are not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, ReadError> {
    String::from_utf8(read(path, limit)?).map_err(|e| {
        let valid = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        ReadError::NotUtf8 { line: valid.matches('\n').count() + 1 }
    })
}

/// A text without the byte order mark that some editors write.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The TOML of a regular file of at most [`TEXT_LIMIT`] bytes, without a byte order mark, and with lines that end in line
/// feeds, which TOML permits even within multi-line strings. Escapes in strings are unchanged.
///
/// # Errors
/// As [`read_text`].
pub fn read_toml(path: &Path) -> Result<String, ReadError> {
    read_text(path, TEXT_LIMIT).map(|text| without_mark(&text).replace("\r\n", "\n"))
}

/// A limit for messages.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "one\ntwo\n");
        assert!(matches!(read(&path, 7), Err(ReadError::TooLarge { limit: 7 })));
        fs::write(&path, b"one\nt\xffo").unwrap();
        assert!(matches!(read_text(&path, 80), Err(ReadError::NotUtf8 { line: 2 })));
        assert!(matches!(read(dir.path(), 80), Err(ReadError::NotAFile("a directory"))));
        assert!(matches!(read(&dir.path().join("none"), 80), Err(ReadError::Io(_))));
    }

    #[test]
    fn toml_is_read_without_byte_order_mark_and_carriage_returns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs::write(&path, "\u{feff}a = \"\"\"one\r\ntwo\\r\n\"\"\"\r\n# \u{feff}\r").unwrap();
        assert_eq!(read_toml(&path).unwrap(), "a = \"\"\"one\ntwo\\r\n\"\"\"\n# \u{feff}\r");
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("gone", &link).unwrap();
        assert_eq!(read(&link, 80).unwrap_err().to_string(), "it is a link to gone, which is not there");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(read(&pipe, 80), Err(ReadError::NotAFile("a pipe"))));
        assert!(matches!(read(Path::new("/dev/zero"), 80), Err(ReadError::NotAFile("a device"))));
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(read(&socket, 80), Err(ReadError::NotAFile("a socket"))));
    }
}
