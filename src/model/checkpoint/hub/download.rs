//! The files of one snapshot: gone on with where they broke off, and checked before they count.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use hf_hub::Repo;

use super::{
    Hub, HubError, Listing, Progress, Sibling, TICK, Tell, Waiting,
    blobs::{check, length, link, open_part, part_of, unlinked},
    names,
    names::is_hash,
    request::{Asked, pause_for},
};
use crate::{
    fs as files,
    model::{
        Config,
        checkpoint::files::{WEIGHTS, index_of, shards},
    },
};

/// Fetches the files of a snapshot that are not there.
pub(super) struct Download<'a> {
    hub: &'a Hub,
    listing: Listing,
    snapshot: PathBuf,
    blobs: PathBuf,
    locks: PathBuf,
    /// Bytes of the files that are here in whole.
    whole: u64,
    told: Progress,
    tell: Tell<'a>,
}

/// Why a file did not come this time.
enum Miss {
    /// What there is of it is no beginning of it, for a reason.
    Unusable(String),
    /// It may come when asked for again, after a pause.
    Failed(HubError, Duration),
    /// For good.
    Ended(HubError),
}

/// Bytes that count as progress: as many have to come in three times the patience, and as many more with each connection.
const LEAST: u64 = 8 << 10;

/// The largest file that is listed without its size.
const UNLISTED: u64 = 64 << 20;

impl<'a> Download<'a> {
    pub fn new(hub: &'a Hub, listing: Listing, told: Progress, tell: Tell<'a>) -> Self {
        let repo = Repo::model(told.repository.clone());
        let locks = hub.cache.directory.join(".locks").join(repo.folder_name());
        let cached = hf_hub::Cache::new(hub.cache.directory.clone()).repo(repo);
        let (snapshot, blobs) = (cached.pointer_path(&listing.sha), cached.blob_path(""));
        Self { hub, listing, snapshot, blobs, locks, whole: 0, told, tell }
    }

    /// The snapshot's directory and commit.
    pub fn end(self) -> (PathBuf, String) {
        (self.snapshot, self.listing.sha)
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
            names = match shards(&self.snapshot.join(index_of(weights))) {
                Ok(names) => names,
                Err(e) => return Err(self.unsuitable(e.to_string())),
            };
        }
        if let Some(missing) = names.iter().find(|name| self.listed(name).is_none()) {
            return Err(self.unsuitable(format!("{} names {missing}, which it has not", index_of(weights))));
        }
        match self.listed("tokenizer.json") {
            Some(_) => names.insert(0, "tokenizer.json".into()),
            None => self.hub.cache.has_none(&self.told.repository, &self.listing.sha, "tokenizer.json"),
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
        let path = self.snapshot.join("config.json");
        let text = files::read_text(&path, files::TEXT_LIMIT);
        let text = text.map_err(|e| self.unsuitable(format!("config.json: {e}")))?;
        let json = serde_json::from_str(&text).map_err(|e| self.unsuitable(format!("config.json: {e}")))?;
        Config::from_json(&json).map_err(|e| self.unsuitable(e.to_string()))
    }

    fn unsuitable(&self, reason: String) -> HubError {
        HubError::Unsuitable { repository: self.told.repository.clone(), reason }
    }

    fn listed(&self, name: &str) -> Option<&Sibling> {
        self.listing.siblings.iter().find(|file| file.name == name)
    }

    /// Where the content of a file is kept, named by its checksum.
    fn blob(&self, file: &Sibling) -> Result<PathBuf, HubError> {
        let name = file.lfs.as_ref().map(|lfs| &lfs.sha256).or(file.blob.as_ref());
        let name = name.filter(|name| is_hash(name));
        let name = name.ok_or_else(|| self.hub.unexpected(&format!("{} is listed without its checksum", file.name)))?;
        Ok(self.blobs.join(name))
    }

