//! Checks the names of repositories, revisions and files, from users and from the hub, before they become part of a path or a
//! URL.

use super::error::HubError;
use crate::{
    fs::is_below,
    model::{ModelError, pythia},
    suggest::{did_you_mean, nearest},
};

/// The longest repository name that the hub accepts, in bytes.
const LONGEST: usize = 96;

/// The full name of a model on the hub: `pythia-70m-deduped` is `EleutherAI/pythia-70m-deduped`.
///
/// # Errors
/// `name` can't be the name of a repository.
pub fn repository(name: &str) -> Result<String, ModelError> {
    let full = if name.contains('/') { name.to_string() } else { format!("EleutherAI/{name}") };
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_odd = part.starts_with(['.', '-']) || part.contains("..") || part.contains("--");
        !part.is_empty() && part.chars().all(allowed) && !is_odd
    };
    match full.split_once('/') {
        Some((owner, model)) if part(owner) && part(model) && full.len() <= LONGEST => Ok(full),
        _ => Err(ModelError::NoName(name.into())),
    }
}

/// A branch, a tag or a commit, unchanged.
///
/// # Errors
/// `name` can't be the name of a revision.
pub fn revision(name: &str) -> Result<&str, ModelError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./+=".contains(c);
    let is_odd = |part: &str| part.is_empty() || part.starts_with(['.', '-']) || part.contains("..");
    match name.chars().all(allowed) && name.len() <= 200 && is_below(name) && !name.split('/').any(is_odd) {
        true => Ok(name),
        false => Err(ModelError::NoRevisionName(name.into())),
    }
}

/// Check the full name of a repository and a revision.
pub(super) fn check(full_name: &str, revision_name: &str) -> Result<(), ModelError> {
    if repository(full_name)? != full_name {
        return Err(ModelError::NoName(full_name.into()));
    }
    revision(revision_name).map(drop)
}

/// The name of a file at the top level of a revision, unchanged.
pub(super) fn file(name: &str) -> Result<&str, HubError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.chars().all(allowed) && name.len() <= 200 && !name.starts_with('.') {
        true => Ok(name),
        false => Err(HubError::NoFileName(name.into())),
    }
}

/// The path of a file or a folder in a revision, unchanged.
pub(super) fn path(name: &str) -> Result<&str, HubError> {
    let known = name.len() <= 400 && name.split('/').all(|part| file(part).is_ok());
    if known { Ok(name) } else { Err(HubError::NoFileName(name.into())) }
}

/// `; did you mean ...?` with a known model, to end a message with; empty if the repository is one.
pub(super) fn suggested_model(repository: &str) -> String {
    let name = repository.strip_prefix("EleutherAI/").unwrap_or(repository);
    let models: Vec<String> = pythia::models().chain(std::iter::once("demo".into())).collect();
    let known = models.iter().any(|model| model == name);
    if known { String::new() } else { did_you_mean(&nearest(name, models.iter().map(String::as_str))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_escape_the_cache_are_refused() {
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
        assert!(path("lens/EleutherAI/pythia-70m-deduped/params.pt").is_ok() && path("a.pt").is_ok());
        for name in ["", "/a", "a/", "a//b", "a/../b", "../a", "a/.b", "a\\b/c"] {
            assert!(path(name).is_err(), "{name}");
        }
    }
}
