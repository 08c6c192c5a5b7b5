//! Models from the Hugging Face hub, in the cache that its Python library shares. What speaks hf-hub is in here alone.

mod cache;
mod download;
mod error;

use std::{fs, path::PathBuf, thread, time::Duration};

use hf_hub::{
    Repo, RepoType,
    api::sync::{Api, ApiBuilder},
};
use serde::Deserialize;

use super::{Config, ModelError, Source, pythia};
use crate::names::nearest;
use download::Download;

pub use cache::{Cache, Cached, repository};
pub use error::HubError;

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub repository: String,
    pub revision: String,
    /// Bytes that are here, and bytes in all.
    pub done: u64,
    pub total: u64,
    /// Another process is fetching the file; this one waits for it.
    pub waiting: bool,
}

/// Where models come from.
#[derive(Clone, Debug)]
pub struct Hub {
    pub cache: Cache,
    pub endpoint: String,
    pub token: Option<String>,
    /// Use the cache alone.
    pub offline: bool,
    /// For how long a server may say nothing before the connection counts as broken.
    pub patience: Duration,
    /// How long to wait before a file is asked for once more; as often as there are numbers.
    pub waits: Vec<Duration>,
}

/// A file in a repository, as the hub lists it.
#[derive(Clone, Debug, Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    #[serde(default)]
    size: Option<u64>,
    /// Git's hash, which names the file in the cache if it is a small one.
    #[serde(default, rename = "blobId")]
    blob: Option<String>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

/// A large file.
#[derive(Clone, Debug, Deserialize)]
struct Lfs {
    sha256: String,
}

