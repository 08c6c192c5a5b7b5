//! Some files of a repository, where it holds no model.

use std::path::PathBuf;

use super::{Hub, Kind, error::HubError, names};
use crate::model::{ModelError, OnProgress};

/// Some files of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub kind: Kind,
    /// `OWNER/NAME`
    pub repository: &'a str,
    pub revision: &'a str,
    /// The folder that holds them; empty for the repository itself.
    pub folder: &'a str,
    /// Sets of file names, in order of preference: one of the sets is fetched.
    pub sets: &'a [&'a [&'a str]],
}

impl Parts<'_> {
    /// The paths of a set's files in the repository.
    fn paths(&self, set: &[&str]) -> Vec<String> {
        let path =
            |name: &&str| if self.folder.is_empty() { (*name).into() } else { format!("{}/{name}", self.folder) };
        set.iter().map(path).collect()
    }
}

impl Hub {
    /// The folder that holds some files of a repository, from the cache if they are there, else downloaded and checked as a
    /// model's are.
    ///
    /// # Errors
    /// There is no such repository, revision or set of files, it can't be accessed, or the connection or the disk fails.
    pub fn parts(&self, parts: &Parts<'_>, on_progress: OnProgress<'_>) -> Result<PathBuf, ModelError> {
        let Parts { kind, repository, revision, folder, sets } = *parts;
        names::check(repository, revision)?;
        if !folder.is_empty() {
            names::path(folder)?;
        }
        if let Some(snapshot) = self.cache.snapshot(kind, repository, revision) {
            let here = |set: &&&[&str]| parts.paths(set).iter().all(|path| snapshot.join(path).is_file());
            if sets.iter().find(here).is_some() {
                return Ok(snapshot.join(folder));
            }
        }
        if self.offline {
            let (cache, hint) = (self.cache.directory.clone(), String::new());
            return Err(
                HubError::Offline { repository: repository.into(), revision: revision.into(), cache, hint }.into()
            );
        }
        let mut download = self.download(kind, repository, revision, on_progress)?;
        let listed = |set: &&&[&str]| parts.paths(set).iter().all(|path| download.lists(path));
        let Some(set) = sets.iter().find(listed) else {
            let names = |set: &&[&str]| parts.paths(set).join(" and ");
            let expected = sets.iter().map(names).collect::<Vec<_>>().join(", or ");
            return Err(HubError::NoParts { repository: repository.into(), expected }.into());
        };
        download.fetch_parts(&parts.paths(set))?;
        let (snapshot, commit) = download.into_snapshot();
        self.write_ref(kind, repository, revision, &commit)?;
        Ok(snapshot.join(folder))
    }
}
