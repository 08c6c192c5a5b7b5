//! The hub's listing of a repository.

use serde::Deserialize;

/// A file in a repository, as the hub lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sibling {
    #[serde(rename = "rfilename")]
    pub name: String,
    #[serde(default)]
    pub size: Option<u64>,
    /// Git's hash, which names a small file in the cache.
    #[serde(default, rename = "blobId")]
    pub blob: Option<String>,
    #[serde(default)]
    pub lfs: Option<Lfs>,
}

/// A large file, stored by Git LFS.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Lfs {
    pub sha256: String,
}

/// The commit and the files of a revision.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listing {
    pub sha: String,
    pub siblings: Vec<Sibling>,
}
