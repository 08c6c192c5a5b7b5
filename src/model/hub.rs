//! Downloading from the Hugging Face hub into the cache that its Python library shares. All that speaks hf-hub is here, and
//! what that leaves to its callers: timeouts, retries, checksums, waiting for another process.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use hf_hub::{
    Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError},
};
use serde::Deserialize;

use super::{
    Config, ModelError, Source,
    checkpoint::{WEIGHTS, index_of, shards},
    hub_cache::{self, Cache},
    pythia,
};
use crate::names::nearest;

/// What went wrong between here and the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "{0} is not in the Hugging Face cache at {1}, and nothing is downloaded with --offline or HF_HUB_OFFLINE; \
         `pythia-tui models` lists what is there"
    )]
    Offline(String, PathBuf),
    #[error("can't reach the hub at {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("there is no {repository} on the hub (and no directory of that name), or it is private{hint}")]
    NoRepository { repository: String, hint: String },
    #[error("{repository} has no revision `{revision}`{hint}")]
    NoRevision { repository: String, revision: String, hint: String },
    #[error("{repository} asks for access: {reason}; set HF_TOKEN to a token that has it")]
    Denied { repository: String, reason: String },
    #[error("the hub wants fewer requests from here (status 429){0}; wait a little, or set HF_TOKEN")]
    TooMany(String),
    #[error("the hub at {0} has trouble (status {1}); try again later")]
    Server(String, u16),
    #[error("{repository} holds no model for this program: {reason}")]
    Unsuitable { repository: String, reason: String },
    #[error(
        "{file} broke off after {done} of {total}: {reason}; what came is kept, and the next start goes on from there"
    )]
    Broken { file: String, done: String, total: String, reason: String },
    #[error(
        "{file} did not come as the hub lists it ({reason}), also when fetched again: something between changes it"
    )]
    Corrupt { file: String, reason: String },
    #[error("can't write to {0}: {1}")]
    Disk(PathBuf, io::Error),
    #[error(
        "{needed} are to be fetched, and there are {free} free in {cache}; make room, or set HF_HUB_CACHE elsewhere"
    )]
    NoSpace { needed: String, free: String, cache: PathBuf },
    #[error("{0} does not answer as the hub does: {1}")]
    Unexpected(String, String),
}

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
            let path = set("HF_TOKEN_PATH").map_or_else(|| hub_cache::home().join("token"), PathBuf::from);
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
        let (directory, commit) = (download.directory, download.listing.sha);
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
        Ok(Download { hub: self, api, directory, listing, whole: 0, told, tell })
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

/// Fetches the files of a snapshot that are not there.
struct Download<'a> {
    hub: &'a Hub,
    api: Api,
    /// The snapshot's.
    directory: PathBuf,
    listing: Listing,
    /// Bytes of the files that are here in whole.
    whole: u64,
    told: Progress,
    tell: &'a mut dyn FnMut(Progress),
}

/// Why a file did not come this time.
enum Miss {
    /// Another process fetches it.
    Locked,
    /// What there is of it is no beginning of it.
    Unusable,
    /// For good.
    Ended(HubError),
    Failed(HubError),
}

