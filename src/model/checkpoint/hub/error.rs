use std::{io, path::PathBuf};

use crate::{
    fs::plain,
    printed::{escaped, path as shown},
};

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "{repository} at revision `{}` is not in the Hugging Face cache at {}, and nothing is downloaded with --offline or \
         HF_HUB_OFFLINE; `pythia-tui models` lists what is there{hint}",
        escaped(.revision),
        shown(.cache)
    )]
    Offline { repository: String, revision: String, cache: PathBuf, hint: String },
    #[error("{}", escaped(.0))]
    Setting(String),
    #[error(
        "can't fetch {repository}, which is neither a directory nor in the cache: can't reach the hub at {} ({}){hint}",
        escaped(.endpoint),
        escaped(.reason)
    )]
    Unreachable { repository: String, hint: String, endpoint: String, reason: String },
    #[error("there is no {repository} on the hub (and no directory of that name), or it is private{hint}")]
    NoRepository { repository: String, hint: String },
    #[error("{repository} lists {} but does not have it (status 404); try again later, or another revision", escaped(.file))]
    NoFile { repository: String, file: String },
    #[error("`{}` is not a plain file name", escaped(.0))]
    NoFileName(String),
    #[error("{repository} has no revision `{}`{hint}", escaped(.revision))]
    NoRevision { repository: String, revision: String, hint: String },
    #[error("access to {repository} is restricted: {}; set HF_TOKEN to a token that has access", escaped(.reason))]
    Denied { repository: String, reason: String },
    #[error("the hub limits the rate of requests (status 429{}); wait a little, or set HF_TOKEN", escaped(.0))]
    TooMany(String),
    #[error("the hub at {} has trouble (status {}); try again later", escaped(.0), .1)]
    Server(String, u16),
    #[error("{repository} holds no model for this program: {}", escaped(.reason))]
    Unsuitable { repository: String, reason: String },
    #[error("{repository} has no {}", escaped(.expected))]
    NoParts { repository: String, expected: String },
    #[error(
        "the download of {} was interrupted after {done} of {total}: {}; the next attempt resumes there",
        escaped(.file),
        escaped(.reason)
    )]
    Broken { file: String, done: String, total: String, reason: String },
    #[error(
        "{} is not as the hub lists it ({}), even when fetched again: a proxy may be altering it",
        escaped(.file),
        escaped(.reason)
    )]
    Corrupt { file: String, reason: String },
    #[error("can't write to {}: {}; set HF_HUB_CACHE to another directory", shown(.0), plain(.1))]
    Disk(PathBuf, io::Error),
    #[error(
        "the download needs {needed}, but only {free} are free in {}; make room, or set HF_HUB_CACHE to another directory",
        shown(.cache)
    )]
    NoSpace { needed: String, free: String, cache: PathBuf },
    /// The progress callback asked to stop.
    #[error("the download was stopped; the next attempt resumes it")]
    Stopped,
    #[error("{} did not answer as a Hugging Face hub does: {}", escaped(.0), escaped(.1))]
    Unexpected(String, String),
}

impl HubError {
    /// Whether the hub could not be asked, as opposed to having refused.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Offline { .. } | Self::Unreachable { .. } | Self::TooMany(_) | Self::Server(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_hub_is_escaped_in_errors() {
        let said = || "\u{1b}]0;x\u{7}\n\u{9b}".to_string();
        let denied = HubError::Denied { repository: "a/b".into(), reason: said() };
        assert_eq!(
            denied.to_string(),
            "access to a/b is restricted: \\u001b]0;x\\u0007\\n\\u009b; set HF_TOKEN to a token that has access"
        );
        for error in [
            HubError::Setting(said()),
            HubError::NoRevision { repository: "a/b".into(), revision: said(), hint: String::new() },
            HubError::TooMany(said()),
            HubError::Server(said(), 500),
            HubError::Unsuitable { repository: "a/b".into(), reason: said() },
            HubError::Broken { file: said(), done: "1 B".into(), total: "2 B".into(), reason: said() },
            HubError::Corrupt { file: said(), reason: said() },
            HubError::Unexpected(said(), said()),
        ] {
            let message = error.to_string();
            assert!(message.contains("\\u001b]0;x") && !message.contains(['\u{1b}', '\n']), "{message:?}");
        }
    }
}
