//! Loads the training checkpoint that the user moves to and downloads its neighbours, while the explorer stays usable.

use std::{
    cell::RefCell,
    io,
    path::Path,
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
};

use super::{args::ModelArgs, loaded_model::LoadedModel};
use crate::{
    model::{
        Hub, KeepGoing, Loaded, ModelError, OnProgress, Processing, Progress, Source, TrainingStep, WeightHashes,
        is_of_suite, training_steps,
    },
    panics::caught,
};

/// What the loader's threads report.
pub(super) enum CheckpointReport {
    /// The requested checkpoint, or why it can't be explored.
    Loaded(TrainingStep, Result<Box<(Source, Loaded)>, String>),
    /// Progress of a download.
    Fetching(Progress),
    /// The end of a revision's download.
    Fetched(String, Result<(), String>),
    /// The checkpoints that the hub lists.
    Listed(Vec<TrainingStep>),
    /// The hashes of a revision's weight files.
    Hashed(String, WeightHashes),
}

/// One thread that loads, one that downloads, and one that hashes what was loaded; they end soon after this is dropped.
pub(super) struct CheckpointLoader {
    load: Sender<Option<TrainingStep>>,
    fetch: Sender<Vec<TrainingStep>>,
}

impl CheckpointLoader {
    /// Serve the training run that `model` belongs to, and ask the hub which checkpoints it has, unless they are known.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(
        model: &LoadedModel,
        args: &ModelArgs,
        processing: Processing,
        report: impl Fn(CheckpointReport) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (load, load_requests) = mpsc::channel();
        let (fetch, fetch_requests) = mpsc::channel();
        let (hash, hash_requests) = mpsc::channel();
        let LoadedModel { source, place, .. } = model;
        let hub = Hub::from_env(args.offline);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(work);

        let (from, from_hub, place, reported) = (source.clone(), hub.clone(), place.clone(), report.clone());
        let load_one = move |step: &TrainingStep, keep_going: KeepGoing<'_>| {
            let found = locate(&from, &from_hub, step, &reported, keep_going)?;
            let loaded = found.load_while(processing, place.clone(), keep_going)?;
            // fails only if the thread has ended
            let _ = hash.send(found.clone());
            Ok(Box::new((found, loaded)))
        };
        let reported = report.clone();
        spawn("checkpoints", Box::new(move || load_latest(&load_requests, load_one, &reported)))?;

        let (from, from_hub, reported) = (source.clone(), hub.clone(), report.clone());
        spawn("hashes", Box::new(move || hash_all(&hash_requests, &from, &from_hub, &reported)))?;

        let (from, from_hub, reported) = (source.clone(), hub.clone(), report.clone());
        spawn("fetch", Box::new(move || fetch_latest(&fetch_requests, &from, &from_hub, &reported)))?;

        if let Source::Snapshot { repository, .. } = source.clone()
            && !hub.offline
            && !is_of_suite(&repository)
        {
            let from = source.clone();
            let list = move || {
                // without an answer, the cached checkpoints remain
                if let Ok(known) = hub.revisions(&repository) {
                    report(CheckpointReport::Listed(training_steps(&from, &hub.cache, &known)));
                }
            };
            spawn("list", Box::new(list))?;
        }
        Ok(Self { load, fetch })
    }

    /// Load this checkpoint instead of the one that is loading; None stops loading. What was downloaded so far is kept.
    pub fn load(&self, step: Option<TrainingStep>) {
        // fails only if the thread has ended
        let _ = self.load.send(step);
    }

    /// Download these in the background, instead of those that are still waiting.
    pub fn fetch(&self, steps: Vec<TrainingStep>) {
        let _ = self.fetch.send(steps);
    }
}

/// The source of the model at another step of the same training, downloaded if it is not on this machine.
fn locate(
    source: &Source,
    hub: &Hub,
    step: &TrainingStep,
    report: &impl Fn(CheckpointReport),
    keep_going: KeepGoing<'_>,
) -> Result<Source, ModelError> {
    let on_progress: OnProgress<'_> = &mut |progress| {
        report(CheckpointReport::Fetching(progress));
        keep_going()
    };
    let found = match source {
        Source::Demo => Err(ModelError::NoRevisions("demo".into())),
        Source::Cache(path) => Err(ModelError::NoWeights(path.clone())),
        Source::Directory(directory) => {
            Ok(Source::Directory(directory.parent().unwrap_or(Path::new("/")).join(&step.revision)))
        }
        Source::Snapshot { repository, .. } => hub.get(repository, &step.revision, on_progress),
    };
    let result = found.as_ref().map(|_| ()).map_err(ToString::to_string);
    report(CheckpointReport::Fetched(step.revision.clone(), result));
    found
}

