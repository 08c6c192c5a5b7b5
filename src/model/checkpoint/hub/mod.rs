//! Models from the Hugging Face hub, in the cache that its Python library shares: also its lock files and the names of
//! unfinished downloads, so that either goes on with what the other began.

mod blobs;
mod cache;
mod download;
mod error;
mod names;
mod request;

use std::{fs, time::Duration};

use serde::Deserialize;

use super::Checkpoint;
use crate::{
    fs::{self as files, Readers},
    model::{Config, ModelError, Source, pythia},
    names::nearest,
};
use download::Download;
use names::is_hash;
use request::Asked;

pub use cache::{Cache, Cached};
pub use error::HubError;
pub use names::{repository, revision};

/// What a download tells of its progress; it goes on as long as this returns true.
pub type Tell<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub repository: String,
    pub revision: String,
    /// Bytes that are here, and bytes in all.
    pub done: u64,
    pub total: u64,
    pub waiting: Waiting,
}

/// What a download waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nothing,
    /// Another process is fetching the file.
    ForOther,
    /// The hub asked to be left alone for so long.
    ForHub(Duration),
}

impl Progress {
    fn none(repository: &str, revision: &str) -> Self {
        let (repository, revision) = (repository.into(), revision.into());
        Self { repository, revision, done: 0, total: 0, waiting: Waiting::Nothing }
    }
}

/// How often a download is reported, and asked whether it should stop.
const TICK: Duration = Duration::from_millis(100);

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
            let path = cache::set("HF_TOKEN_PATH").unwrap_or_else(|| cache::home().join("token"));
            let token = files::read_text(&path, files::TEXT_LIMIT).ok().map(|token| token.trim().to_string());
            token.filter(|token| !token.is_empty())
        };
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(file);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|s| s.parse::<f64>().ok()).filter(|s| *s > 0.0);
        let patience = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        Self {
            cache: Cache::from_env(),
            endpoint: endpoint.trim_end_matches('/').into(),
            token: token.filter(|_| !yes("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
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
    pub fn get(&self, repository: &str, revision: &str, tell: Tell<'_>) -> Result<Source, ModelError> {
        names::check(repository, revision)?;
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if self.offline => {
                let (cache, hint) = (self.cache.directory.clone(), alike(repository));
                Err(HubError::Offline { repository: repository.into(), revision: revision.into(), cache, hint }.into())
            }
            Err(ModelError::NotCached { .. }) => Ok(self.fetch(repository, revision, tell)?),
            // who fetched it may have had no use for the tokenizer, and a file may have been damaged since
            Ok(Source::Snapshot { directory, repository, revision, commit })
                if !self.offline
                    && (self.cache.may_have(&repository, &commit, "tokenizer.json")
                        || matches!(Checkpoint::open(&directory, &|| true), Err(ModelError::Broken { .. }))) =>
            {
                let found = self.fetch(&repository, &revision, tell);
                Ok(found.unwrap_or(Source::Snapshot { directory, repository, revision, commit }))
            }
            found => found,
        }
    }

    /// What a model is, from the cache or the hub, without its weights.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn config(&self, repository: &str, revision: &str) -> Result<Config, ModelError> {
        names::check(repository, revision)?;
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if !self.offline => {
                Ok(self.download(repository, revision, &mut |_| true)?.config()?)
            }
            _ => self.get(repository, revision, &mut |_| true)?.config(),
        }
    }

    fn fetch(&self, repository: &str, revision: &str, tell: Tell<'_>) -> Result<Source, HubError> {
        let mut download = self.download(repository, revision, tell)?;
        download.all()?;
        let (directory, commit) = download.end();
        self.point(repository, revision, &commit)?;
        Ok(Source::Snapshot { directory, repository: repository.into(), revision: revision.into(), commit })
    }

    /// Ask what a revision holds.
    fn download<'a>(&'a self, repository: &str, revision: &str, tell: Tell<'a>) -> Result<Download<'a>, HubError> {
        self.check_settings()?;
        let asked = Asked { repository, revision, file: None };
        let api = self.api(repository, revision)?;
        let info = || api.info_request().query("blobs", "true");
        let url = format!("{}/api/models/{repository}/revision/{revision}", self.endpoint);
        let listing: Listing = self.ask(asked, &url, info, tell)?;
        if !is_hash(&listing.sha) {
            return Err(self.unexpected(&format!("its commit is `{}`", listing.sha)));
        }
        fs::create_dir_all(&self.cache.directory).map_err(|e| HubError::Disk(self.cache.directory.clone(), e))?;
        Ok(Download::new(self, listing, Progress::none(repository, revision), tell))
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
        let asked = Asked { repository, revision: "main", file: None };
        let url = format!("{}/api/models/{repository}/refs", self.endpoint);
        let refs: Refs = self.ask(asked, &url, || self.request(&url), &mut |_| true)?;
        let names = refs.branches.into_iter().chain(refs.tags).map(|name| name.name);
        Ok(names.filter(|name| revision(name).is_ok()).collect())
    }

    /// Let a revision's name lead to a commit whose files are all here.
    fn point(&self, repository: &str, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.cache.folder(repository).join("refs").join(revision);
        let failed = |e| HubError::Disk(path.clone(), e);
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        files::write_text(&path, Readers::AsBefore, commit).map_err(|e| failed(e.source))
    }
}

/// What may have been meant by a name that is not of the suite.
fn alike(repository: &str) -> String {
    let name = repository.strip_prefix("EleutherAI/").unwrap_or(repository);
    let models: Vec<String> = pythia::models().chain(std::iter::once("demo".into())).collect();
    let known = models.iter().any(|model| model == name);
    if known { String::new() } else { nearest(name, models.iter().map(String::as_str)) }
}
