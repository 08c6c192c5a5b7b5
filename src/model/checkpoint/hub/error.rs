use std::{io, path::PathBuf};

use crate::{
    fs::plain,
    printed::{escaped, path as shown},
};

/// What went wrong between here and the hub.
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
    #[error("{repository} lists {} and does not have it (status 404); try again later, or another revision", escaped(.file))]
    NoFile { repository: String, file: String },
    #[error("`{}` is not the name of a file beside the others", escaped(.0))]
    NoFileName(String),
    #[error("{repository} has no revision `{}`{hint}", escaped(.revision))]
    NoRevision { repository: String, revision: String, hint: String },
    #[error("{repository} asks for access: {}; set HF_TOKEN to a token that has it", escaped(.reason))]
    Denied { repository: String, reason: String },
    #[error("the hub limits the rate of requests (status 429{}); wait a little, or set HF_TOKEN", escaped(.0))]
    TooMany(String),
    #[error("the hub at {} has trouble (status {}); try again later", escaped(.0), .1)]
    Server(String, u16),
    #[error("{repository} holds no model for this program: {}", escaped(.reason))]
    Unsuitable { repository: String, reason: String },
    #[error(
        "{} broke off after {done} of {total}: {}; what came is kept, and the next try goes on from there",
        escaped(.file),
        escaped(.reason)
    )]
    Broken { file: String, done: String, total: String, reason: String },
    #[error(
        "{} did not come as the hub lists it ({}), also when fetched again: a proxy may be altering it",
        escaped(.file),
        escaped(.reason)
    )]
    Corrupt { file: String, reason: String },
    #[error("can't write to {}: {}; HF_HUB_CACHE names another place", shown(.0), plain(.1))]
    Disk(PathBuf, io::Error),
    #[error(
        "{needed} are to be fetched, and there are {free} free in {}; make room, or set HF_HUB_CACHE elsewhere",
        shown(.cache)
    )]
    NoSpace { needed: String, free: String, cache: PathBuf },
    /// Whoever asked wants something else by now.
    #[error("it was stopped; what came is kept")]
    Stopped,
    #[error("{} does not answer as the hub does: {}", escaped(.0), escaped(.1))]
    Unexpected(String, String),
}

impl HubError {
    /// Whether the hub could not be asked, rather than having answered.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Offline { .. } | Self::Unreachable { .. } | Self::TooMany(_) | Self::Server(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hub_says_is_repeated_escaped() {
        let said = || "\u{1b}]0;x\u{7}\n\u{9b}".to_string();
        let denied = HubError::Denied { repository: "a/b".into(), reason: said() };
        assert_eq!(
            denied.to_string(),
            "a/b asks for access: \\u001b]0;x\\u0007\\n\\u009b; set HF_TOKEN to a token that has it"
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
