//! Loads and checks what the explorer shows: at start-up, and on a separate thread when the user opens an experiment.

use std::{
    collections::BTreeMap,
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
    args::{EditArgs, ExploreArgs, ModelArgs, PromptArgs},
    prepare::{self, Prepared},
};
use crate::{
    experiment::{
        self, DictionaryLine, ExperimentError, File, Given, ModelChoice, PromptParser, Results, has_dictionaries_of,
    },
    explorer::{SavedView, Setup, Tour, TourFile},
    hooks::HookPoint,
    model::{Config, KeepGoing, OnProgress, Processing, Progress, Source, Tokenizer},
    panics::caught,
    table::Format,
};

/// The default prompt; in the demo, head 2 of block 1 decides which name ends this sentence.
const PROMPT: &str = "When Mary and John went to the store, John gave a drink to";

/// The model and the experiment that the arguments name, checked as far as the first run would check them. A requested
/// tour supplies what the arguments leave out.
pub(super) fn prepare(
    model: &ModelArgs,
    prompt: &PromptArgs,
    edits: &EditArgs,
    tour: Option<&TourFile>,
    on_progress: OnProgress<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<Prepared> {
    with_valid_edits(match tour.map(TourFile::head) {
        Some(head) => {
            let given = prepare::given(prompt, edits);
            experiment::prepare(&model.into(), &given, Some(&head), None, on_progress, keep_going)?
        }
        None => prepare::prepare(model, prompt, edits, Some(PROMPT), on_progress, keep_going)?,
    })
}

/// The tour that the arguments ask for, for the model and the prompt that were prepared.
pub(super) fn requested_tour(
    file: &TourFile,
    args: &ExploreArgs,
    prepared: &Prepared,
) -> Result<Tour, ExperimentError> {
    let d_sae = prepared.engine.schema.dictionaries().clone();
    let given = Given { d_sae, ..prepare::given(&args.prompt, &args.edits) };
    file.tour(PromptParser::from(&prepared.engine.loaded), &given)
}

/// The tour in the file, if it is for the prepared model. `args` choose device and precision.
pub(super) fn tour_of(file: &TourFile, args: &ModelArgs, prepared: &Prepared) -> Option<Tour> {
    let loaded = &prepared.engine.loaded;
    let is_same_model = is_about(&file.head(), &args.into(), &prepared.source, loaded.model.processing);
    let given = Given { d_sae: prepared.engine.schema.dictionaries().clone(), ..Given::default() };
    is_same_model.then(|| file.tour(PromptParser::from(loaded), &given).ok()).flatten()
}

/// Whether the file's experiment runs on this model.
fn is_about(file: &File<SavedView>, choice: &ModelChoice, source: &Source, processing: Processing) -> bool {
    file.experiment.processing == processing
        && choice.with_file(Some(file)).source_here().is_ok_and(|other| other == *source)
}

/// Refuse edits that do not fit the model and the prompts.
fn with_valid_edits(prepared: Prepared) -> Result<Prepared> {
    let (spec, schema) = (prepared.setup.spec(), &prepared.engine.schema);
    spec.plan(&spec.edits, schema).map_err(|e| match &prepared.note {
        Some(note) => Usage(format!("on the demo ({note}): {e}")),
        None => Usage(e.to_string()),
    })?;
    Ok(prepared)
}

/// The experiment file to open, and the model on the screen.
pub(super) struct OpenRequest {
    pub path: PathBuf,
    /// Device, precision and network use of this session.
    pub args: ModelArgs,
    pub source: Source,
    pub processing: Processing,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    /// The number of features of the session's dictionaries.
    pub d_sae: BTreeMap<HookPoint, usize>,
    /// The session's dictionaries, as it records them.
    pub dictionaries: Vec<DictionaryLine>,
}

/// What the thread that opens an experiment reports.
pub(super) enum OpenReport {
    /// The experiment's model is being loaded.
    Loading(String),
    /// The experiment uses the model on the screen.
    SameModel(Box<Setup>),
    OtherModel(Box<Prepared>),
    /// The file is a table of results.
    Results(Arc<Results>),
    Failed(String),
}

/// An attempt to open an experiment; dropping it cancels the attempt.
pub(super) struct OpenAttempt(Arc<AtomicBool>);

impl OpenAttempt {
    /// # Errors
    /// The thread can't be started.
    pub fn start(request: OpenRequest, report: impl Fn(OpenReport) + Send + 'static) -> io::Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let still_wanted = wanted.clone();
        let work = move || {
            let keep_going = || still_wanted.load(Ordering::Relaxed);
            let opened = caught(|| open(&request, &keep_going, &report));
            let opened = opened.and_then(|opened| opened.map_err(|e| format!("{e:#}")));
            report(opened.unwrap_or_else(OpenReport::Failed));
        };
        thread::Builder::new().name("open".into()).spawn(work)?;
        Ok(Self(wanted))
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn open(request: &OpenRequest, keep_going: KeepGoing<'_>, report: &impl Fn(OpenReport)) -> Result<OpenReport> {
    if Format::of(&request.path).is_ok_and(|format| format == Format::Parquet) {
        return Ok(OpenReport::Results(Arc::new(Results::read(&request.path, &|ids| request.tokenizer.decode(ids))?)));
    }
    let OpenRequest { path, args, source, processing, tokenizer, config, d_sae, dictionaries } = request;
    let file = File::read(path)?;
    let (choice, given) = (ModelChoice::from(args), Given { d_sae: d_sae.clone(), ..Given::default() });
    if is_about(&file, &choice, source, *processing) && has_dictionaries_of(&file, dictionaries)? {
        let setup = Setup::new(PromptParser { tokenizer, config }, &given, Some(&file))?;
        return Ok(OpenReport::SameModel(Box::new(setup)));
    }
    report(OpenReport::Loading(file.experiment.model.clone()));
    let mut on_progress = |progress: Progress| {
        let percent = progress.done * 100 / progress.total.max(1);
        report(OpenReport::Loading(format!("{} ({percent} %)", progress.repository)));
        keep_going()
    };
    let prepared = experiment::prepare(&choice, &given, Some(&file), None, &mut on_progress, keep_going)?;
    Ok(OpenReport::OtherModel(Box::new(with_valid_edits(prepared)?)))
}
