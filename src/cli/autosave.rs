//! Saves the session as an experiment file whenever it changes, so that it survives every way the program can end.

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
    explorer::{Experiment, Offer},
    fs::{self, Readers},
    printed,
};

/// The number of session files that are kept.
const SESSIONS: usize = 20;

/// How long the program waits for the disk before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of texts of this process that are not on the disk yet.
static UNWRITTEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

fn change_unwritten(change: impl FnOnce(&mut usize)) {
    change(&mut UNWRITTEN.0.lock().unwrap_or_else(PoisonError::into_inner));
    UNWRITTEN.1.notify_all();
}

/// Wait until every text is on the disk, or the disk takes too long. Can be called from any thread.
pub(super) fn wait_until_written() {
    let unwritten = UNWRITTEN.0.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = UNWRITTEN.1.wait_timeout_while(unwritten, PATIENCE, |unwritten| *unwritten > 0);
}

/// Saves one session, on its own thread because the home directory may be on a slow network.
pub(super) struct Autosave {
    texts: Option<Sender<String>>,
    writer: Option<JoinHandle<Result<(), String>>>,
    /// The experiment that was saved last, or the initial one, without its view.
    saved: Experiment,
    path: Option<PathBuf>,
}

impl Autosave {
    /// Save from the first change to `initial` on. `report_failure` gets the reason of the first failed write after a
    /// successful one.
    pub fn start(initial: Experiment, report_failure: impl Fn(String) + Send + 'static) -> Self {
        let (texts, received) = mpsc::channel::<String>();
        let path = directory().map(|directory| directory.join(name()));
        let file = path.clone();
        let write_latest = move || {
            let (mut result, mut lock) = (Ok(()), None);
            while let Ok(text) = received.recv() {
                let newer: Vec<String> = received.try_iter().collect();
                let written = write(file.as_deref(), newer.last().unwrap_or(&text), &mut lock);
                change_unwritten(|unwritten| *unwritten -= 1 + newer.len());
                let before = std::mem::replace(&mut result, written);
                if let (Ok(()), Err(why)) = (&before, &result) {
                    report_failure(why.clone());
                }
            }
            result
        };
        let writer = thread::Builder::new().name("autosave".into()).spawn(write_latest).ok();
        Self { texts: Some(texts), writer, saved: Experiment { view: None, ..initial }, path }
    }

    /// Save `now` if it differs in more than its view.
    pub fn save(&mut self, mut now: Experiment) {
        let view = now.view.take();
        if now == self.saved {
            return;
        }
        self.saved = now.clone();
        now.view = view;
        if let Some(texts) = &self.texts {
            change_unwritten(|unwritten| *unwritten += 1);
            if texts.send(now.to_string()).is_err() {
                // the thread could not start, so nothing will be written
                change_unwritten(|unwritten| *unwritten -= 1);
            }
        }
    }

    /// Wait for the last write. Returns the session's file, if it has one.
    ///
    /// # Errors
    /// Why the session could not be saved.
    pub fn finish(mut self) -> Result<Option<PathBuf>, String> {
        self.texts = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(|()| self.path.filter(|path| path.exists())),
            Some(Err(_)) => Err("the writer panicked".into()),
            None => Err("its thread could not be started".into()),
        }
    }
}

/// A file name that no other session has.
fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{now}-{}.toml", std::process::id())
}

/// The directory of the program's state.
fn state_directory() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.state_dir().unwrap_or_else(|| base.data_dir()).join("pythia-tui"))
}

/// The directory of the session files.
fn directory() -> Option<PathBuf> {
    Some(state_directory()?.join("sessions"))
}

/// Whether this is the explorer's first start here. Records the start, if it can.
pub(super) fn is_first_start() -> bool {
    let Some(mark) = state_directory().map(|directory| directory.join("tour-offered")) else { return false };
    if mark.exists() {
        return false;
    }
    let write = move || {
        // if that can't be recorded, the tour is offered again
        let _ = mark.parent().map(std::fs::create_dir_all).transpose().and_then(|_| File::create(&mark));
    };
    // the home directory may be on a slow network
    let _ = thread::Builder::new().name("mark".into()).spawn(write);
    true
}

/// Write the session's file. `lock` is held while the session lasts, so that other processes do not offer it.
fn write(path: Option<&Path>, text: &str, lock: &mut Option<File>) -> Result<(), String> {
    let path = path.ok_or("there is no home directory")?;
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", printed::path(path));
    if lock.is_none() {
        private_directory(path.parent().unwrap_or(path)).map_err(|e| failed(&e))?;
        let file = File::create(lock_of(path)).map_err(|e| failed(&e))?;
        // without locks, at worst a running session is offered
        let _ = file.try_lock();
        *lock = Some(file);
    }
    fs::write_text(path, Readers::Owner, text).map_err(|e| e.to_string())
}

/// Create a directory, or restrict an existing one, so that only its owner can read it: prompts can be confidential.
fn private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// The session that ended last, if any. Removes all but the newest [`SESSIONS`] files.
pub(super) fn last_session() -> Option<Offer> {
    let directory = directory()?;
    remove_leftovers(&directory);
    let mut ended: Vec<_> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let modified = path.metadata().ok()?.modified().ok()?;
            (path.extension().is_some_and(|e| e == "toml") && has_ended(&path)).then_some((modified, path))
        })
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(SESSIONS) {
        // a failure is retried at the next start
        let _ = std::fs::remove_file(path).and_then(|()| std::fs::remove_file(lock_of(path)));
    }
    ended.into_iter().rev().find_map(|(_, path)| {
        let experiment = Experiment::parse(&fs::read_toml(&path).ok()?).ok()?;
        Some(offer(path, &experiment))
    })
}

/// Remove what killed processes left: partial files, and locks of sessions that were never written.
fn remove_leftovers(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_leftover = match path.extension().and_then(|ending| ending.to_str()) {
            Some("lock") => !path.with_extension("toml").exists(),
            Some("part") => true,
            _ => false,
        };
        if is_leftover && fs::is_abandoned(&path) {
            // a failure is retried at the next start
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether no process holds the lock of a session's file.
fn has_ended(path: &Path) -> bool {
    File::open(lock_of(path)).is_ok_and(|lock| !matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// A session's file as the explorer offers it.
pub(super) fn offer(path: PathBuf, experiment: &Experiment) -> Offer {
    Offer { path, what: describe(experiment) }
}

/// `demo, "When Mary and", 2 edits`
fn describe(experiment: &Experiment) -> String {
    let prompt = experiment.prompt.as_deref().unwrap_or_default();
    let beginning: String = prompt.chars().take(20).collect();
    let edits = match experiment.edit.len() {
        1 => "1 edit".into(),
        n => format!("{n} edits"),
    };
    format!("{}, {beginning:?}{}, {edits}", experiment.model, if beginning.len() < prompt.len() { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leftovers_of_killed_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        for name in ["1-1.toml", "1-1.lock", "2-2.lock", ".3-3.toml.3-0.part", "4-4.lock", "notes"] {
            File::create(dir.path().join(name)).unwrap().set_modified(old).unwrap();
        }
        let held = File::open(dir.path().join("4-4.lock")).unwrap();
        held.lock().unwrap();
        remove_leftovers(dir.path());
        let names =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["1-1.lock", "1-1.toml", "4-4.lock", "notes"]);
    }
}