impl Download<'_> {
    fn all(&mut self) -> Result<(), HubError> {
        let (single, index) =
            (|name: &&str| self.listed(name).is_some(), |name: &&str| self.listed(&index_of(name)).is_some());
        let Some(weights) = WEIGHTS.iter().find(|name| single(name) || index(name)) else {
            return Err(self.unsuitable(format!("it has neither {} (nor their index)", WEIGHTS.join(" nor "))));
        };
        let sharded = !single(weights);
        // about as much as it will be: the index that says which shards there are is yet to come
        let (stem, ending) = weights.rsplit_once('.').unwrap_or((weights, ""));
        let shard = |file: &&Sibling| file.name.starts_with(stem) && file.name.ends_with(ending);
        let whole = |file: &&Sibling| file.name == **weights;
        let about = self.listing.siblings.iter().filter(|file| if sharded { shard(file) } else { whole(file) });
        self.told.total = about.filter_map(|file| file.size).sum();
        // before gigabytes are fetched
        self.config()?;
        let mut names: Vec<String> = vec![(*weights).into()];
        if sharded {
            self.file(&index_of(weights))?;
            names = match shards(&self.directory.join(index_of(weights))) {
                Ok(names) => names,
                Err(e) => return Err(self.unsuitable(e.to_string())),
            };
        }
        if let Some(missing) = names.iter().find(|name| self.listed(name).is_none()) {
            return Err(self.unsuitable(format!("{} names {missing}, which it has not", index_of(weights))));
        }
        if self.listed("tokenizer.json").is_some() {
            names.insert(0, "tokenizer.json".into());
        }
        let size = |name: &String| self.listed(name).and_then(|file| file.size).unwrap_or(0);
        self.told.total = self.whole + names.iter().map(size).sum::<u64>();
        self.room(&names)?;
        names.iter().try_for_each(|name| self.file(name))
    }

    fn config(&mut self) -> Result<Config, HubError> {
        if self.listed("config.json").is_none() {
            return Err(self.unsuitable("it has no config.json".into()));
        }
        self.file("config.json")?;
        let path = self.directory.join("config.json");
        let text = fs::read_to_string(&path).map_err(|e| HubError::Disk(path, e))?;
        let json = serde_json::from_str(&text).map_err(|e| self.unsuitable(format!("config.json: {e}")))?;
        Config::from_json(&json).map_err(|e| self.unsuitable(e.to_string()))
    }

    fn unsuitable(&self, reason: String) -> HubError {
        HubError::Unsuitable { repository: self.told.repository.clone(), reason }
    }

    fn listed(&self, name: &str) -> Option<&Sibling> {
        self.listing.siblings.iter().find(|file| file.name == name)
    }

    /// Where the bytes of a file are collected.
    fn partial(&self, file: &Sibling) -> Option<PathBuf> {
        let name = file.lfs.as_ref().map(|lfs| &lfs.sha256).or(file.blob.as_ref())?;
        Some(self.hub.cache.folder(&self.told.repository).join("blobs").join(format!("{name}.part")))
    }

    /// Whether what is missing fits on the disk.
    fn room(&self, names: &[String]) -> Result<(), HubError> {
        let cache = &self.hub.cache.directory;
        let missing = names.iter().filter(|name| !self.directory.join(name).is_file());
        let needed = missing.filter_map(|name| self.listed(name)).map(|file| {
            let have = self.partial(file).and_then(|path| path.metadata().ok()).map_or(0, |m| m.len());
            file.size.unwrap_or(0).saturating_sub(have)
        });
        let needed: u64 = needed.sum();
        match rustix::fs::statvfs(cache) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < needed => {
                let free = bytes(disk.f_bavail.saturating_mul(disk.f_frsize));
                Err(HubError::NoSpace { needed: bytes(needed), free, cache: cache.clone() })
            }
            // a file system that does not say is tried
            _ => Ok(()),
        }
    }

    /// Have a file in the snapshot.
    fn file(&mut self, name: &str) -> Result<(), HubError> {
        let Some(file) = self.listed(name).cloned() else { return Ok(()) };
        let target = self.directory.join(name);
        let (mut waits, mut most, mut again) = (self.hub.waits.iter(), 0, false);
        let mut grew = Instant::now();
        loop {
            if let Ok(found) = target.metadata() {
                if file.size.is_none_or(|size| size == found.len()) {
                    self.whole += found.len();
                    self.say(0, false);
                    return Ok(());
                }
                discard(&target);
            }
            let attempt = self.attempt(&file);
            log::info!("{}: {}", file.name, if attempt.is_ok() { "came" } else { "did not come" });
            match attempt {
                Ok(()) => match check(&target, &file) {
                    Ok(()) => {}
                    Err(reason) => {
                        discard(&target);
                        if std::mem::replace(&mut again, true) {
                            return Err(HubError::Corrupt { file: file.name, reason });
                        }
                    }
                },
                Err(Miss::Locked) => {
                    let have = self.partial(&file).and_then(|path| path.metadata().ok()).map_or(0, |m| m.len());
                    if have > most {
                        (most, grew) = (have, Instant::now());
                    } else if grew.elapsed() > self.hub.patience.max(LOCKED * 2) {
                        let reason = "another process is at it, and nothing came there either".into();
                        return Err(Self::broken(&file, have, reason));
                    }
                    self.say(have, true);
                }
                Err(Miss::Unusable) => {
                    if std::mem::replace(&mut again, true) {
                        return Err(HubError::Corrupt { file: file.name, reason: "its length changes".into() });
                    }
                    if let Some(partial) = self.partial(&file) {
                        fs::remove_file(&partial).map_err(|e| HubError::Disk(partial, e))?;
                    }
                }
                Err(Miss::Ended(error)) => return Err(error),
                Err(Miss::Failed(error)) => {
                    let have = self.partial(&file).and_then(|path| path.metadata().ok()).map_or(0, |m| m.len());
                    if have > most {
                        // as long as it goes on, it is worth trying
                        (most, waits) = (have, self.hub.waits.iter());
                    }
                    let may_pass =
                        matches!(error, HubError::TooMany(_) | HubError::Server(..) | HubError::Broken { .. });
                    match waits.next().filter(|_| may_pass) {
                        Some(wait) => thread::sleep(*wait),
                        None => return Err(error),
                    }
                }
            }
        }
    }

    fn say(&mut self, done: u64, waiting: bool) {
        (self.told.done, self.told.waiting) = (self.whole + done, waiting);
        self.told.total = self.told.total.max(self.told.done);
        (self.tell)(self.told.clone());
    }

    fn broken(file: &Sibling, done: u64, reason: String) -> HubError {
        let total = file.size.map_or_else(|| "an unknown length".into(), bytes);
        HubError::Broken { file: file.name.clone(), done: bytes(done), total, reason }
    }

    /// Let hf-hub fetch a file, or the rest of it, on a thread of its own: it has no timeouts.
    fn attempt(&mut self, file: &Sibling) -> Result<(), Miss> {
        let repo = Repo::with_revision(self.told.repository.clone(), RepoType::Model, self.listing.sha.clone());
        let (api, name) = (self.api.repo(repo), file.name.clone());
        let count = Count::default();
        let (counting, (sender, ended)) = (count.clone(), mpsc::channel());
        let fetch = move || {
            // nobody listens any more after a timeout
            let _ = sender.send(api.download_with_progress(&name, counting));
        };
        let thread = thread::Builder::new().name("download".into()).spawn(fetch);
        thread.map_err(|e| Miss::Failed(self.hub.unexpected(&e)))?;
        let (mut done, mut begun, mut since) = (0, false, Instant::now());
        loop {
            let result = ended.recv_timeout(TICK);
            let now = (count.bytes.load(Ordering::Relaxed), count.begun.load(Ordering::Relaxed));
            if now != (done, begun) {
                ((done, begun), since) = (now, Instant::now());
                self.say(done, false);
            }
            // until it begins, it can be waiting for the lock
            let patience = self.hub.patience + if begun { Duration::ZERO } else { LOCKED };
            match result {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(self.miss(file, done, error)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Miss::Failed(self.hub.unexpected(&"its redirects lead nowhere")));
                }
                Err(RecvTimeoutError::Timeout) if since.elapsed() > patience => {
                    let reason = format!("nothing came for {} s", self.hub.patience.as_secs_f32());
                    // its thread still holds the lock, so that nobody here can try again
                    return Err(Miss::Ended(Self::broken(file, done, reason)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn miss(&self, file: &Sibling, done: u64, error: ApiError) -> Miss {
        let disk = |e: &io::Error| {
            use io::ErrorKind::{
                FileTooLarge, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
            };
            matches!(
                e.kind(),
                FileTooLarge
                    | NotADirectory
                    | NotFound
                    | PermissionDenied
                    | QuotaExceeded
                    | ReadOnlyFilesystem
                    | StorageFull
            )
        };
        let repository = self.told.repository.clone();
        Miss::Failed(match error {
            ApiError::LockAcquisition(_) => return Miss::Locked,
            ApiError::InvalidResume => return Miss::Unusable,
            ApiError::RequestError(e) => match *e {
                ureq::Error::StatusCode(416) => return Miss::Unusable,
                ureq::Error::StatusCode(429) => HubError::TooMany(String::new()),
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    HubError::Denied { repository, reason: format!("{}: status {status}", file.name) }
                }
                ureq::Error::StatusCode(status @ 500..) => HubError::Server(self.hub.endpoint.clone(), status),
                ureq::Error::StatusCode(status) => self.hub.unexpected(&format!("{}: status {status}", file.name)),
                other => Self::broken(file, done, other.to_string()),
            },
            ApiError::IoError(e) if disk(&e) => HubError::Disk(self.hub.cache.directory.clone(), e),
            ApiError::IoError(e) => Self::broken(file, done, e.to_string()),
            other => self.hub.unexpected(&other),
        })
    }
}

/// How often a download is looked at.
const TICK: Duration = Duration::from_millis(100);
/// hf-hub waits so long for a file's lock before it says that another process has it.
const LOCKED: Duration = Duration::from_secs(6);

/// Counts bytes as they come.
#[derive(Clone, Default)]
struct Count {
    bytes: Arc<AtomicU64>,
    begun: Arc<AtomicBool>,
}

impl hf_hub::api::Progress for Count {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.begun.store(true, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.bytes.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

/// Whether a file is as the hub lists it.
fn check(path: &Path, file: &Sibling) -> Result<(), String> {
    let mut open = fs::File::open(path).map_err(|e| e.to_string())?;
    let length = open.metadata().map_err(|e| e.to_string())?.len();
    if let Some(size) = file.size.filter(|size| *size != length) {
        return Err(format!("{length} bytes instead of {size}"));
    }
    let Some(lfs) = &file.lfs else { return Ok(()) };
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut open, &mut chunk).map_err(|e| e.to_string())? {
            0 => break,
            n => digest.update(&chunk[..n]),
        }
    }
    let found = digest.finish();
    let pairs = lfs.sha256.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    if pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).eq(found.as_ref().iter().copied().map(Some)) {
        Ok(())
    } else {
        Err("another checksum".into())
    }
}

/// Remove a file of a snapshot, and the blob that it leads to. What can't be removed is written over.
fn discard(path: &Path) {
    let _ = fs::canonicalize(path).and_then(fs::remove_file);
    let _ = fs::remove_file(path);
}

fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}

impl HubError {
    /// Whether the hub could not be asked, rather than having answered.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Offline(..) | Self::Unreachable { .. } | Self::TooMany(_) | Self::Server(..))
    }
}
