//! What is to be explored: loaded and checked; an experiment that is opened, on a thread of its own.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Result;

use super::{
    Usage,
    args::{EditArgs, ModelArgs, PromptArgs},
    prepare::{self, Prepared},
};
use crate::{
    app::Setup,
    experiment::{self, File, Given, ModelChoice, PromptParser},
    hooks::Plan,
    model::{Config, GoOn, Processing, Progress, Source, Tell, Tokenizer},
    panics::caught,
};

/// What is explored when no prompt was given; in the demo, head 2 of block 1 decides which name ends this sentence.
const PROMPT: &str = "When Mary and John went to the store, John gave a drink to";

/// Load what is to be explored, and refuse here rather than on the screen what its first run would refuse.
pub(super) fn prepare(
    model: &ModelArgs,
    prompt: &PromptArgs,
    edits: &EditArgs,
    tell: Tell<'_>,
    go_on: GoOn<'_>,
) -> Result<Prepared> {
    fitting(prepare::prepare(model, prompt, edits, Some(PROMPT), tell, go_on)?)
}

fn fitting(prepared: Prepared) -> Result<Prepared> {
    let (spec, schema) = (prepared.setup.spec(), &prepared.engine.schema);
    Plan::resolve(&spec.edits, schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len)).map_err(|e| {
        match &prepared.note {
            Some(note) => Usage(format!("on the demo ({note}): {e}")),
            None => Usage(e.to_string()),
        }
    })?;
    Ok(prepared)
}

/// An experiment's file, and the model that is explored.
pub(super) struct Request {
    pub path: PathBuf,
    /// How models are loaded here.
    pub how: ModelArgs,
    pub source: Source,
    pub processing: Processing,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
}

/// What comes of it.
pub(super) enum Step {
    /// Its model is being loaded.
    Loading(String),
    /// It is of the model that is explored.
    Same(Box<Setup>),
    Other(Box<Prepared>),
    Failed(String),
}

/// An experiment that is being opened; dropping it gives it up.
pub(super) struct Attempt(Arc<AtomicBool>);

impl Attempt {
    /// # Errors
    /// The thread can't be started.
    pub fn start(request: Request, tell: impl Fn(Step) + Send + 'static) -> io::Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let still = wanted.clone();
        let open = move || {
            let go_on = || still.load(Ordering::Relaxed);
            let opened = caught(|| open(&request, &go_on, &tell));
            let opened = opened.and_then(|opened| opened.map_err(|e| format!("{e:#}")));
            tell(opened.unwrap_or_else(Step::Failed));
        };
        thread::Builder::new().name("open".into()).spawn(open)?;
        Ok(Self(wanted))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn open(request: &Request, go_on: GoOn<'_>, tell: &impl Fn(Step)) -> Result<Step> {
    let Request { path, how, source, processing, tokenizer, config } = request;
    let file = File::read(path)?;
    let (how, given) = (ModelChoice::from(how), Given::default());
    let same = file.experiment.processing == *processing
        && how.with_file(Some(&file)).source_here().is_ok_and(|other| other == *source);
    if same {
        let setup = Setup::new(PromptParser { tokenizer, config }, &given, Some(&file))?;
        return Ok(Step::Same(Box::new(setup)));
    }
    tell(Step::Loading(file.experiment.model.clone()));
    let mut progress = |progress: Progress| {
        let percent = progress.done * 100 / progress.total.max(1);
        tell(Step::Loading(format!("{} ({percent} %)", progress.repository)));
        go_on()
    };
    Ok(Step::Other(Box::new(fitting(experiment::prepare(&how, &given, Some(&file), None, &mut progress, go_on)?)?)))
}
