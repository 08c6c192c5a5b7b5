use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Usage,
    args::{Background, Color, EditArgs, ExploreArgs, ModelArgs, PromptArgs},
    autosave::{self, Autosave},
    config::Config as Settings,
    experiment::File,
    files,
    progress::Bar,
    prompt::{self, Prepared, Words},
    travel::{Travel, Traveller},
};
use crate::{
    app::{Effect, Event, Keymap, ModelInfo, Opening, Phase, Purpose, Region, State, Token, Training, update},
    engine::{Engine, Live, Report, Worker},
    fs,
    hooks::Plan,
    model::{Config, Hub, Loaded, Placement, Progress, Source, Tell, Tokenizer, modules, training_steps},
    panics::caught,
    term::{self, Screen},
    ui::{self, Theme},
};

/// What is explored when no prompt was given; in the demo, head 2 of block 1 decides which name ends this sentence.
const PROMPT: &str = "When Mary and John went to the store, John gave a drink to";

/// An answer that comes within this time is drawn with the key that asked for it, not after it.
const PATIENCE: Duration = Duration::from_millis(12);

pub(super) fn main(args: &ExploreArgs) -> Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message =
            "the explorer needs a terminal; without one, `pythia-tui run` prints and `pythia-tui hooks` lists";
        return Err(Usage(message.into()).into());
    }
    let settings = Settings::find(args.config.as_deref()).map_err(|e| Usage(e.to_string()))?;
    let theme = Theme {
        depth: args.color.or(settings.color).unwrap_or(Color::Auto).depth(),
        ascii: args.ascii || settings.ascii,
        light: args.background.or(settings.background).unwrap_or(Background::Auto).is_light(),
    };
    let prepared = prepare(&args.model, &args.prompt, &args.edits, &mut Bar::on_stdout().tell())?;
    let notes = prepared.engine.loaded.notes.clone();
    let offer = if args.edits.experiment.is_none() { autosave::offer() } else { None };

    let (sender, happenings) = mpsc::channel();
    let screen = Screen::take().context("taking the terminal")?;
    term::listen(&sender, autosave::settle).context("listening to the terminal")?;
    let size = screen.size()?;
    let (mut state, subject) =
        open(prepared, &settings.keys, theme, size, 0, &Hub::from_env(args.model.offline), &sender)?;
    state.offer(offer);
    state.note(&notes);
    let autosave = keep(&state, &sender);
    let how = ModelArgs { model: None, revision: None, no_processing: false, ..args.model.clone() };
    let (keys, regions) = (settings.keys, vec![]);
    let traveller = traveller(&state, &subject, &how, &sender)?;
    let mut explorer =
        Explorer { screen, state, subject, sender, happenings, theme, keys, how, traveller, autosave, regions };
    explorer.run();
    let Explorer { screen, state, subject, mut autosave, .. } = explorer;
    // what was done last may not have been drawn any more
    autosave.keep(state.experiment());
    // the terminal first: whoever leaves need not wait for a run to end
    drop(screen);
    if let Err(why) = autosave.end() {
        // a closed terminal has taken stderr with it
        let _ = writeln!(std::io::stderr(), "pythia-tui: the session could not be kept: {why}");
    }
    drop(subject);
    Ok(())
}

/// The explorer's state and the worker that answers it.
fn open(
    prepared: Prepared,
    keys: &Keymap,
    theme: Theme,
    size: (u16, u16),
    number: u64,
    hub: &Hub,
    sender: &Sender<Happening>,
) -> Result<(State, Subject)> {
    let Prepared { engine, setup, source, name, note } = prepared;
    let opening = Opening {
        model: info(&engine.loaded, &source, name, note),
        schema: engine.schema.clone(),
        modules: modules(&engine.loaded.model.config),
        training: Training::new(training_steps(&source, &hub.cache, &[]), source.revision(), hub.offline),
        keys: keys.clone(),
        halves: theme.halves(),
        setup,
        size,
    };
    Ok((State::new(opening), Subject::new(number, source, engine, sender)?))
}

