//! Reads files up to a size limit, and writes them atomically.

mod read;
mod write;

use std::{
    io,
    path::{Component, Path, PathBuf},
};

pub use read::{ReadError, TEXT_LIMIT, open, read, read_text, read_toml, without_mark};
pub use write::{Readers, WriteError, is_abandoned, write_atomic, write_text};

/// The operating system's message without the error number.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text).to_string(),
        None => text,
    }
}

/// Expand a leading `~`, `$NAME` and `${NAME}` in a path, as Python's `expanduser` and `expandvars` do. An unset variable
/// stays unexpanded.
#[must_use]
pub fn expanded(path: &Path) -> PathBuf {
    let Some(text) = path.to_str() else { return path.to_path_buf() };
    let path = PathBuf::from(with_variables(text, |name| std::env::var(name).ok()));
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The path from the root of the file system, expanded as [`expanded`] does; as it is where the working directory is gone.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    let path = expanded(path);
    std::path::absolute(&path).unwrap_or(path)
}

fn with_variables(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split('$');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let braced = part.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = braced.unwrap_or_else(|| part.split_at(part.find(|c| !is_name(c)).unwrap_or(part.len())));
        match value(name).filter(|_| !name.is_empty()) {
            Some(value) => out.extend([value.as_str(), rest]),
            None => out.extend(["$", part]),
        }
    }
    out
}

/// Whether a name, joined to a directory, always stays below it.
#[must_use]
pub fn is_below(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\0')
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_as_in_shells() {
        let value = |name: &str| (name == "HOME_1").then(|| "/h".to_string());
        for (text, expected) in [
            ("$HOME_1/x", "/h/x"),
            ("a${HOME_1}b", "a/hb"),
            ("$NONE/x", "$NONE/x"),
            ("${NONE}$", "${NONE}$"),
            ("${HOME_1", "${HOME_1"),
            ("$HOME_1$HOME_1", "/h/h"),
            ("plain", "plain"),
        ] {
            assert_eq!(with_variables(text, value), expected);
        }
        assert_eq!(expanded(Path::new("~/x")), std::env::home_dir().unwrap().join("x"));
        assert_eq!(expanded(Path::new("~other/x")), Path::new("~other/x"));
    }

    #[test]
    fn names_that_leave_the_directory_are_recognised() {
        assert!(["main", "refs/pr/1", "step3000"].into_iter().all(is_below));
        assert!(["", "..", "a/../b", "/a", "./a", "a\0"].into_iter().all(|name| !is_below(name)));
    }
}
