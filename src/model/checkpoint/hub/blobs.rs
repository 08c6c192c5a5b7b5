//! The files of the cache: blobs named by their checksums, partial downloads, and the links to blobs.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use ring::digest;

use super::listing::Sibling;
use crate::model::checkpoint::digest::digest_of;

/// Make these options refuse links: in a shared cache, another user could have put one there that leads elsewhere.
pub(super) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Open a partial download to append to it; a link in its place is replaced by a new file.
pub(super) fn open_partial(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        fs::remove_file(path)?;
    }
    without_links(OpenOptions::new().create(true).append(true)).open(path)
}

/// The partial download of a blob, named as the Python library names it.
pub(super) fn partial_path(blob: &Path) -> PathBuf {
    blob.with_extension("incomplete")
}

/// The length of a file in bytes; 0 if it does not exist.
pub(super) fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

/// Compare a downloaded file with its entry in the hub's listing: its length, and its SHA-256 (large files) or git hash
/// (small ones).
///
/// # Errors
/// How it differs.
pub(super) fn check(path: &Path, file: &Sibling) -> Result<(), String> {
    let mut opened = File::open(path).map_err(|e| e.to_string())?;
    let length = opened.metadata().map_err(|e| e.to_string())?.len();
    if let Some(size) = file.size.filter(|size| *size != length) {
        return Err(format!("{length} bytes instead of {size}"));
    }
    let (expected, hash) = match (&file.lfs, &file.blob) {
        (Some(lfs), _) => (&lfs.sha256, digest::Context::new(&digest::SHA256)),
        (None, Some(blob)) => {
            let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            hash.update(format!("blob {length}\0").as_bytes());
            (blob, hash)
        }
        (None, None) => return Err("no checksum is listed".into()),
    };
    let found = digest_of(hash, &mut opened, &|| true).map_err(|e| e.to_string())?;
    let found = found.ok_or("reading it was stopped")?;
    let pairs = expected.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    let same = pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).eq(found.as_ref().iter().copied().map(Some));
    if same { Ok(()) } else { Err("its checksum differs".into()) }
}

/// Make a snapshot's file, `folders` below the snapshot, a link to a blob, or a copy of it where links are not supported. It takes
/// the place of an earlier file at once: another process may be reading the snapshot.
pub(super) fn link(blob: &Path, target: &Path, folders: usize) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = target.with_file_name(format!(".{name}.{}-{:?}", std::process::id(), std::thread::current().id()));
    let to = Path::new(&"../".repeat(folders + 2)).join("blobs").join(blob.file_name().unwrap_or_default());
    let linked = symlink(&to, &new);
    let made = if linked { Ok(()) } else { fs::copy(blob, &new).map(drop) };
    made.and_then(|()| fs::rename(&new, target)).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> bool {
    std::os::unix::fs::symlink(to, at).is_ok()
}

#[cfg(not(unix))]
fn symlink(_to: &Path, _at: &Path) -> bool {
    false
}