/// What the screen says of a model.
fn info(loaded: &Loaded, source: &Source, name: String, note: Option<String>) -> ModelInfo {
    let branch = match source {
        Source::Snapshot { revision, commit, .. } if revision != "main" && revision != commit => Some(revision.clone()),
        _ => None,
    };
    ModelInfo {
        name: loaded.name.clone(),
        source: name,
        revision: loaded.revision.clone(),
        branch,
        processing: loaded.model.processing,
        device: loaded.model.place().to_string(),
        dtype: loaded.model.dtype.into(),
        config: loaded.model.config.clone(),
        note,
    }
}

/// Load what is to be explored, and refuse here rather than on the screen what its first run would refuse.
fn prepare(model: &ModelArgs, prompt: &PromptArgs, edits: &EditArgs, tell: Tell<'_>) -> Result<Prepared> {
    let prepared = prompt::prepare(model, prompt, edits, Some(PROMPT), tell)?;
    let (spec, schema) = (prepared.setup.spec(), &prepared.engine.schema);
    Plan::resolve(&spec.edits, schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len)).map_err(|e| {
        match &prepared.note {
            Some(note) => Usage(format!("on the demo ({note}): {e}")),
            None => Usage(e.to_string()),
        }
    })?;
    Ok(prepared)
}

/// Whoever goes through the training of a subject.
fn traveller(
    state: &State,
    subject: &Subject,
    how: &ModelArgs,
    sender: &Sender<Happening>,
) -> Result<(u64, Traveller)> {
    let (sender, number) = (sender.clone(), subject.number);
    let tell = move |travel| {
        // the screen is gone when nobody receives any more
        let _ = sender.send(Happening::Travel(number, travel));
    };
    let traveller = Traveller::start(how, &subject.source, state.model.processing, subject.place.clone(), tell);
    Ok((number, traveller.context("starting the traveller")?))
}

/// Keep the session that begins.
fn keep(state: &State, sender: &Sender<Happening>) -> Autosave {
    let sender = sender.clone();
    Autosave::begin(state.experiment(), move |why| {
        // the screen is gone when nobody receives any more
        let _ = sender.send(Event::NotKept(why).into());
    })
}

/// The model that is explored: the worker that has it, and what texts are checked against.
struct Subject {
    /// Which it is of those that were explored.
    number: u64,
    source: Source,
    tokenizer: Arc<Tokenizer>,
    config: Config,
    place: Placement,
    worker: Worker,
}

impl Subject {
    fn new(number: u64, source: Source, engine: Engine, sender: &Sender<Happening>) -> Result<Self> {
        let Loaded { model, tokenizer, .. } = &engine.loaded;
        let (tokenizer, config, place) = (tokenizer.clone(), model.config.clone(), model.place());
        let reports = sender.clone();
        let worker = Worker::start(Live::new(engine), move |report| {
            // the screen is gone when nobody receives any more
            let _ = reports.send(Happening::Report(number, report));
        });
        let worker = worker.context("starting the worker")?;
        Ok(Self { number, source, tokenizer, config, place, worker })
    }
}

/// Whatever the explorer waits for.
enum Happening {
    Event(Event),
    /// From the worker of the subject with this number.
    Report(u64, Report),
    /// From the traveller that was started when the subject had this number.
    Travel(u64, Travel),
    /// The model of an experiment was loaded, or could not be.
    Prepared(PathBuf, Result<Box<Prepared>, String>),
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

struct Explorer {
    screen: Screen,
    state: State,
    subject: Subject,
    sender: Sender<Happening>,
    happenings: Receiver<Happening>,
    theme: Theme,
    keys: Keymap,
    /// How models are loaded here: device, type, with or without the network.
    how: ModelArgs,
    /// With the number of the subject that it was started for.
    traveller: (u64, Traveller),
    autosave: Autosave,
    regions: Vec<Region>,
}

impl Explorer {
    /// Explore until the user leaves or the terminal is closed, which is an ordinary way out.
    fn run(&mut self) {
        if let Err(error) = self.follow() {
            log::warn!("the terminal is gone: {error}");
        }
    }

