//! The session that is under way, kept as an experiment: written whenever it changes, so that no way out loses it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etcetera::BaseStrategy;

use crate::{
    app::{Experiment, Offer},
    fs::{self, Readers},
    printed,
};

/// Earlier sessions that are kept.
const KEPT: usize = 20;

/// How long a disk is waited for once the program is to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Texts on their way to the disk, of all sessions of this process.
static UNWRITTEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

fn count(change: impl FnOnce(&mut usize)) {
    change(&mut UNWRITTEN.0.lock().unwrap_or_else(PoisonError::into_inner));
    UNWRITTEN.1.notify_all();
}

/// Wait until everything that was to be kept is on the disk, from any thread.
pub(super) fn settle() {
    let unwritten = UNWRITTEN.0.lock().unwrap_or_else(PoisonError::into_inner);
    // a disk that hangs does not keep the program
    let _ = UNWRITTEN.1.wait_timeout_while(unwritten, PATIENCE, |unwritten| *unwritten > 0);
}

/// Writes on a thread of its own, since a home directory can be far away.
pub(super) struct Autosave {
    texts: Option<Sender<String>>,
    writer: Option<JoinHandle<Result<(), String>>>,
    /// What was written last, or stands at the beginning, which nobody made here; without its view.
    known: Experiment,
    path: Option<PathBuf>,
}

impl Autosave {
    /// Keep what comes to differ from how the session begins; `failed` is told when that begins to fail.
    pub fn begin(known: Experiment, failed: impl Fn(String) + Send + 'static) -> Self {
        let (texts, received) = mpsc::channel::<String>();
        let path = directory().map(|directory| directory.join(name()));
        let of = path.clone();
        let write = move || {
            let (mut result, mut kept) = (Ok(()), None);
            while let Ok(text) = received.recv() {
                // of those that piled up, the latest
                let newer: Vec<String> = received.try_iter().collect();
                let written = write(of.as_deref(), newer.last().unwrap_or(&text), &mut kept);
                count(|unwritten| *unwritten -= 1 + newer.len());
                let before = std::mem::replace(&mut result, written);
                if let (Ok(()), Err(why)) = (&before, &result) {
                    failed(why.clone());
                }
            }
            result
        };
        let writer = thread::Builder::new().name("autosave".into()).spawn(write).ok();
        Self { texts: Some(texts), writer, known: Experiment { view: None, ..known }, path }
    }

    /// Write `now` if it differs in what decides the run, not only in where one looks.
    pub fn keep(&mut self, mut now: Experiment) {
        let view = now.view.take();
        if now == self.known {
            return;
        }
        self.known = now.clone();
        now.view = view;
        if let Some(texts) = &self.texts {
            count(|unwritten| *unwritten += 1);
            if texts.send(now.to_string()).is_err() {
                // a writer that could not start writes nothing
                count(|unwritten| *unwritten -= 1);
            }
        }
    }

    /// Wait for what is being written: where the session is kept, if it had anything to keep, or what went wrong.
    pub fn end(mut self) -> Result<Option<PathBuf>, String> {
        self.texts = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(|()| self.path.filter(|path| path.exists())),
            Some(Err(_)) => Err("the writer panicked".into()),
            None => Err("its thread could not be started".into()),
        }
    }
}

/// A name that no other session has.
fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{now}-{}.toml", std::process::id())
}

/// Where sessions are kept, a file for each.
fn directory() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.state_dir().unwrap_or_else(|| base.data_dir()).join("pythia-tui").join("sessions"))
}

/// Write the session's file. `lock` is held as long as the session lasts, so that others see that it does.
fn write(path: Option<&Path>, text: &str, lock: &mut Option<File>) -> Result<(), String> {
    let path = path.ok_or("there is no home directory")?;
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", printed::path(path));
    if lock.is_none() {
        private_directory(path.parent().unwrap_or(path)).map_err(|e| failed(&e))?;
        let file = File::create(lock_of(path)).map_err(|e| failed(&e))?;
        // a file system without locks has the session offered while it lasts, and no more
        let _ = file.try_lock();
        *lock = Some(file);
    }
    fs::write_text(path, Readers::Owner, text).map_err(|e| e.to_string())
}

/// Make a directory that only its owner can look into, also if it was there: prompts can be confidential.
fn private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// The session that ended last, if it left one; of the others, all but the newest are removed.
pub(super) fn offer() -> Option<Offer> {
    let directory = directory()?;
    sweep(&directory);
    let mut ended: Vec<_> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let modified = path.metadata().ok()?.modified().ok()?;
            (path.extension().is_some_and(|e| e == "toml") && has_ended(&path)).then_some((modified, path))
        })
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(KEPT) {
        // one that can't be removed is tried again the next time
        let _ = std::fs::remove_file(path).and_then(|()| std::fs::remove_file(lock_of(path)));
    }
    ended.into_iter().rev().find_map(|(_, path)| {
        let experiment = Experiment::parse(&fs::read_toml(&path).ok()?).ok()?;
        Some(offer_of(path, &experiment))
    })
}

/// Remove what killed processes left beside their sessions: half-written files, and locks of sessions that were never written.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_left = match path.extension().and_then(|ending| ending.to_str()) {
            Some("lock") => !path.with_extension("toml").exists(),
            Some("part") => true,
            _ => false,
        };
        if is_left && fs::is_abandoned(&path) {
            // one that can't be removed is tried again the next time
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether a session's file is that of one that ended: nobody holds its lock.
fn has_ended(path: &Path) -> bool {
    File::open(lock_of(path)).is_ok_and(|lock| !matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// What a session left, to be gone on with.
pub(super) fn offer_of(path: PathBuf, experiment: &Experiment) -> Offer {
    Offer { path, what: describe(experiment) }
}

/// `demo, "When Mary and", 2 edits`
fn describe(experiment: &Experiment) -> String {
    let prompt = experiment.prompt.as_deref().unwrap_or_default();
    let begin: String = prompt.chars().take(20).collect();
    let edits = match experiment.edit.len() {
        1 => "1 edit".into(),
        n => format!("{n} edits"),
    };
    format!("{}, {begin:?}{}, {edits}", experiment.model, if begin.len() < prompt.len() { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_killed_processes_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        for name in ["1-1.toml", "1-1.lock", "2-2.lock", ".3-3.toml.3-0.part", "4-4.lock", "notes"] {
            File::create(dir.path().join(name)).unwrap().set_modified(old).unwrap();
        }
        let held = File::open(dir.path().join("4-4.lock")).unwrap();
        held.lock().unwrap();
        sweep(dir.path());
        let names =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["1-1.lock", "1-1.toml", "4-4.lock", "notes"]);
    }
}
