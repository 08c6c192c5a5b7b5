//! Models from the Hugging Face hub. The cache, its lock files and partial downloads are those of the Python library, so
//! either program resumes what the other began.

mod blobs;
mod cache;
mod client;
mod download;
mod error;
mod fetched;
mod kind;
mod listing;
mod names;
mod parts;
mod progress;
mod request;
mod weights;

use std::{fs, time::Duration};

use serde::Deserialize;

use super::{Checkpoint, digest::is_hash};
use crate::{
    fs::{self as files, Readers},
    model::{Config, ModelError, Source},
};
use download::Download;
use request::Subject;

pub use cache::{Cache, Cached};
pub use client::Hub;
pub use error::HubError;
pub use fetched::{CacheState, Fetched};
pub use kind::Kind;
pub use names::{repository, revision};
pub use parts::Parts;
pub use progress::{OnProgress, Progress, Waiting};

use listing::Listing;
use names::suggested_model;

impl Hub {
    /// Read the environment: `HF_ENDPOINT`, `HF_TOKEN` (or the file that `hf auth login` writes), `HF_HUB_CACHE`,
    /// `HF_HOME`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`.
    #[must_use]
    pub fn from_env(offline: bool) -> Self {
        let set = |name: &str| std::env::var(name).ok().map(|v| v.trim().to_string()).filter(|v| !v.is_empty());
        let is_on = |name: &str| {
            set(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
        };
        let token_file = || {
            let path = cache::set("HF_TOKEN_PATH").unwrap_or_else(|| cache::home().join("token"));
            let token = files::read_text(&path, files::TEXT_LIMIT).ok().map(|token| token.trim().to_string());
            token.filter(|token| !token.is_empty())
        };
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(token_file);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|s| s.parse::<f64>().ok()).filter(|s| *s > 0.0);
        let patience = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        Self {
            cache: Cache::from_env(),
            endpoint: endpoint.trim_end_matches('/').into(),
            token: token.filter(|_| !is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
            offline: offline || is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            patience: patience.unwrap_or(Duration::from_secs(20)),
            waits: [500, 1000, 2000].map(Duration::from_millis).into(),
        }
    }

    /// The snapshot of a revision, from the cache if it is there, else downloaded. A cached branch is not checked for
    /// updates.
    ///
    /// # Errors
    /// There is no such revision, it is not a GPT-NeoX model, it can't be accessed, or the connection or the disk fails.
    pub fn get(&self, repository: &str, revision: &str, on_progress: OnProgress<'_>) -> Result<Source, ModelError> {
        names::check(repository, revision)?;
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if self.offline => {
                let (cache, hint) = (self.cache.directory.clone(), suggested_model(repository));
                Err(HubError::Offline { repository: repository.into(), revision: revision.into(), cache, hint }.into())
            }
            Err(ModelError::NotCached { .. }) => Ok(self.fetch(repository, revision, on_progress)?),
            // another program may have fetched it without the tokenizer, and a file may have been damaged since
            Ok(Source::Snapshot { directory, repository, revision, commit })
                if !self.offline
                    && (self.cache.may_have(&repository, &commit, "tokenizer.json")
                        || matches!(Checkpoint::open(&directory, &|| true), Err(ModelError::Broken { .. }))) =>
            {
                let found = self.fetch(&repository, &revision, on_progress);
                Ok(found.unwrap_or(Source::Snapshot { directory, repository, revision, commit }))
            }
            found => found,
        }
    }

    /// The config of a model, from the cache or the hub, without its weights.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn config(&self, repository: &str, revision: &str) -> Result<Config, ModelError> {
        names::check(repository, revision)?;
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if !self.offline => {
                Ok(self.download(Kind::Model, repository, revision, &mut |_| true)?.fetch_config()?)
            }
            _ => self.get(repository, revision, &mut |_| true)?.config(),
        }
    }

    fn fetch(&self, repository: &str, revision: &str, on_progress: OnProgress<'_>) -> Result<Source, HubError> {
        let mut download = self.download(Kind::Model, repository, revision, on_progress)?;
        download.fetch_all()?;
        let (directory, commit) = download.into_snapshot();
        self.write_ref(Kind::Model, repository, revision, &commit)?;
        Ok(Source::Snapshot { directory, repository: repository.into(), revision: revision.into(), commit })
    }

    /// Ask the hub for the files of a revision.
    fn download<'a>(
        &'a self,
        kind: Kind,
        repository: &str,
        revision: &str,
        on_progress: OnProgress<'a>,
    ) -> Result<Download<'a>, HubError> {
        self.check_settings()?;
        let listing = self.listing(kind, Subject { repository, revision, file: None }, on_progress)?;
        fs::create_dir_all(&self.cache.directory).map_err(|e| HubError::Disk(self.cache.directory.clone(), e))?;
        Ok(Download::new(self, kind, listing, Progress::new(repository, revision), on_progress))
    }

    fn listing(&self, kind: Kind, subject: Subject<'_>, on_progress: OnProgress<'_>) -> Result<Listing, HubError> {
        let Subject { repository, revision, .. } = subject;
        let api = self.api(kind, repository, revision)?;
        let info = || api.info_request().query("blobs", "true");
        let url = format!("{}/api/{}", self.endpoint, kind.repo_at(repository, revision).api_url());
        let listing: Listing = self.get_json(subject, &url, info, on_progress)?;
        match is_hash(&listing.sha) {
            true => Ok(listing),
            false => Err(self.unexpected(&format!("its commit is `{}`", listing.sha))),
        }
    }

    /// The branches and tags of a repository.
    ///
    /// # Errors
    /// The hub can't be asked, or there is no such repository.
    pub fn revisions(&self, repository: &str) -> Result<Vec<String>, ModelError> {
        #[derive(Deserialize)]
        struct Ref {
            name: String,
        }
        #[derive(Deserialize)]
        struct Refs {
            branches: Vec<Ref>,
            tags: Vec<Ref>,
        }
        names::check(repository, "main")?;
        self.check_settings()?;
        let subject = Subject { repository, revision: "main", file: None };
        let url = format!("{}/api/models/{repository}/refs", self.endpoint);
        let refs: Refs = self.get_json(subject, &url, || self.request(&url), &mut |_| true)?;
        let names = refs.branches.into_iter().chain(refs.tags).map(|name| name.name);
        Ok(names.filter(|name| revision(name).is_ok()).collect())
    }

    /// Record that a branch or tag points to a commit, whose files are all cached.
    fn write_ref(&self, kind: Kind, repository: &str, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.cache.folder_of(kind, repository).join("refs").join(revision);
        let failed = |e| HubError::Disk(path.clone(), e);
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        files::write_text(&path, Readers::AsBefore, commit).map_err(|e| failed(e.source))
    }
}