/// What a revision holds.
#[derive(Clone, Debug, Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_TOKEN` (or the file that `hf auth login` writes), `HF_HUB_CACHE`,
    /// `HF_HOME`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`.
    #[must_use]
    pub fn from_env(offline: bool) -> Self {
        let set = |name: &str| std::env::var(name).ok().map(|v| v.trim().to_string()).filter(|v| !v.is_empty());
        let yes = |name: &str| {
            set(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
        };
        let file = || {
            let path = set("HF_TOKEN_PATH").map_or_else(|| cache::home().join("token"), PathBuf::from);
            let token = fs::read_to_string(path).ok().map(|token| token.trim().to_string());
            token.filter(|token| !token.is_empty() && !yes("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|s| s.parse::<f64>().ok()).filter(|s| *s > 0.0);
        let patience = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        Self {
            cache: Cache::from_env(),
            endpoint: endpoint.trim_end_matches('/').into(),
            token: set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(file),
            offline: offline || yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"),
            patience: patience.unwrap_or(Duration::from_secs(20)),
            waits: [500, 1000, 2000].map(Duration::from_millis).into(),
        }
    }

    /// A revision of a repository from the cache, else from the hub. What is in the cache is used without asking whether
    /// there is something newer.
    ///
    /// # Errors
    /// It is not there, not to be had, not a GPT-NeoX model, or the connection or the disk fails.
    pub fn get(&self, repository: &str, revision: &str, tell: &mut dyn FnMut(Progress)) -> Result<Source, ModelError> {
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if self.offline => {
                let what = format!("{repository} at revision `{revision}`");
                Err(HubError::Offline(what, self.cache.directory.clone()).into())
            }
            Err(ModelError::NotCached { .. }) => self.fetch(repository, revision, tell),
            found => found,
        }
    }

    /// What a model is, from the cache or the hub, without its weights.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn config(&self, repository: &str, revision: &str) -> Result<Config, ModelError> {
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if !self.offline => {
                Ok(self.download(repository, revision, &mut |_| {})?.config()?)
            }
            _ => self.get(repository, revision, &mut |_| {})?.config(),
        }
    }

    fn fetch(&self, repository: &str, revision: &str, tell: &mut dyn FnMut(Progress)) -> Result<Source, ModelError> {
        let mut download = self.download(repository, revision, tell)?;
        download.all()?;
        let (directory, commit) = download.end();
        self.point(repository, revision, &commit)?;
        Ok(Source::Snapshot { directory, repository: repository.into(), revision: revision.into(), commit })
    }

    /// Ask what a revision holds.
    fn download<'a>(
        &'a self,
        repository: &str,
        revision: &str,
        tell: &'a mut dyn FnMut(Progress),
    ) -> Result<Download<'a>, HubError> {
        let api = self.api()?;
        let mut waits = self.waits.iter();
        let listing = loop {
            match (self.list(&api, repository, revision), waits.next()) {
                (Err(HubError::TooMany(_) | HubError::Server(..)), Some(wait)) => thread::sleep(*wait),
                (result, _) => break result?,
            }
        };
        fs::create_dir_all(&self.cache.directory).map_err(|e| HubError::Disk(self.cache.directory.clone(), e))?;
        let directory = self.cache.folder(repository).join("snapshots").join(&listing.sha);
        let (repository, revision) = (repository.to_string(), revision.to_string());
        let told = Progress { repository, revision, done: 0, total: 0, waiting: false };
        Ok(Download::new(self, api, directory, listing, told, tell))
    }

    fn api(&self) -> Result<Api, HubError> {
        if !self.endpoint.starts_with("http://") && !self.endpoint.starts_with("https://") {
            let reason = "HF_ENDPOINT must begin with https:// or http://".into();
            return Err(HubError::Unreachable { endpoint: self.endpoint.clone(), reason });
        }
        ApiBuilder::from_cache(hf_hub::Cache::new(self.cache.directory.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| self.unexpected(&e))
    }

    fn unexpected(&self, what: &dyn std::fmt::Display) -> HubError {
        HubError::Unexpected(self.endpoint.clone(), what.to_string())
    }

    /// What a revision holds.
    fn list(&self, api: &Api, repository: &str, revision: &str) -> Result<Listing, HubError> {
        let repo = api.repo(Repo::with_revision(repository.into(), RepoType::Model, revision.into()));
        let config = repo.info_request().query("blobs", "true").config().http_status_as_error(false);
        let config = config.timeout_connect(Some(CONNECT)).timeout_global(Some(self.patience.min(ANSWER)));
        let unreachable =
            |e: ureq::Error| HubError::Unreachable { endpoint: self.endpoint.clone(), reason: e.to_string() };
        let mut response = config.build().call().map_err(unreachable)?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (status, code, later) = (response.status().as_u16(), header("x-error-code"), header("retry-after"));
        let repository = repository.to_string();
        Err(match (status, code) {
            (200, _) => return response.body_mut().read_json().map_err(|e| self.unexpected(&e)),
            (_, "RevisionNotFound") => {
                let hint = match repository.starts_with("EleutherAI/pythia-") {
                    true => {
                        "; training steps are step0, step1, step2, step4 to step512, step1000, step2000 to step143000"
                    }
                    false => "",
                };
                HubError::NoRevision { repository, revision: revision.into(), hint: hint.into() }
            }
            (401 | 403, "GatedRepo") | (403, _) => {
                let reason = header("x-error-message").to_string();
                HubError::Denied {
                    repository,
                    reason: if reason.is_empty() { format!("status {status}") } else { reason },
                }
            }
            // without a token, the hub says of what does not exist that it is not allowed
            (401 | 404, _) => HubError::NoRepository { hint: self.hint(&repository), repository },
            (429, _) if later.is_empty() => HubError::TooMany(String::new()),
            (429, _) => HubError::TooMany(format!(", after {later} s")),
            (500..=599, _) => HubError::Server(self.endpoint.clone(), status),
            _ => self.unexpected(&format!("status {status}")),
        })
    }

    /// The branches and tags of a repository.
    ///
    /// # Errors
    /// The hub can't be asked, or there is no such repository.
    pub fn revisions(&self, repository: &str) -> Result<Vec<String>, HubError> {
        #[derive(Deserialize)]
        struct Ref {
            name: String,
        }
        #[derive(Deserialize)]
        struct Refs {
            branches: Vec<Ref>,
            tags: Vec<Ref>,
        }
        let mut request = ureq::get(format!("{}/api/models/{repository}/refs", self.endpoint));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let config = request.config().timeout_connect(Some(CONNECT)).timeout_global(Some(self.patience.min(ANSWER)));
        let unreachable =
            |e: ureq::Error| HubError::Unreachable { endpoint: self.endpoint.clone(), reason: e.to_string() };
        let mut response = config.build().call().map_err(unreachable)?;
        let refs: Refs = response.body_mut().read_json().map_err(|e| self.unexpected(&e))?;
        Ok(refs.branches.into_iter().chain(refs.tags).map(|name| name.name).collect())
    }

    /// What may be the matter with a repository that is not there.
    fn hint(&self, repository: &str) -> String {
        let token = match &self.token {
            Some(_) => " and the token that is set is not accepted",
            None => ", and HF_TOKEN is not set",
        };
        let name = repository.strip_prefix("EleutherAI/").unwrap_or_default();
        let models: Vec<String> = pythia::models().collect();
        let known = models.iter().any(|model| model == name);
        let alike = if known { String::new() } else { nearest(name, models.iter().map(String::as_str)) };
        format!("{token}{alike}")
    }

    /// Let a revision's name lead to a commit whose files are all here; hf-hub wrote one for the commit instead.
    fn point(&self, repository: &str, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let refs = self.cache.folder(repository).join("refs");
        let (path, partial) = (refs.join(revision), refs.join(format!(".{}", std::process::id())));
        let failed = |e| HubError::Disk(path.clone(), e);
        fs::create_dir_all(path.parent().unwrap_or(&refs)).map_err(failed)?;
        fs::write(&partial, commit).and_then(|()| fs::rename(&partial, &path)).map_err(failed)?;
        // another process may be about to do the same
        let _ = fs::remove_file(refs.join(commit));
        Ok(())
    }
}

/// How long a connection may take, and a short answer.
const CONNECT: Duration = Duration::from_secs(4);
const ANSWER: Duration = Duration::from_secs(10);
