//! Downloads the files of one snapshot: resumes partial ones, and checks each against the listing before it enters the cache.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    blobs::{check, length, link, open_partial, partial_path, without_links},
    client::Hub,
    error::HubError,
    kind::Kind,
    listing::{Listing, Sibling},
    names,
    progress::{OnProgress, Progress, TICK, Waiting},
    request::{Subject, pause_for},
};
use crate::{
    fs as files,
    model::{
        Config,
        checkpoint::{
            digest::is_hash,
            files::{WEIGHTS, index_of, shards},
        },
    },
};

/// The download of one snapshot.
pub(super) struct Download<'a> {
    hub: &'a Hub,
    kind: Kind,
    listing: Listing,
    snapshot: PathBuf,
    blobs: PathBuf,
    locks: PathBuf,
    /// The bytes of the files that are complete.
    complete: u64,
    progress: Progress,
    on_progress: OnProgress<'a>,
}

/// Why one attempt to download a file failed.
enum AttemptError {
    /// The partial file is not the beginning of the listed one; the reason.
    BadPartial(String),
    /// The next attempt may succeed, after a pause.
    Temporary(HubError, Duration),
    Permanent(HubError),
}

/// The bytes that count as progress: a connection is given up if fewer arrive within three times [`Hub::patience`], and
/// the count of retries starts again once this many more are on the disk.
const MIN_PROGRESS: u64 = 8 << 10;

/// The largest size of a file whose size is not listed, in bytes.
const UNLISTED_LIMIT: u64 = 64 << 20;

impl<'a> Download<'a> {
    pub fn new(hub: &'a Hub, kind: Kind, listing: Listing, progress: Progress, on_progress: OnProgress<'a>) -> Self {
        let repo = kind.repo(&progress.repository);
        let locks = hub.cache.directory.join(".locks").join(repo.folder_name());
        let cached = hf_hub::Cache::new(hub.cache.directory.clone()).repo(repo);
        let (snapshot, blobs) = (cached.pointer_path(&listing.sha), cached.blob_path(""));
        Self { hub, kind, listing, snapshot, blobs, locks, complete: 0, progress, on_progress }
    }

    /// The snapshot's directory and commit.
    pub fn into_snapshot(self) -> (PathBuf, String) {
        (self.snapshot, self.listing.sha)
    }

    /// Fetch config, weights and tokenizer.
    pub fn fetch_all(&mut self) -> Result<(), HubError> {
        let is_single = |name: &&str| self.listed(name).is_some();
        let has_index = |name: &&str| self.listed(&index_of(name)).is_some();
        let Some(weights) = WEIGHTS.iter().find(|name| is_single(name) || has_index(name)) else {
            return Err(self.unsuitable(format!("it has neither {} (nor their index)", WEIGHTS.join(" nor "))));
        };
        let is_sharded = !is_single(weights);
        // an estimate until the index says which shards there are
        let (stem, extension) = weights.rsplit_once('.').unwrap_or((weights, ""));
        let is_weights = |file: &&Sibling| match is_sharded {
            true => file.name.starts_with(stem) && file.name.ends_with(extension),
            false => file.name == **weights,
        };
        let sizes = self.listing.siblings.iter().filter(is_weights).filter_map(|file| file.size);
        self.progress.total = sizes.sum();
        // comes first, so that an unsupported model is refused before its weights are downloaded
        self.fetch_config()?;
        let mut names: Vec<String> = vec![(*weights).into()];
        if is_sharded {
            self.fetch(&index_of(weights))?;
            names = match shards(&self.snapshot.join(index_of(weights))) {
                Ok(names) => names,
                Err(e) => return Err(self.unsuitable(e.to_string())),
            };
        }
        if let Some(missing) = names.iter().find(|name| self.listed(name).is_none()) {
            return Err(
                self.unsuitable(format!("{} names {missing}, which the repository does not have", index_of(weights)))
            );
        }
        match self.listed("tokenizer.json") {
            Some(_) => names.insert(0, "tokenizer.json".into()),
            None => self.hub.cache.record_missing(&self.progress.repository, &self.listing.sha, "tokenizer.json"),
        }
        let size = |name: &String| self.listed(name).and_then(|file| file.size).unwrap_or(0);
        self.progress.total = self.complete + names.iter().map(size).sum::<u64>();
        self.check_space(&names)?;
        names.iter().try_for_each(|name| self.fetch(names::file(name)?))
    }

    /// Whether the repository has this file.
    pub fn lists(&self, path: &str) -> bool {
        self.listed(path).is_some()
    }

    /// Fetch these files, which may lie in folders.
    pub fn fetch_parts(&mut self, paths: &[String]) -> Result<(), HubError> {
        let sizes = paths.iter().filter_map(|path| self.listed(path)).filter_map(|file| file.size);
        self.progress.total = sizes.sum();
        self.check_space(paths)?;
        paths.iter().try_for_each(|path| self.fetch(path))
    }