    /// Whether what is missing fits on the disk.
    fn room(&self, names: &[String]) -> Result<(), HubError> {
        let cache = &self.hub.cache.directory;
        let mut needed = 0;
        for file in names.iter().filter_map(|name| self.listed(name)) {
            let blob = self.blob(file)?;
            let have = length(&blob).max(length(&part_of(&blob)));
            needed += file.size.unwrap_or(0).saturating_sub(have);
        }
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
        let Some(file) = self.listed(names::file(name)?).cloned() else { return Ok(()) };
        let (blob, target) = (self.blob(&file)?, self.snapshot.join(name));
        let is_there = |path: &Path| {
            path.metadata().is_ok_and(|found| file.size.is_none_or(|size| size == found.len()) && found.is_file())
        };
        if !is_there(&target) {
            for directory in [&self.snapshot, &self.blobs, &self.locks] {
                fs::create_dir_all(directory).map_err(|e| HubError::Disk(directory.clone(), e))?;
            }
            // held until the file is linked
            let _lock = self.lock(&file, &blob)?;
            // another process, or another revision, may have brought it
            if !is_there(&blob) {
                self.transfer(&file, &blob)?;
            }
            link(&blob, &target).map_err(|e| HubError::Disk(target.clone(), e))?;
        }
        self.whole += length(&target);
        self.say(0, Waiting::Nothing)
    }

