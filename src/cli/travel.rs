//! Through a model's training: the checkpoint that is asked for is loaded, and its neighbours fetched, beside what is
//! explored.

use std::{
    io,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use super::{args::ModelArgs, prompt};
use crate::{
    engine::caught,
    model::{Hub, Loaded, ModelError, Processing, Progress, Source, TrainingStep, is_of_suite, training_steps},
};

/// What comes of it.
pub(super) enum Travel {
    /// The checkpoint of this number of the list, or why it can't be explored.
    Arrived(usize, Result<Box<(Source, Loaded)>, String>),
    Fetching(Progress),
    Fetched(String, Result<(), String>),
    /// The checkpoints that the hub lists.
    Listed(Vec<TrainingStep>),
}

/// Threads that end when it is dropped, once they are done with what they are at.
pub(super) struct Traveller {
    load: Sender<(usize, TrainingStep)>,
    fetch: Sender<Vec<TrainingStep>>,
}

impl Traveller {
    /// # Errors
    /// Threads can't be started.
    pub fn start(
        how: &ModelArgs,
        source: &Source,
        processing: Processing,
        tell: impl Fn(Travel) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (load, wanted) = mpsc::channel();
        let (fetch, neighbours) = mpsc::channel();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(work);
        let (from, args, told) = (source.clone(), how.clone(), tell.clone());
        spawn("travel", Box::new(move || load_each(&from, &args, processing, &wanted, &told)))?;
        let (from, hub, told) = (source.clone(), Hub::from_env(how.offline), tell.clone());
        spawn("fetch", Box::new(move || fetch_each(&from, &hub, &neighbours, &told)))?;
        let hub = Hub::from_env(how.offline);
        if let Source::Snapshot { repository, .. } = source.clone()
            && !hub.offline
            && !is_of_suite(&repository)
        {
            let from = source.clone();
            let list = move || {
                // without an answer, the steps are those that are in the cache
                if let Ok(known) = hub.revisions(&repository) {
                    tell(Travel::Listed(training_steps(&from, &hub.cache, &known)));
                }
            };
            spawn("list", Box::new(list))?;
        }
        Ok(Self { load, fetch })
    }

    /// Load a checkpoint; of those that are asked for meanwhile, the latest is next.
    pub fn go(&self, to: usize, step: TrainingStep) {
        // a thread that ended has nobody to tell
        let _ = self.load.send((to, step));
    }

    /// Fetch these in the background, and no others any more.
    pub fn fetch(&self, steps: Vec<TrainingStep>) {
        let _ = self.fetch.send(steps);
    }
}

/// The model at another step of the same training.
fn source_at(
    source: &Source,
    hub: &Hub,
    step: &TrainingStep,
    tell: &mut dyn FnMut(Progress),
) -> Result<Source, ModelError> {
    match source {
        Source::Demo => Err(ModelError::NoRevisions("demo".into())),
        Source::Directory(directory) => {
            Ok(Source::Directory(directory.parent().unwrap_or(Path::new("/")).join(&step.revision)))
        }
        Source::Snapshot { repository, .. } => hub.get(repository, &step.revision, tell),
    }
}

fn load_each(
    source: &Source,
    how: &ModelArgs,
    processing: Processing,
    wanted: &Receiver<(usize, TrainingStep)>,
    tell: &impl Fn(Travel),
) {
    let hub = Hub::from_env(how.offline);
    while let Ok(first) = wanted.recv() {
        let (to, step) = wanted.try_iter().last().unwrap_or(first);
        let load = || -> Result<_, ModelError> {
            let found = source_at(source, &hub, &step, &mut |progress| tell(Travel::Fetching(progress)));
            tell(Travel::Fetched(step.revision.clone(), found.as_ref().map(|_| ()).map_err(ToString::to_string)));
            let found = found?;
            let loaded = found.load(processing, prompt::place(how)?)?;
            Ok(Box::new((found, loaded)))
        };
        let arrived = caught(load).and_then(|loaded| loaded.map_err(|e| e.to_string()));
        tell(Travel::Arrived(to, arrived));
    }
}

fn fetch_each(source: &Source, hub: &Hub, neighbours: &Receiver<Vec<TrainingStep>>, tell: &impl Fn(Travel)) {
    while let Ok(mut steps) = neighbours.recv() {
        loop {
            // what is wanted now
            steps = neighbours.try_iter().last().unwrap_or(steps);
            if steps.is_empty() {
                break;
            }
            let step = steps.remove(0);
            let found = source_at(source, hub, &step, &mut |progress| tell(Travel::Fetching(progress)));
            tell(Travel::Fetched(step.revision, found.map(|_| ()).map_err(|e| e.to_string())));
        }
    }
}
