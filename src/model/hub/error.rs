use std::{io, path::PathBuf};

/// What went wrong between here and the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "{repository} at revision `{revision}` is not in the Hugging Face cache at {cache}{hint}, and nothing is downloaded with \
         --offline or HF_HUB_OFFLINE; `pythia-tui models` lists what is there"
    )]
    Offline { repository: String, revision: String, cache: PathBuf, hint: String },
    #[error("{0}")]
    Setting(String),
    #[error(
        "can't fetch {repository}, which is neither a directory nor in the cache{hint}: can't reach the hub at {endpoint} ({reason})"
    )]
    Unreachable { repository: String, hint: String, endpoint: String, reason: String },
    #[error("there is no {repository} on the hub (and no directory of that name), or it is private{hint}")]
    NoRepository { repository: String, hint: String },
    #[error("{repository} lists {file} and does not have it (status 404); try again later, or another revision")]
    NoFile { repository: String, file: String },
    #[error("`{0}` is not the name of a file beside the others")]
    NoFileName(String),
    #[error("{repository} has no revision `{revision}`{hint}")]
    NoRevision { repository: String, revision: String, hint: String },
    #[error("{repository} asks for access: {reason}; set HF_TOKEN to a token that has it")]
    Denied { repository: String, reason: String },
    #[error("the hub wants fewer requests from here (status 429{0}); wait a little, or set HF_TOKEN")]
    TooMany(String),
    #[error("the hub at {0} has trouble (status {1}); try again later")]
    Server(String, u16),
    #[error("{repository} holds no model for this program: {reason}")]
    Unsuitable { repository: String, reason: String },
    #[error(
        "{file} broke off after {done} of {total}: {reason}; what came is kept, and the next try goes on from there"
    )]
    Broken { file: String, done: String, total: String, reason: String },
    #[error(
        "{file} did not come as the hub lists it ({reason}), also when fetched again: something between changes it"
    )]
    Corrupt { file: String, reason: String },
    #[error("can't write to {0}: {1}; HF_HUB_CACHE names another place")]
    Disk(PathBuf, io::Error),
    #[error(
        "{needed} are to be fetched, and there are {free} free in {cache}; make room, or set HF_HUB_CACHE elsewhere"
    )]
    NoSpace { needed: String, free: String, cache: PathBuf },
    /// Whoever asked wants something else by now.
    #[error("it was stopped; what came is kept")]
    Stopped,
    #[error("{0} does not answer as the hub does: {1}")]
    Unexpected(String, String),
}

impl HubError {
    /// Whether the hub could not be asked, rather than having answered.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Offline { .. } | Self::Unreachable { .. } | Self::TooMany(_) | Self::Server(..))
    }
}
