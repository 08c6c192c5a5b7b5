//! Removes what was downloaded for a moment, and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Cache, Kind};

/// What the cache holds of a revision before something is downloaded.
pub struct CacheState {
    folder: PathBuf,
    reference: PathBuf,
    had_reference: bool,
    /// The files of each snapshot, and the blobs.
    files: BTreeSet<PathBuf>,
}

/// What was downloaded for one revision.
pub struct Fetched {
    before: CacheState,
    commit: String,
}

impl Cache {
    /// What it holds now.
    #[must_use]
    pub fn state(&self, repository: &str, revision: &str) -> CacheState {
        let folder = self.folder_of(Kind::Model, repository);
        let reference = folder.join("refs").join(revision);
        let mut files = BTreeSet::new();
        for entry in entries(&folder.join("snapshots")) {
            files.extend(entries(&entry));
        }
        files.extend(entries(&folder.join("blobs")));
        CacheState { had_reference: reference.exists(), folder, reference, files }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

impl CacheState {
    /// What was downloaded since, for a commit.
    #[must_use]
    pub fn fetched(self, commit: &str) -> Fetched {
        Fetched { before: self, commit: commit.into() }
    }
}

impl Fetched {
    /// Remove the files of the commit that were not there before, their blobs unless another snapshot has them too, and the name of
    /// the revision if it was new. What can't be removed stays.
    pub fn remove(self) {
        let CacheState { folder, reference, had_reference, files } = &self.before;
        let snapshot = folder.join("snapshots").join(&self.commit);
        let new: Vec<PathBuf> = entries(&snapshot).into_iter().filter(|path| !files.contains(path)).collect();
        if new.is_empty() {
            return;
        }
        if !had_reference {
            let _ = fs::remove_file(reference);
        }
        let blobs: BTreeSet<PathBuf> = new.iter().filter_map(|path| path.canonicalize().ok()).collect();
        for path in &new {
            let _ = fs::remove_file(path);
        }
        let rest = entries(&folder.join("snapshots"));
        let used: BTreeSet<PathBuf> =
            rest.iter().flat_map(|other| entries(other)).filter_map(|path| path.canonicalize().ok()).collect();
        let known: BTreeSet<PathBuf> = files.iter().filter_map(|path| path.canonicalize().ok()).collect();
        for blob in blobs.iter().filter(|blob| !used.contains(*blob) && !known.contains(*blob)) {
            let _ = fs::remove_file(blob);
        }
        // only where nothing is left in it
        let _ = fs::remove_dir(&snapshot);
    }
}
