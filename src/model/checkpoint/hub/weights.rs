//! The hashes of a revision's weight files, without the files.

use super::{client::Hub, kind::Kind, listing::Listing, names, progress::OnProgress, request::Subject};
use crate::model::{
    ModelError, Source,
    checkpoint::weight_hashes::{WeightHashes, format_of},
};

impl Hub {
    /// The commit of a revision and the hashes of its weight files: from the hub's listing, or offline from the cache.
    ///
    /// # Errors
    /// There is no such revision, the hub can't be asked, or offline it is not cached.
    pub fn weight_hashes(
        &self,
        repository: &str,
        revision: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<(String, WeightHashes), ModelError> {
        names::check(repository, revision)?;
        if self.offline {
            return match self.cache.find(repository, revision)? {
                Source::Snapshot { directory, commit, .. } => {
                    Ok((commit, WeightHashes::of_directory(&directory, &|| true)?))
                }
                Source::Demo | Source::Directory(_) | Source::Cache(_) => {
                    Err(ModelError::NoRevisions(repository.into()))
                }
            };
        }
        self.check_settings()?;
        let subject = Subject { repository, revision, file: None };
        let Listing { sha, siblings } = self.listing(Kind::Model, subject, on_progress)?;
        let weights = siblings.into_iter().filter(|file| format_of(&file.name).is_some());
        // a file that is not in LFS has Git's own hash, which tells as well whether two are the same
        let hash = |file: super::listing::Sibling| Some((file.name, file.lfs.map(|lfs| lfs.sha256).or(file.blob)?));
        Ok((sha, WeightHashes(weights.filter_map(hash).collect())))
    }
}
