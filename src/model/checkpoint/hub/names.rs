//! Names of repositories, revisions and files, from users and from the hub: each is checked here before it becomes a part of a
//! path or of an address.

use crate::{
    fs::is_below,
    model::{HubError, ModelError},
};

/// The longest that the hub takes.
const LONGEST: usize = 96;

/// A model on the hub: `pythia-70m-deduped` is `EleutherAI/pythia-70m-deduped`.
///
/// # Errors
/// It is not the name of a repository.
pub fn repository(name: &str) -> Result<String, ModelError> {
    let full = if name.contains('/') { name.to_string() } else { format!("EleutherAI/{name}") };
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let separated = part.starts_with(['.', '-']) || part.contains("..") || part.contains("--");
        !part.is_empty() && part.chars().all(allowed) && !separated
    };
    match full.split_once('/') {
        Some((owner, model)) if part(owner) && part(model) && full.len() <= LONGEST => Ok(full),
        _ => Err(ModelError::NoName(name.into())),
    }
}

/// A branch, a tag or a commit.
///
/// # Errors
/// It is not the name of a revision.
pub fn revision(name: &str) -> Result<&str, ModelError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./+=".contains(c);
    let odd = |part: &str| part.is_empty() || part.starts_with(['.', '-']) || part.contains("..");
    match name.chars().all(allowed) && name.len() <= 200 && is_below(name) && !name.split('/').any(odd) {
        true => Ok(name),
        false => Err(ModelError::NoRevisionName(name.into())),
    }
}

/// A repository, with its owner, and a revision.
pub(super) fn check(of: &str, at: &str) -> Result<(), ModelError> {
    if repository(of)? != of {
        return Err(ModelError::NoName(of.into()));
    }
    revision(at).map(drop)
}

/// A file beside the others of a revision.
pub(super) fn file(name: &str) -> Result<&str, HubError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.chars().all(allowed) && name.len() <= 200 && !name.starts_with('.') {
        true => Ok(name),
        false => Err(HubError::NoFileName(name.into())),
    }
}

/// A name that git or a checksum gives.
pub(super) fn is_hash(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(repository("pythia-70m").unwrap(), "EleutherAI/pythia-70m");
        assert_eq!(repository("A.b_c/d-e").unwrap(), "A.b_c/d-e");
        let long = format!("a/{}", "b".repeat(100));
        for name in ["", "a/b/c", "/a", "a/", "../b", "a/..", "a/.b", "a--b/c", "a b", "a/b?c", "a/b\0", "ä/b", &long]
        {
            assert!(repository(name).is_err(), "{name}");
        }
        for name in ["main", "step3000", "refs/pr/1", "v1.0+a=b", "0123456789012345678901234567890123456789"] {
            assert_eq!(revision(name).unwrap(), name);
        }
        for name in [
            "", ".", "..", "../x", "a/../b", "a/..", "/a", "a//b/", ".a", "a/.b", "a..b", "-a", "a b", "a%2f", "a\\b",
            "a?b",
        ] {
            assert!(revision(name).is_err(), "{name}");
        }
        assert!(file("model-00001-of-00002.safetensors").is_ok());
        for name in ["", "..", "a/b", "/a", ".hidden", "a\\b", "a?b", "a\u{1b}"] {
            assert!(file(name).is_err(), "{name}");
        }
    }
}
