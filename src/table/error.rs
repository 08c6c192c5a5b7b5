use std::path::PathBuf;

use crate::{
    fs::{ReadError, WriteError},
    printed,
};

/// A table that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("can't read {}: {reason}", printed::path(.path))]
    Open { path: PathBuf, reason: ReadError },
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: String },
    #[error("{}: expected a name that ends in .parquet, .csv or .jsonl", printed::path(.0))]
    Extension(PathBuf),
    #[error(
        "{} is of another experiment or shard: remove it to begin anew, or write to another file",
        printed::path(.0)
    )]
    OtherPart(PathBuf),
    #[error("{}: another pythia-tui is working on it", printed::path(.0))]
    InUse(PathBuf),
}

impl TableError {
    /// Whether the user has to change the call, not the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Extension(_) | Self::OtherPart(_) => true,
            Self::Write(_) | Self::Open { .. } | Self::Read { .. } | Self::InUse(_) => false,
        }
    }
}
