//! The files of one snapshot, fetched by hf-hub: and what that leaves to its callers, which are timeouts, retries, checksums
//! and waiting for another process.

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
    api::sync::{Api, ApiError},
};

use super::{Hub, HubError, Listing, Progress, Sibling};
use crate::model::{
    Config,
    checkpoint::{WEIGHTS, index_of, shards},
};

/// Fetches the files of a snapshot that are not there.
pub(super) struct Download<'a> {
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

impl<'a> Download<'a> {
    pub fn new(
        hub: &'a Hub,
        api: Api,
        directory: PathBuf,
        listing: Listing,
        told: Progress,
        tell: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self { hub, api, directory, listing, whole: 0, told, tell }
    }

    /// The snapshot's directory and commit.
    pub fn end(self) -> (PathBuf, String) {
        (self.directory, self.listing.sha)
    }

    /// Have everything that a model is loaded from.
    pub fn all(&mut self) -> Result<(), HubError> {
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

    /// Have the config, of a model that this program can compute.
    pub fn config(&mut self) -> Result<Config, HubError> {
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
            // another revision has the same
            let attempt = if self.link(&file, &target) { Ok(()) } else { self.attempt(&file) };
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

    /// Let a snapshot's file be one that is among the blobs already; where links can't be made it is fetched.
    fn link(&self, file: &Sibling, target: &Path) -> bool {
        let Some(partial) = self.partial(file) else { return false };
        let blob = partial.with_extension("");
        let same = blob.metadata().is_ok_and(|found| file.size == Some(found.len()));
        let name = blob.file_name().filter(|_| same);
        let directory = || fs::create_dir_all(target.parent()?).ok();
        #[cfg(unix)]
        let link = |from: PathBuf| std::os::unix::fs::symlink(from, target).ok();
        #[cfg(not(unix))]
        let link = |_: PathBuf| None::<()>;
        name.is_some_and(|name| directory().and_then(|()| link(Path::new("../../blobs").join(name))).is_some())
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

/// As the hub tells sizes.
fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}
