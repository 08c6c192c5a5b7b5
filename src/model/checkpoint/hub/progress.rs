//! The progress of a download.

use std::time::Duration;

/// Receives the progress of a download, which stops when this returns false.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// The state of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub repository: String,
    pub revision: String,
    /// Bytes on the disk, and bytes in total.
    pub done: u64,
    pub total: u64,
    pub waiting: Waiting,
}

/// What a download waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nothing,
    /// Another process is downloading the file.
    ForOther,
    /// The hub limits the rate of requests; this long to go.
    ForHub(Duration),
}

impl Progress {
    pub(super) fn new(repository: &str, revision: &str) -> Self {
        let (repository, revision) = (repository.into(), revision.into());
        Self { repository, revision, done: 0, total: 0, waiting: Waiting::Nothing }
    }
}

/// The interval between calls of [`OnProgress`].
pub(super) const TICK: Duration = Duration::from_millis(100);
