//! Recognises files whose content is not what their name says.

use std::{fs::File, io::Read, path::Path};

/// What a file is, judging by its first bytes, and what to do about it; None if that does not explain why it can't be
/// read.
pub(in crate::model) fn explain(path: &Path) -> Option<&'static str> {
    let mut start = Vec::new();
    let file: File = crate::fs::open(path).ok()?;
    file.take(512).read_to_end(&mut start).ok()?;
    explain_start(&start)
}

/// [`explain`] of a file's first bytes.
pub(in crate::model) fn explain_start(start: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 11] = [
        (
            b"version https://git-lfs",
            "it is a Git LFS pointer instead of the file: run `git lfs pull` in its directory to fetch the file",
        ),
        // torch's magic number, in a pickle of protocol 2
        (
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
            "it has the format that PyTorch wrote before version 1.6, without a zip archive: load it with torch and save it again",
        ),
        (b"\x80", "it is a bare pickle; expected the zip archive that torch.save writes since PyTorch 1.6"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it"),
        (b"BZh", "it is compressed with bzip2: unpack it"),
        (b"\xfd7zXZ\0", "it is compressed with xz: unpack it"),
        (b"\x89HDF\r\n", "it is an HDF5 file, as TensorFlow writes weights"),
        (b"GGUF", "it is a GGUF file, as llama.cpp reads"),
        (b"\xef\xbb\xbf", "it begins with a byte order mark: save it as UTF-8 without one"),
    ];
    if start.is_empty() {
        return Some("it is empty");
    }
    if let Some((_, what)) = STARTS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(what);
    }
    // the magic of tar archives is at byte 257
    if start.get(257..262) == Some(b"ustar") {
        return Some("it is a tar archive: unpack it");
    }
    match start.trim_ascii_start().first() {
        Some(b'<') => Some("it is a web page, as a server sends instead of a file: fetch the file again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_their_first_bytes() {
        for (start, what) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"[..], "git lfs pull"),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.rest", "before version 1.6"),
            (b"\x80\x04\x95", "a bare pickle"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"  \n<!doctype html>", "a web page"),
            (b"", "empty"),
        ] {
            assert!(explain_start(start).unwrap().contains(what), "{start:?}");
        }
        let mut tar = [b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(explain_start(&tar).unwrap().contains("tar"));
        assert_eq!(explain_start(b"{\"a\": 1}"), None);
    }
}
