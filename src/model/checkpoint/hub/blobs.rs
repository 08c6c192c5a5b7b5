//! The files of the cache: content named by its checksum, the parts of it that came, and the links that lead to it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use ring::digest;

use super::Sibling;

/// Options that open no link: in a shared cache, somebody could have put one there that leads elsewhere.
pub(super) fn unlinked(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Open what collects the bytes of a file, to go on at its end; in place of a link, a new one.
pub(super) fn open_part(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        fs::remove_file(path)?;
    }
    unlinked(OpenOptions::new().create(true).append(true)).open(path)
}

/// Where a file's bytes are collected, as the Python library names it.
pub(super) fn part_of(blob: &Path) -> PathBuf {
    blob.with_extension("incomplete")
}

pub(super) fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

/// Whether what came is as the hub lists it: a large file by its SHA-256, a small one by git's hash.
pub(super) fn check(path: &Path, file: &Sibling) -> Result<(), String> {
    let mut open = File::open(path).map_err(|e| e.to_string())?;
    let length = open.metadata().map_err(|e| e.to_string())?.len();
    if let Some(size) = file.size.filter(|size| *size != length) {
        return Err(format!("{length} bytes instead of {size}"));
    }
    let (expected, mut hash) = match (&file.lfs, &file.blob) {
        (Some(lfs), _) => (&lfs.sha256, digest::Context::new(&digest::SHA256)),
        (None, Some(blob)) => {
            let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            hash.update(format!("blob {length}\0").as_bytes());
            (blob, hash)
        }
        (None, None) => return Err("no checksum is listed".into()),
    };
    let mut piece = vec![0; 1 << 20];
    loop {
        match open.read(&mut piece).map_err(|e| e.to_string())? {
            0 => break,
            n => hash.update(&piece[..n]),
        }
    }
    let found = hash.finish();
    let pairs = expected.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    let same = pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).eq(found.as_ref().iter().copied().map(Some));
    if same { Ok(()) } else { Err("another checksum".into()) }
}

/// Let a snapshot's file be a blob; where links can't be made, a copy of it.
pub(super) fn link(blob: &Path, target: &Path) -> io::Result<()> {
    // what stands there is of another length, or leads nowhere
    match fs::remove_file(target) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    #[cfg(unix)]
    if std::os::unix::fs::symlink(Path::new("../../blobs").join(blob.file_name().unwrap_or_default()), target).is_ok() {
        return Ok(());
    }
    fs::copy(blob, target).map(|_| ())
}
