//! Through a model's training: the checkpoint that is asked for is loaded, and its neighbours fetched, beside what is
//! explored.

use std::{
    cell::RefCell,
    io,
    path::Path,
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
};

use super::args::ModelArgs;
use crate::{
    model::{
        GoOn, Hub, Loaded, ModelError, Placement, Processing, Progress, Source, Tell, TrainingStep, is_of_suite,
        training_steps,
    },
    panics::caught,
};

/// What comes of it.
pub(super) enum Travel {
    /// The checkpoint, or why it can't be explored.
    Arrived(TrainingStep, Result<Box<(Source, Loaded)>, String>),
    Fetching(Progress),
    Fetched(String, Result<(), String>),
    /// The checkpoints that the hub lists.
    Listed(Vec<TrainingStep>),
}

/// Threads that end when it is dropped, once they notice.
pub(super) struct Traveller {
    load: Sender<Option<TrainingStep>>,
    fetch: Sender<Vec<TrainingStep>>,
}

impl Traveller {
    /// # Errors
    /// Threads can't be started.
    pub fn start(
        how: &ModelArgs,
        source: &Source,
        processing: Processing,
        place: Placement,
        tell: impl Fn(Travel) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (load, wanted) = mpsc::channel();
        let (fetch, neighbours) = mpsc::channel();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(work);
        let hub = Hub::from_env(how.offline);
        let (from, at, told) = (source.clone(), hub.clone(), tell.clone());
        let load_one = move |step: &TrainingStep, go_on: GoOn<'_>| {
            let found = found_at(&from, &at, step, &told, go_on)?;
            let loaded = found.load_while(processing, place.clone(), go_on)?;
            Ok(Box::new((found, loaded)))
        };
        let told = tell.clone();
        spawn("travel", Box::new(move || load_each(&wanted, load_one, &told)))?;
        let (from, at, told) = (source.clone(), hub.clone(), tell.clone());
        spawn("fetch", Box::new(move || fetch_each(&neighbours, &from, &at, &told)))?;
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

    /// Load a checkpoint, or none any more; what is being fetched for another is left where it is.
    pub fn go(&self, step: Option<TrainingStep>) {
        // a thread that ended has nobody to tell
        let _ = self.load.send(step);
    }

    /// Fetch these in the background, and no others any more.
    pub fn fetch(&self, steps: Vec<TrainingStep>) {
        let _ = self.fetch.send(steps);
    }
}

/// The model at another step of the same training, fetched if it is not here.
fn found_at(
    source: &Source,
    hub: &Hub,
    step: &TrainingStep,
    tell: &impl Fn(Travel),
    go_on: GoOn<'_>,
) -> Result<Source, ModelError> {
    let told: Tell<'_> = &mut |progress| {
        tell(Travel::Fetching(progress));
        go_on()
    };
    let found = match source {
        Source::Demo => Err(ModelError::NoRevisions("demo".into())),
        Source::Directory(directory) => {
            Ok(Source::Directory(directory.parent().unwrap_or(Path::new("/")).join(&step.revision)))
        }
        Source::Snapshot { repository, .. } => hub.get(repository, &step.revision, told),
    };
    tell(Travel::Fetched(step.revision.clone(), found.as_ref().map(|_| ()).map_err(ToString::to_string)));
    found
}

/// Whether nothing else was asked for meanwhile, by somebody who is still there.
fn is_still_wanted<T>(asked: &Receiver<T>, next: &RefCell<Option<T>>) -> bool {
    let mut next = next.borrow_mut();
    loop {
        match asked.try_recv() {
            Ok(newer) => *next = Some(newer),
            Err(TryRecvError::Empty) => return next.is_none(),
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

/// Load whatever is asked for last.
fn load_each(
    wanted: &Receiver<Option<TrainingStep>>,
    load: impl Fn(&TrainingStep, GoOn<'_>) -> Result<Box<(Source, Loaded)>, ModelError>,
    tell: &impl Fn(Travel),
) {
    let next = RefCell::new(None);
    while let Some(asked) = next.take().or_else(|| wanted.recv().ok()) {
        let Some(step) = wanted.try_iter().last().unwrap_or(asked) else { continue };
        let arrived = caught(|| load(&step, &|| is_still_wanted(wanted, &next)))
            .and_then(|loaded| loaded.map_err(|e| e.to_string()));
        tell(Travel::Arrived(step, arrived));
    }
}

/// Fetch whatever is asked for last, one after the other.
fn fetch_each(neighbours: &Receiver<Vec<TrainingStep>>, source: &Source, hub: &Hub, tell: &impl Fn(Travel)) {
    let next = RefCell::new(None);
    while let Some(asked) = next.take().or_else(|| neighbours.recv().ok()) {
        let mut steps = neighbours.try_iter().last().unwrap_or(asked).into_iter();
        let go_on = || is_still_wanted(neighbours, &next);
        while let (true, Some(step)) = (go_on(), steps.next()) {
            // what does not come is told when somebody goes there
            let _ = caught(|| found_at(source, hub, &step, tell, &go_on));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loading_stops_once_another_checkpoint_or_none_is_wanted() {
        let step = |step| TrainingStep { step, revision: format!("step{step}"), here: true };
        let (load, wanted) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (began, begun) = mpsc::channel();
        let load_one = move |step: &TrainingStep, go_on: GoOn<'_>| {
            began.send(step.step).unwrap();
            while go_on() {
                thread::yield_now();
            }
            Err(ModelError::Stopped)
        };
        let thread = thread::spawn(move || load_each(&wanted, load_one, &move |travel| tell.send(travel).unwrap()));
        let stopped = || match told.recv().unwrap() {
            Travel::Arrived(step, Err(why)) => (step.step, why),
            _ => panic!("it arrived"),
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