    /// Events to state, state to screen, until told to quit.
    ///
    /// # Errors
    /// The terminal is gone.
    fn follow(&mut self) -> io::Result<()> {
        let size = self.state.size;
        let mut running = 0;
        // the first request is what an event that changes nothing brings about
        let mut pending = VecDeque::from([Happening::from(Event::Resize(size.0, size.1))]);
        loop {
            let (mut drawn_by, mut begun) = (Instant::now() + PATIENCE, false);
            while let Some(happening) = pending.pop_front() {
                let mut event = match happening {
                    Happening::Event(event) => event,
                    Happening::Report(of, report) if of == self.subject.number => Event::Report(report),
                    Happening::Travel(of, travel) if of == self.traveller.0 => match travel {
                        Travel::Fetching(progress) => Event::Fetching(progress),
                        Travel::Fetched(revision, result) => Event::Fetched(revision, result),
                        Travel::Listed(steps) => Event::Checkpoints(steps),
                        // another one is wanted by now
                        Travel::Arrived(step, _) if !self.state.training.is_wanted(&step) => continue,
                        Travel::Arrived(step, arrived) => {
                            let model = arrived.and_then(|arrived| self.arrive(*arrived));
                            Event::Travelled(step, model.map(Box::new))
                        }
                    },
                    // of what is not explored any more
                    Happening::Report(..) | Happening::Travel(..) => continue,
                    Happening::Prepared(path, prepared) => match self.take_up(prepared) {
                        // as at the start: whatever is wanted now is asked of the new worker
                        Ok(()) => Event::Resize(self.state.size.0, self.state.size.1),
                        Err(why) => Event::Opened(path, Err(why)),
                    },
                };
                if let Event::Mouse(mouse, hit) = &mut event {
                    *hit = self.regions.iter().find_map(|region| region.at(mouse.column, mouse.row));
                }
                for effect in update(&mut self.state, event) {
                    match effect {
                        Effect::Post(want) => {
                            // a run that is under way is not waited for: keys are answered meanwhile
                            begun |= want.run != running;
                            running = want.run;
                            self.subject.worker.post(want);
                            drawn_by = Instant::now() + PATIENCE;
                        }
                        Effect::Tokenize(purpose, text) => {
                            let tokens = self.tokens(purpose, &text);
                            pending.push_back(Event::Tokenized(purpose, text, tokens).into());
                        }
                        Effect::Copy(text) => self.screen.copy(&text)?,
                        Effect::Save { path, replace } => {
                            let result = files::save(&self.state, self.theme, &fs::expanded(&path), replace);
                            pending.push_back(Event::Saved(path, result).into());
                        }
                        Effect::Open(path) => pending.push_back(self.open(&path).into()),
                        Effect::Travel(step) => self.traveller.1.go(Some(step)),
                        Effect::Stay => self.traveller.1.go(None),
                        Effect::Fetch(steps) => self.traveller.1.fetch(steps),
                        Effect::Cancel => self.subject.worker.cancel(),
                        Effect::Suspend { job } => self.screen.suspend(job)?,
                        Effect::Redraw => self.screen.take_again()?,
                        Effect::Quit => return Ok(()),
                    }
                }
                if !pending.is_empty() {
                    continue;
                }
                // take what is already there, and wait a little for what was just asked for
                let soon = self.state.is_waiting() && (begun || self.state.phase == Phase::Done);
                let patience = if soon { drawn_by.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
                match self.happenings.recv_timeout(patience) {
                    Ok(happening) => pending.push_back(happening),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
            // first what must not be lost: the terminal may not read
            self.autosave.keep(self.state.experiment());
            let (state, theme) = (&self.state, self.theme);
            self.regions = self.screen.draw(|frame| ui::draw(frame, state, theme))?.unwrap_or_default();
            match self.happenings.recv() {
                Ok(happening) => pending.push_back(happening),
                Err(_) => return Ok(()),
            }
        }
    }

    /// From a text to tokens, or why it can't be what it is meant for.
    fn tokens(&self, purpose: Purpose, text: &str) -> Result<Vec<Token>, String> {
        let Subject { tokenizer, config, .. } = &self.subject;
        let prepend_bos = matches!(purpose, Purpose::Prompt | Purpose::Contrast) && self.state.prepend_bos;
        let ids = tokenizer.encode(text).and_then(|ids| prompt::checked(ids, config, prepend_bos));
        let named = |ids: Vec<u32>| ids.into_iter().map(|id| Token { id, text: tokenizer.token(id) }).collect();
        ids.map(named).map_err(|e| e.to_string())
    }

    /// Go on with the experiment in a file. If it is of another model, that is loaded meanwhile, and comes as a happening.
    fn open(&self, path: &Path) -> Event {
        let Subject { source, tokenizer, config, .. } = &self.subject;
        let path = fs::expanded(path);
        let none = self.how.clone();
        let prompt = PromptArgs { prompt: None, tokens: None, prepend_bos: false, enable: vec![] };
        let file = match File::read(&path) {
            Ok(file) => file,
            Err(error) => return Event::Opened(path, Err(error.to_string())),
        };
        let chosen = prompt::choose(&none, Some(&file));
        let same = file.experiment.processing == self.state.model.processing
            && prompt::source_here(&chosen).is_ok_and(|other| other == *source);
        if same {
            let words = Words { tokenizer, config };
            let setup = prompt::setup(words, &prompt, &EditArgs::default(), Some(&file));
            let setup = setup.map(Box::new).map_err(|e| format!("{e:#}"));
            return Event::Opened(path, setup);
        }
        let (sender, of) = (self.sender.clone(), path.clone());
        let load = move || {
            let edits = EditArgs { experiment: Some(path.clone()), ..EditArgs::default() };
            let mut tell = |progress: Progress| {
                let percent = progress.done * 100 / progress.total.max(1);
                sender.send(Event::Loading(format!("{} ({percent} %)", progress.repository)).into()).is_ok()
            };
            let prepared = caught(|| prepare(&none, &prompt, &edits, &mut tell));
            let prepared = prepared.and_then(|prepared| prepared.map(Box::new).map_err(|e| format!("{e:#}")));
            // the screen is gone when nobody receives any more
            let _ = sender.send(Happening::Prepared(path, prepared));
        };
        match thread::Builder::new().name("load".into()).spawn(load) {
            Ok(_) => Event::Loading(file.experiment.model),
            Err(error) => Event::Opened(of, Err(error.to_string())),
        }
    }

    /// Explore another checkpoint of the same model.
    fn arrive(&mut self, (source, loaded): (Source, Loaded)) -> Result<ModelInfo, String> {
        if loaded.model.config != self.subject.config {
            return Err(format!("{} is another model than what is explored: its config differs", loaded.name));
        }
        let name = match &source {
            Source::Directory(path) => path.display().to_string(),
            _ => self.state.model.source.clone(),
        };
        let model = info(&loaded, &source, name, None);
        let engine = Engine::new(loaded, self.state.schema.clone());
        let subject = Subject::new(self.subject.number + 1, source, engine, &self.sender);
        self.subject = subject.map_err(|e| format!("{e:#}"))?;
        Ok(model)
    }

    /// Explore another model, and leave this one.
    fn take_up(&mut self, prepared: Result<Box<Prepared>, String>) -> Result<(), String> {
        let number = self.subject.number + 1;
        let (before, hub) = (self.state.experiment(), Hub::from_env(self.how.offline));
        self.autosave.keep(before.clone());
        let opened = open(*prepared?, &self.keys, self.theme, self.state.size, number, &hub, &self.sender);
        let (state, subject) = opened.map_err(|e| format!("{e:#}"))?;
        self.traveller = traveller(&state, &subject, &self.how, &self.sender).map_err(|e| format!("{e:#}"))?;
        self.state = state;
        self.subject = subject;
        let kept = std::mem::replace(&mut self.autosave, keep(&self.state, &self.sender)).end();
        if let Some(path) = kept? {
            self.state.offer(Some(autosave::offer_of(path, &before)));
        }
        Ok(())
    }
}
