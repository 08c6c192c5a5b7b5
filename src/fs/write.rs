use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::plain;
use crate::printed;

/// A file that could not be written.
#[derive(Debug)]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't write {}: {}", printed::path(&self.path), plain(&self.source))
    }
}

impl std::error::Error for WriteError {}

/// Who may read a written file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The previous permissions; the umask for a new file.
    AsBefore,
    /// Only the owner.
    Owner,
}

/// Let `write` fill a new file beside `path`, which replaces `path` once it is on the disk. If anything fails, `path` is
/// unchanged. If `path` is a link, its target is replaced; a device or a pipe, such as `/dev/stdout`, is written directly.
///
/// # Errors
/// Any error of `write`, a full disk, a failed replacement, or a pipe without a reader.
pub fn write_atomic(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.to_path_buf(), source };
    let target = path.canonicalize();
    let path = target.as_deref().unwrap_or(path);
    match path.metadata() {
        Ok(found) if found.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => {
            return open_special(path).and_then(|mut file| write(&mut file)).map_err(failed);
        }
        _ => {}
    }
    let name = path.file_name().ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidFilename)))?;
    remove_abandoned(path);
    let (mut file, partial) = create_beside(path, name, readers).map_err(failed)?;
    let written = fill(&mut file, path, readers, write).and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        // a second failure would add nothing to the first
        let _ = fs::remove_file(&partial);
        failed(error)
    })
}

/// Open a device or a pipe for writing, without waiting for a reader.
fn open_special(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
        let file = options.open(path)?;
        // writing may block on a slow reader
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// [`write_atomic`] of a text.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_text(path: &Path, readers: Readers, text: &str) -> Result<(), WriteError> {
    write_atomic(path, readers, |file| file.write_all(text.as_bytes()))
}

fn fill(
    file: &mut File,
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    write(file)?;
    match file.sync_all() {
        // some file systems do not support syncing
        Err(e) if !matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => return Err(e),
        _ => {}
    }
    if let (Readers::AsBefore, Ok(before)) = (readers, path.metadata()) {
        // fails on file systems without permissions
        let _ = file.set_permissions(before.permissions());
    }
    Ok(())
}

/// Create `.NAME.PID-NUMBER.part` in the directory of `path`, locked so that other processes see that it is in use.
fn create_beside(path: &Path, name: &OsStr, readers: Readers) -> io::Result<(File, PathBuf)> {
    const TRIES: usize = 1000;
    let mut options = OpenOptions::new();
    // never opens a link or an existing file
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut tries = 0..TRIES;
    loop {
        let number = tries.next().ok_or(io::ErrorKind::AlreadyExists)?;
        let partial = path.with_file_name(partial_name(name, number));
        match options.open(&partial) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            Ok(file) => {
                // without locks, leftovers of killed processes stay
                let _ = file.try_lock();
                return Ok((file, partial));
            }
        }
    }
}

fn partial_name(name: &OsStr, number: usize) -> String {
    format!("{}{}-{number}.part", partial_prefix(name), std::process::id())
}

/// The prefix of the partial files of `name`, shortened because file systems limit names to 255 bytes.
fn partial_prefix(name: &OsStr) -> String {
    let mut kept = name.to_string_lossy().into_owned();
    while kept.len() > 200 {
        kept.pop();
    }
    format!(".{kept}.")
}

/// Remove the partial files of `path` that killed processes left.
fn remove_abandoned(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let prefix = partial_prefix(name);
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| {
            let process = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".part"));
            process.is_some_and(|process| process.bytes().all(|c| c.is_ascii_digit() || c == b'-'))
        });
        if is_ours && is_abandoned(&entry.path()) {
            // a failure is retried at the next write
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file that its writer would keep locked is unlocked, and old enough to have been locked.
#[must_use]
pub fn is_abandoned(path: &Path) -> bool {
    // longer than it takes to create and lock a file
    const YOUNG: Duration = Duration::from_secs(60);
    let Ok(found) = path.symlink_metadata() else { return false };
    let old = found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
    found.is_file() && old && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_text(&path, Readers::AsBefore, "first").unwrap();
        let failed = write_atomic(&path, Readers::AsBefore, |file| {
            file.write_all(b"sec")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write_text(&path, Readers::AsBefore, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let long = dir.path().join("ü".repeat(127));
        write_text(&long, Readers::AsBefore, "long").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("file"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        let planted = dir.path().join(partial_name(OsStr::new("file"), 0));
        std::os::unix::fs::symlink(&victim, planted).unwrap();
        write_text(&path, Readers::AsBefore, "text").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_pipes_are_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/file"), "before").unwrap();
        std::os::unix::fs::symlink(at("elsewhere/file"), at("link")).unwrap();
        write_text(&at("link"), Readers::AsBefore, "text").unwrap();
        assert!(at("link").is_symlink() && fs::read_to_string(at("elsewhere/file")).unwrap() == "text");
        assert!(write_text(&at("elsewhere"), Readers::AsBefore, "text").is_err());

        let pipe = at("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(write_text(&pipe, Readers::AsBefore, "text").is_err(), "a pipe without a reader is refused");
        let long = "long enough to fill it ".repeat(10_000);
        // opened for writing too, so that opening does not block; the length marks the end
        let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let expected = long.clone();
        let read = std::thread::spawn(move || {
            let mut found = vec![0; expected.len()];
            io::Read::read_exact(&mut reader, &mut found).unwrap();
            found == expected.as_bytes()
        });
        write_text(&pipe, Readers::AsBefore, &long).unwrap();
        assert!(read.join().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_kept_or_restricted_to_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, private) = (dir.path().join("file"), dir.path().join("private"));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_text(&path, Readers::AsBefore, "text").unwrap();
        write_text(&private, Readers::Owner, "text").unwrap();
        assert_eq!((mode(&path), mode(&private)), (0o640, 0o600));
    }

    #[test]
    fn only_leftovers_of_dead_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let old = std::time::SystemTime::now() - Duration::from_secs(3600);
        let mut held = Vec::new();
        for name in [".file.1-0.part", ".file.2-0.part", ".file.x.part", ".other.1-0.part", ".file.3-0.part"] {
            let file = File::create(at(name)).unwrap();
            if name != ".file.3-0.part" {
                file.set_modified(old).unwrap();
            }
            if name == ".file.2-0.part" {
                file.lock().unwrap();
                held.push(file);
            }
        }
        write_text(&at("file"), Readers::AsBefore, "text").unwrap();
        let mut left: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [".file.2-0.part", ".file.3-0.part", ".file.x.part", ".other.1-0.part", "file"]);
    }
}
