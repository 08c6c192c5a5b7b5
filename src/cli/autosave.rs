//! The session that is under way, kept as an experiment: written whenever it changes, so that no way out loses it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

use etcetera::BaseStrategy;
use rustix::process::{Pid, test_kill_process};

use crate::{
    app::{Experiment, Offer},
    engine::write_whole,
};

/// Earlier sessions that are kept.
const KEPT: usize = 20;

/// Writes on a thread of its own, since a home directory can be far away. Dropping it waits for the last write.
pub(super) struct Autosave {
    texts: Option<Sender<String>>,
    writer: Option<JoinHandle<Result<(), String>>>,
    /// What was written last, or stands at the beginning: nobody made it here.
    known: Experiment,
}

impl Autosave {
    /// Keep what comes to differ from how the session begins.
    pub fn begin(known: Experiment) -> Self {
        let (texts, received) = mpsc::channel::<String>();
        let write = move || {
            let mut result = Ok(());
            while let Ok(mut text) = received.recv() {
                // of those that piled up, the latest
                text = received.try_iter().last().unwrap_or(text);
                result = write(&text);
            }
            result
        };
        let writer = thread::Builder::new().name("autosave".into()).spawn(write).ok();
        Self { texts: Some(texts), writer, known }
    }

    /// Write `now` if it differs in what decides the run, not only in where one looks.
    pub fn keep(&mut self, now: &Experiment) {
        let same = |a: &Experiment, b: &Experiment| {
            Experiment { view: None, ..a.clone() } == Experiment { view: None, ..b.clone() }
        };
        if same(now, &self.known) {
            return;
        }
        self.known = now.clone();
        if let Some(texts) = &self.texts {
            // a writer that could not start has nobody to tell
            let _ = texts.send(now.to_string());
        }
    }

    /// Wait for what is being written; what went wrong with it.
    pub fn end(mut self) -> Result<(), String> {
        self.texts = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("the writer panicked".into()),
            None => Err("its thread could not be started".into()),
        }
    }
}

/// Where sessions are kept: a file for each process.
fn directory() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.state_dir().unwrap_or_else(|| base.data_dir()).join("pythia-tui").join("sessions"))
}

fn write(text: &str) -> Result<(), String> {
    let directory = directory().ok_or("there is no home directory")?;
    let path = directory.join(format!("{}.toml", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    write_whole(&path, |partial| std::fs::write(partial, text)).map_err(|e| format!("{}: {e}", path.display()))
}

/// The session that ended last, if it left one; of the others, all but the newest are removed.
pub(super) fn offer() -> Option<Offer> {
    let mut ended: Vec<_> = std::fs::read_dir(directory()?)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let modified = path.metadata().ok()?.modified().ok()?;
            (is_session(&path) && !is_running(&path)).then_some((modified, path))
        })
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(KEPT) {
        // one that can't be removed is tried again the next time
        let _ = std::fs::remove_file(path);
    }
    ended.into_iter().rev().find_map(|(_, path)| {
        let experiment = Experiment::parse(&std::fs::read_to_string(&path).ok()?).ok()?;
        Some(Offer { path, what: describe(&experiment) })
    })
}

fn is_session(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "toml")
}

/// Whether the process that a file is named after is there.
fn is_running(path: &Path) -> bool {
    let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
    id.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok())
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