    /// Fetch and parse the config.
    ///
    /// # Errors
    /// The model is not supported, or the download fails.
    pub fn fetch_config(&mut self) -> Result<Config, HubError> {
        if self.listed("config.json").is_none() {
            return Err(self.unsuitable("it has no config.json".into()));
        }
        self.fetch("config.json")?;
        let path = self.snapshot.join("config.json");
        let text = files::read_text(&path, files::TEXT_LIMIT);
        let text = text.map_err(|e| self.unsuitable(format!("config.json: {e}")))?;
        let json = serde_json::from_str(&text).map_err(|e| self.unsuitable(format!("config.json: {e}")))?;
        Config::from_json(&json).map_err(|e| self.unsuitable(e.to_string()))
    }

    fn unsuitable(&self, reason: String) -> HubError {
        HubError::Unsuitable { repository: self.progress.repository.clone(), reason }
    }

    fn listed(&self, name: &str) -> Option<&Sibling> {
        self.listing.siblings.iter().find(|file| file.name == name)
    }

    /// The path of a file's content in the cache, named by its checksum.
    fn blob(&self, file: &Sibling) -> Result<PathBuf, HubError> {
        let name = file.lfs.as_ref().map(|lfs| &lfs.sha256).or(file.blob.as_ref());
        let name = name.filter(|name| is_hash(name));
        let name = name.ok_or_else(|| self.hub.unexpected(&format!("{} is listed without its checksum", file.name)))?;
        Ok(self.blobs.join(name))
    }