    /// Be the only one that fetches a file.
    fn lock(&mut self, file: &Sibling, blob: &Path) -> Result<File, HubError> {
        let path = self.locks.join(blob.with_extension("lock").file_name().unwrap_or_default());
        let lock = unlinked(OpenOptions::new().create(true).write(true)).open(&path);
        let lock = lock.map_err(|e| HubError::Disk(path, e))?;
        let (mut most, mut grew) = (0, Instant::now());
        loop {
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                // a file system without locks has no others to wait for
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(lock),
            }
            let have = length(&part_of(blob));
            if have != most {
                (most, grew) = (have, Instant::now());
            } else if grew.elapsed() > self.hub.patience * 2 {
                let reason = "another process is at it, and nothing came there either".into();
                return Err(broken(file, have, reason));
            }
            self.say(have, Waiting::ForOther)?;
            thread::sleep(TICK);
        }
    }

    /// Fetch a file, or the rest of it, as often as it takes.
    fn transfer(&mut self, file: &Sibling, blob: &Path) -> Result<(), HubError> {
        let part = part_of(blob);
        let (mut waits, mut most, mut again) = (self.hub.waits.iter(), 0, false);
        loop {
            let have = length(&part);
            let received = match file.size {
                // nothing is to come, and it may be that there is not even a file yet
                Some(size) if size == have => {
                    open_part(&part).map(drop).map_err(|e| Miss::Ended(HubError::Disk(part.clone(), e)))
                }
                _ => self.receive(file, &part, have),
            };
            log::info!("{}: {}", file.name, if received.is_ok() { "came" } else { "did not come" });
            let wrong = match received {
                Ok(()) => match check(&part, file) {
                    Ok(()) => return fs::rename(&part, blob).map_err(|e| HubError::Disk(blob.into(), e)),
                    Err(reason) => reason,
                },
                Err(Miss::Unusable(reason)) => reason,
                Err(Miss::Ended(error)) => return Err(error),
                Err(Miss::Failed(error, pause)) => {
                    let have = length(&part);
                    if have >= most + LEAST {
                        // as long as it goes on, it is worth trying
                        (most, waits) = (have, self.hub.waits.iter());
                    }
                    let Some(wait) = waits.next() else { return Err(error) };
                    pause_for((*wait).max(pause), &self.told, self.tell)?;
                    continue;
                }
            };
            fs::remove_file(&part).map_err(|e| HubError::Disk(part.clone(), e))?;
            if std::mem::replace(&mut again, true) {
                return Err(HubError::Corrupt { file: file.name.clone(), reason: wrong });
            }
        }
    }

    /// Ask for a file from byte `have` on, and write what comes behind it.
    fn receive(&mut self, file: &Sibling, part: &Path, have: u64) -> Result<(), Miss> {
        let hub = self.hub;
        let Progress { repository, .. } = &self.told;
        let sha = &self.listing.sha;
        let url = hub.api(repository, sha).map_err(Miss::Ended)?.url(&file.name);
        let failed = |e: &dyn std::fmt::Display, done| Miss::Failed(broken(file, done, e.to_string()), Duration::ZERO);
        let response = hub.call(hub.request(&url), &url, Some(have), None).map_err(|e| failed(&e, have))?;
        let mut done = match response.status().as_u16() {
            206 => have,
            // ranges are not known there
            200 => 0,
            416 => return Err(Miss::Unusable("its length changes".into())),
            status => {
                let asked = Asked { repository, revision: sha, file: Some(&file.name) };
                let (error, pause) = hub.refusal(&response, asked);
                return Err(match status {
                    429 | 500..=599 => Miss::Failed(error, pause),
                    _ => Miss::Ended(error),
                });
            }
        };
        let disk = |e: io::Error| Miss::Ended(HubError::Disk(part.into(), e));
        let mut out = open_part(part).map_err(disk)?;
        out.set_len(done).map_err(disk)?;
        let most = file.size.unwrap_or(UNLISTED);
        let pieces = pieces(response.into_body().into_reader()).map_err(|e| failed(&e, done))?;
        let (mut since, mut told) = (Instant::now(), Instant::now());
        // when the last LEAST bytes began to come, and how many were there
        let mut progress = (Instant::now(), done);
        loop {
            match pieces.recv_timeout(TICK) {
                Ok(Ok(piece)) => {
                    if done + piece.len() as u64 > most {
                        return Err(Miss::Unusable(format!("more than {most} bytes")));
                    }
                    out.write_all(&piece).map_err(disk)?;
                    done += piece.len() as u64;
                    since = Instant::now();
                }
                Ok(Err(e)) => return Err(failed(&e, done)),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if since.elapsed() > hub.patience => {
                    return Err(failed(&format!("nothing came for {} s", hub.patience.as_secs_f32()), done));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if done >= progress.1 + LEAST {
                progress = (Instant::now(), done);
            } else if progress.0.elapsed() > hub.patience * 3 {
                let reason = format!("{} bytes came in {} s", done - progress.1, (hub.patience * 3).as_secs_f32());
                return Err(failed(&reason, done));
            }
            if told.elapsed() >= TICK {
                told = Instant::now();
                self.say(done, Waiting::Nothing).map_err(Miss::Ended)?;
            }
        }
    }

    fn say(&mut self, done: u64, waiting: Waiting) -> Result<(), HubError> {
        (self.told.done, self.told.waiting) = (self.whole + done, waiting);
        self.told.total = self.told.total.max(self.told.done);
        if (self.tell)(self.told.clone()) { Ok(()) } else { Err(HubError::Stopped) }
    }
}

/// What comes, read on a thread of its own: a socket that says nothing any more can't be waited for in any other way.
fn pieces(mut body: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    const PIECE: usize = 1 << 18;
    // as much as may come while the disk is busy
    let (sender, pieces) = mpsc::sync_channel(16);
    let read = move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = body.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            // nobody listens any more after a timeout; the end is told by hanging up
            if read.as_ref().is_ok_and(Vec::is_empty) || sender.send(read).is_err() || last {
                break;
            }
        }
    };
    thread::Builder::new().name("download".into()).spawn(read)?;
    Ok(pieces)
}

fn broken(file: &Sibling, done: u64, reason: String) -> HubError {
    let total = file.size.map_or_else(|| "an unknown length".into(), bytes);
    HubError::Broken { file: file.name.clone(), done: bytes(done), total, reason }
}

/// A size in decimal units, as the hub shows it.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut size = n as f64 / 1000.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if n < 1000 { format!("{n} B") } else { format!("{size:.2} {}", UNITS[unit]) }
}
