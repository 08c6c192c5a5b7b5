//! Digests of files.

use std::io::{self, Read};

use ring::digest::{Context, Digest};

/// The digest of what `context` has seen and the rest of `file`; None once `keep_going` returns false.
pub(super) fn digest_of(
    mut context: Context,
    file: &mut impl Read,
    keep_going: &dyn Fn() -> bool,
) -> io::Result<Option<Digest>> {
    let mut piece = vec![0; 1 << 20];
    while keep_going() {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Some(context.finish())),
            Ok(n) => context.update(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Whether this is a SHA-1 or SHA-256 in lower-case hexadecimal.
pub(super) fn is_hash(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}