    /// Refuse a download that does not fit on the disk.
    fn check_space(&self, names: &[String]) -> Result<(), HubError> {
        let cache = &self.hub.cache.directory;
        let mut needed = 0;
        for file in names.iter().filter_map(|name| self.listed(name)) {
            let blob = self.blob(file)?;
            let have = length(&blob).max(length(&partial_path(&blob)));
            needed += file.size.unwrap_or(0).saturating_sub(have);
        }
        match rustix::fs::statvfs(cache) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < needed => {
                let free = bytes(disk.f_bavail.saturating_mul(disk.f_frsize));
                Err(HubError::NoSpace { needed: bytes(needed), free, cache: cache.clone() })
            }
            // a file system that does not report its free space may have enough
            _ => Ok(()),
        }
    }

    /// Fetch a file into the snapshot unless it is there.
    fn fetch(&mut self, name: &str) -> Result<(), HubError> {
        let Some(file) = self.listed(names::path(name)?).cloned() else { return Ok(()) };
        let (blob, target) = (self.blob(&file)?, self.snapshot.join(name));
        let folder = target.parent().unwrap_or(&self.snapshot).to_path_buf();
        let is_complete = |path: &Path| {
            path.metadata().is_ok_and(|found| file.size.is_none_or(|size| size == found.len()) && found.is_file())
        };
        if !is_complete(&target) {
            for directory in [&folder, &self.blobs, &self.locks] {
                fs::create_dir_all(directory).map_err(|e| HubError::Disk(directory.clone(), e))?;
            }
            // held until the file is linked
            let _lock = self.lock(&file, &blob)?;
            // another process, or another revision, may have fetched it meanwhile
            if !is_complete(&blob) {
                self.download(&file, &blob)?;
            }
            link(&blob, &target, name.matches('/').count()).map_err(|e| HubError::Disk(target.clone(), e))?;
        }
        self.complete += length(&target);
        self.report(0, Waiting::Nothing)
    }

    /// Lock a file against other processes, waiting as long as they make progress.
    fn lock(&mut self, file: &Sibling, blob: &Path) -> Result<File, HubError> {
        let path = self.locks.join(blob.with_extension("lock").file_name().unwrap_or_default());
        let lock = without_links(OpenOptions::new().create(true).write(true)).open(&path);
        let lock = lock.map_err(|e| HubError::Disk(path, e))?;
        let (mut last_length, mut last_growth) = (0, Instant::now());
        loop {
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                // without locks there is nothing to wait for
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(lock),
            }
            let have = length(&partial_path(blob));
            if have != last_length {
                (last_length, last_growth) = (have, Instant::now());
            } else if last_growth.elapsed() > self.hub.patience * 2 {
                let reason = "another process is downloading it and makes no progress".into();
                return Err(interrupted(file, have, reason));
            }
            self.report(have, Waiting::ForOther)?;
            thread::sleep(TICK);
        }
    }

    /// Download a file, or the rest of it, retrying as long as there is progress. A file that fails its check is downloaded
    /// once more from the beginning.
    fn download(&mut self, file: &Sibling, blob: &Path) -> Result<(), HubError> {
        let partial = partial_path(blob);
        let (mut waits, mut longest, mut is_second_try) = (self.hub.waits.iter(), 0, false);
        loop {
            let have = length(&partial);
            let received = match file.size {
                // nothing is left to receive; an empty file may not exist yet
                Some(size) if size == have => open_partial(&partial)
                    .map(drop)
                    .map_err(|e| AttemptError::Permanent(HubError::Disk(partial.clone(), e))),
                _ => self.receive(file, &partial, have),
            };
            log::info!("{}: {}", file.name, if received.is_ok() { "downloaded" } else { "not downloaded" });
            let mismatch = match received {
                Ok(()) => match check(&partial, file) {
                    Ok(()) => return fs::rename(&partial, blob).map_err(|e| HubError::Disk(blob.into(), e)),
                    Err(reason) => reason,
                },
                Err(AttemptError::BadPartial(reason)) => reason,
                Err(AttemptError::Permanent(error)) => return Err(error),
                Err(AttemptError::Temporary(error, pause)) => {
                    let have = length(&partial);
                    if have >= longest + MIN_PROGRESS {
                        (longest, waits) = (have, self.hub.waits.iter());
                    }
                    let Some(wait) = waits.next() else { return Err(error) };
                    pause_for((*wait).max(pause), &self.progress, self.on_progress)?;
                    continue;
                }
            };
            fs::remove_file(&partial).map_err(|e| HubError::Disk(partial.clone(), e))?;
            if std::mem::replace(&mut is_second_try, true) {
                return Err(HubError::Corrupt { file: file.name.clone(), reason: mismatch });
            }
        }
    }

    /// Request a file from byte `have` on, and append it to the partial download. A server that ignores the range sends all
    /// of it.
    fn receive(&mut self, file: &Sibling, partial: &Path, have: u64) -> Result<(), AttemptError> {
        let hub = self.hub;
        let Progress { repository, .. } = &self.progress;
        let sha = &self.listing.sha;
        let url = hub.api(self.kind, repository, sha).map_err(AttemptError::Permanent)?.url(&file.name);
        let failed = |e: &dyn std::fmt::Display, done| {
            AttemptError::Temporary(interrupted(file, done, e.to_string()), Duration::ZERO)
        };
        let response = hub.send(hub.request(&url), &url, Some(have), None).map_err(|e| failed(&e, have))?;
        let mut done = match response.status().as_u16() {
            206 => have,
            // the server does not support ranges
            200 => 0,
            416 => return Err(AttemptError::BadPartial("its length changed".into())),
            status => {
                let subject = Subject { repository, revision: sha, file: Some(&file.name) };
                let (error, pause) = hub.refusal(&response, subject);
                return Err(match status {
                    429 | 500..=599 => AttemptError::Temporary(error, pause),
                    _ => AttemptError::Permanent(error),
                });
            }
        };
        let disk = |e: io::Error| AttemptError::Permanent(HubError::Disk(partial.into(), e));
        let mut out = open_partial(partial).map_err(disk)?;
        out.set_len(done).map_err(disk)?;
        let limit = file.size.unwrap_or(UNLISTED_LIMIT);
        let pieces = read_pieces(response.into_body().into_reader()).map_err(|e| failed(&e, done))?;
        let (mut last_piece, mut last_report) = (Instant::now(), Instant::now());
        // the time and the length at the last MIN_PROGRESS bytes
        let (mut last_progress, mut length_then) = (Instant::now(), done);
        loop {
            match pieces.recv_timeout(TICK) {
                Ok(Ok(piece)) => {
                    if done + piece.len() as u64 > limit {
                        return Err(AttemptError::BadPartial(format!("more than {limit} bytes")));
                    }
                    out.write_all(&piece).map_err(disk)?;
                    done += piece.len() as u64;
                    last_piece = Instant::now();
                }
                Ok(Err(e)) => return Err(failed(&e, done)),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if last_piece.elapsed() > hub.patience => {
                    return Err(failed(&format!("no data for {} s", hub.patience.as_secs_f32()), done));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if done >= length_then + MIN_PROGRESS {
                (last_progress, length_then) = (Instant::now(), done);
            } else if last_progress.elapsed() > hub.patience * 3 {
                let (received, seconds) = (done - length_then, (hub.patience * 3).as_secs_f32());
                let reason = format!("only {received} bytes in {seconds} s");
                return Err(failed(&reason, done));
            }
            if last_report.elapsed() >= TICK {
                last_report = Instant::now();
                self.report(done, Waiting::Nothing).map_err(AttemptError::Permanent)?;
            }
        }
    }

    /// Report the progress, with `done` bytes of the current file.
    fn report(&mut self, done: u64, waiting: Waiting) -> Result<(), HubError> {
        let progress = &mut self.progress;
        (progress.done, progress.waiting) = (self.complete + done, waiting);
        progress.total = progress.total.max(progress.done);
        if (self.on_progress)(progress.clone()) { Ok(()) } else { Err(HubError::Stopped) }
    }
}

/// The pieces of a body, read on a thread of its own so that a silent connection can be given up. The channel closes at the
/// end.
fn read_pieces(mut body: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    const PIECE: usize = 1 << 18;
    // buffers the network while the disk is busy
    let (sender, pieces) = mpsc::sync_channel(16);
    let read = move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = body.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            // sending fails once the receiver has timed out
            if read.as_ref().is_ok_and(Vec::is_empty) || sender.send(read).is_err() || last {
                break;
            }
        }
    };
    thread::Builder::new().name("download".into()).spawn(read)?;
    Ok(pieces)
}

fn interrupted(file: &Sibling, done: u64, reason: String) -> HubError {
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