/// Whether no newer request has arrived and the sender still exists. A newer request is stored in `next`.
fn is_latest<T>(requests: &Receiver<T>, next: &RefCell<Option<T>>) -> bool {
    let mut next = next.borrow_mut();
    loop {
        match requests.try_recv() {
            Ok(newer) => *next = Some(newer),
            Err(TryRecvError::Empty) => return next.is_none(),
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

/// Load the checkpoint of the latest request until the sender is dropped; a newer request stops the one before.
fn load_latest(
    requests: &Receiver<Option<TrainingStep>>,
    load: impl Fn(&TrainingStep, KeepGoing<'_>) -> Result<Box<(Source, Loaded)>, ModelError>,
    report: &impl Fn(CheckpointReport),
) {
    let next = RefCell::new(None);
    while let Some(request) = next.take().or_else(|| requests.recv().ok()) {
        let Some(step) = requests.try_iter().last().unwrap_or(request) else { continue };
        let loaded =
            caught(|| load(&step, &|| is_latest(requests, &next))).and_then(|loaded| loaded.map_err(|e| e.to_string()));
        report(CheckpointReport::Loaded(step, loaded));
    }
}

/// Download the checkpoints of the latest request one by one until the sender is dropped.
fn fetch_latest(
    requests: &Receiver<Vec<TrainingStep>>,
    source: &Source,
    hub: &Hub,
    report: &impl Fn(CheckpointReport),
) {
    let next = RefCell::new(None);
    while let Some(request) = next.take().or_else(|| requests.recv().ok()) {
        let mut steps = requests.try_iter().last().unwrap_or(request).into_iter();
        let keep_going = || is_latest(requests, &next);
        while let (true, Some(step)) = (keep_going(), steps.next()) {
            // a failure is reported when the user moves to that checkpoint
            let _ = caught(|| locate(source, hub, &step, report, &keep_going));
        }
    }
}

/// Report the hashes of every checkpoint that was loaded, and first those of the model that the explorer began with and of
/// `main`. Nothing is read or asked of the hub before the user moves to another checkpoint.
fn hash_all(requests: &Receiver<Source>, first: &Source, hub: &Hub, report: &impl Fn(CheckpointReport)) {
    let hash = |source: &Source| {
        let (Source::Directory(directory) | Source::Snapshot { directory, .. }) = source else { return };
        let hashes = caught(|| WeightHashes::of_directory(directory, &|| true));
        // without hashes, the checkpoint is drawn as any other
        if let (Ok(Ok(hashes)), Some(revision)) = (hashes, source.revision()) {
            report(CheckpointReport::Hashed(revision.to_string(), hashes));
        }
    };
    let Ok(loaded) = requests.recv() else { return };
    hash(&loaded);
    hash(first);
    if let Source::Snapshot { repository, .. } = first
        && let Ok(Ok((_, hashes))) = caught(|| hub.weight_hashes(repository, "main", &mut |_| true))
    {
        report(CheckpointReport::Hashed("main".into(), hashes));
    }
    for loaded in requests {
        hash(&loaded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_request_or_none_stops_loading() {
        let step = |step| TrainingStep { step, revision: format!("step{step}"), here: true };
        let (load, requests) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        let (began, begun) = mpsc::channel();
        let load_one = move |step: &TrainingStep, keep_going: KeepGoing<'_>| {
            began.send(step.step).unwrap();
            while keep_going() {
                thread::yield_now();
            }
            Err(ModelError::Stopped)
        };
        let thread =
            thread::spawn(move || load_latest(&requests, load_one, &move |reported| report.send(reported).unwrap()));
        let stopped = || match reports.recv().unwrap() {
            CheckpointReport::Loaded(step, Err(why)) => (step.step, why),
            _ => panic!("the checkpoint was loaded"),
        };
        load.send(Some(step(1))).unwrap();
        assert_eq!(begun.recv(), Ok(1));
        load.send(Some(step(2))).unwrap();
        assert_eq!(stopped(), (1, "loading was stopped".into()));
        assert_eq!(begun.recv(), Ok(2));
        load.send(None).unwrap();
        assert_eq!(stopped(), (2, "loading was stopped".into()));
        drop(load);
        thread.join().unwrap();
    }
}
