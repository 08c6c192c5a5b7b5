//! Models from the Hugging Face hub, in the cache that its Python library shares: also its lock files and the names of
//! unfinished downloads, so that either goes on with what the other began.

mod cache;
mod download;
mod error;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use ureq::{Agent, Body, config::RedirectAuthHeaders, http::Response};

use super::{Config, ModelError, Source, pythia};
use crate::names::nearest;
use download::Download;

pub use cache::{Cache, Cached, repository};
pub use error::HubError;

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
        match self.cache.find(repository, revision) {
            Err(ModelError::NotCached { .. }) if self.offline => {
                let (cache, hint) = (self.cache.directory.clone(), alike(repository));
                Err(HubError::Offline { repository: repository.into(), revision: revision.into(), cache, hint }.into())
            }
            Err(ModelError::NotCached { .. }) => Ok(self.fetch(repository, revision, tell)?),
            // whoever fetched it may have had no use for the tokenizer
            Ok(Source::Snapshot { directory, repository, revision, commit })
                if !self.offline && self.cache.may_have(&repository, &commit, "tokenizer.json") =>
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
        // a name may have a slash in it
        let path = format!("models/{repository}/revision/{}?blobs=true", revision.replace('/', "%2F"));
        let listing: Listing = self.ask(repository, revision, &path)?;
        if !is_hash(&listing.sha) {
            return Err(self.unexpected(&format!("its commit is `{}`", listing.sha)));
        }
        fs::create_dir_all(&self.cache.directory).map_err(|e| HubError::Disk(self.cache.directory.clone(), e))?;
        let (repository, revision) = (repository.to_string(), revision.to_string());
        let told = Progress { repository, revision, done: 0, total: 0, waiting: false };
        Ok(Download::new(self, listing, told, tell))
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
        let refs: Refs = self.ask(repository, "main", &format!("models/{repository}/refs"))?;
        let names = refs.branches.into_iter().chain(refs.tags).map(|name| name.name);
        Ok(names.filter(|name| cache::is_path(name)).collect())
    }

    /// What the hub answers at a path of its interface, about a revision of a repository.
    fn ask<T: DeserializeOwned>(&self, repository: &str, revision: &str, path: &str) -> Result<T, HubError> {
        let url = format!("{}/api/{path}", self.endpoint);
        let mut waits = self.waits.iter();
        loop {
            let request = self.agent()?.get(&url).config().timeout_global(Some(self.patience.min(ANSWER))).build();
            let mut response = self.signed(request).call().map_err(|e| self.unreachable(repository, &e))?;
            if response.status() == 200 {
                let text = response.body_mut().with_config().limit(1 << 26).read_to_string();
                let text = text.map_err(|e| self.unreachable(repository, &e))?;
                return serde_json::from_str(&text).map_err(|e| self.unexpected(&e));
            }
            let (error, pause) = self.refusal(&response, repository, revision);
            match (&error, waits.next()) {
                (HubError::TooMany(_) | HubError::Server(..), Some(wait)) => thread::sleep((*wait).max(pause)),
                _ => return Err(error),
            }
        }
    }

    /// Redirects to other hosts are followed without the token.
    fn agent(&self) -> Result<Agent, HubError> {
        if !self.endpoint.starts_with("http://") && !self.endpoint.starts_with("https://") {
            let message = format!("HF_ENDPOINT is `{}`; expected https://... or http://...", self.endpoint);
            return Err(HubError::Setting(message));
        }
        if self.token.as_ref().is_some_and(|token| !token.bytes().all(|c| c.is_ascii_graphic())) {
            return Err(HubError::Setting("the token in HF_TOKEN has characters that no token has".into()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(self.patience))
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
        Ok(config.build().into())
    }

    fn signed<T>(&self, request: ureq::RequestBuilder<T>) -> ureq::RequestBuilder<T> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// What a status means that is no success, and how long the hub asks to wait.
    fn refusal(&self, response: &Response<Body>, repository: &str, revision: &str) -> (HubError, Duration) {
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (status, code, later) = (response.status().as_u16(), header("x-error-code"), header("retry-after"));
        let repository = repository.to_string();
        let error = match (status, code) {
            (_, "RevisionNotFound") => {
                let suite = super::is_of_suite(&repository);
                let steps =
                    "; training steps are step0, step1, step2, step4 to step512, step1000, step2000 to step143000";
                let hint = if suite { steps } else { "" };
                HubError::NoRevision { repository, revision: revision.into(), hint: hint.into() }
            }
            (401 | 403, "GatedRepo") | (403, _) => {
                let reason = Some(header("x-error-message")).filter(|reason| !reason.is_empty());
                let reason = reason.map_or_else(|| format!("status {status}"), String::from);
                HubError::Denied { repository, reason }
            }
            // without a token, the hub says of what does not exist that it is not allowed
            (401 | 404, _) => HubError::NoRepository { hint: self.hint(&repository), repository },
            (429, _) if later.is_empty() => HubError::TooMany(String::new()),
            (429, _) => HubError::TooMany(format!(", for {later} s")),
            (500..=599, _) => HubError::Server(self.endpoint.clone(), status),
            _ => self.unexpected(&format!("status {status}")),
        };
        // nobody waits for minutes
        let longest = self.waits.last().copied().unwrap_or_default() * 10;
        (error, later.parse().map_or(Duration::ZERO, Duration::from_secs).min(longest))
    }

    fn unreachable(&self, repository: &str, why: &ureq::Error) -> HubError {
        let (endpoint, reason) = (self.endpoint.clone(), why.to_string());
        HubError::Unreachable { repository: repository.into(), hint: alike(repository), endpoint, reason }
    }

    fn unexpected(&self, what: &dyn std::fmt::Display) -> HubError {
        HubError::Unexpected(self.endpoint.clone(), what.to_string())
    }

    /// What may be the matter with a repository that is not there.
    fn hint(&self, repository: &str) -> String {
        let token = match &self.token {
            Some(_) => " and the token that is set is not accepted",
            None => ", and HF_TOKEN is not set",
        };
        format!("{token}{}", alike(repository))
    }

    /// Let a revision's name lead to a commit whose files are all here.
    fn point(&self, repository: &str, revision: &str, commit: &str) -> Result<(), HubError> {
        /// Threads of this process may write at once.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        if revision == commit {
            return Ok(());
        }
        let refs = self.cache.folder(repository).join("refs");
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let (path, partial) = (refs.join(revision), refs.join(format!(".{}-{number}", std::process::id())));
        let failed = |e| HubError::Disk(path.clone(), e);
        fs::create_dir_all(path.parent().unwrap_or(&refs)).map_err(failed)?;
        fs::write(&partial, commit).and_then(|()| fs::rename(&partial, &path)).map_err(failed)
    }
}

/// What may have been meant by a name that is not of the suite.
fn alike(repository: &str) -> String {
    let name = repository.strip_prefix("EleutherAI/").unwrap_or(repository);
    let models: Vec<String> = pythia::models().chain(std::iter::once("demo".into())).collect();
    let known = models.iter().any(|model| model == name);
    if known { String::new() } else { nearest(name, models.iter().map(String::as_str)) }
}

/// A name that git or a checksum gives: nothing else becomes a part of a path.
fn is_hash(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// How long a connection may take, and a short answer.
const CONNECT: Duration = Duration::from_secs(4);
const ANSWER: Duration = Duration::from_secs(10);
