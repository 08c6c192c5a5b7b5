use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Usage,
    args::{Background, Color, ExploreArgs, ModelArgs},
    autosave::{self, Autosave},
    config::Config as Settings,
    encoder::{Encoder, Found, Typed},
    files,
    opening::{Attempt, Request, Step, prepare},
    prepare::Prepared,
    progress::Bar,
    subject::{Subject, info},
    travel::{Travel, Traveller},
};
use crate::{
    app::{Effect, Event, Keymap, ModelInfo, Opening, Phase, Purpose, Region, State, Training, update},
    engine::{Engine, Report},
    experiment::Token,
    fs,
    model::{Hub, Loaded, Source, modules, training_steps},
    printed,
    term::{self, Screen},
    ui::{self, Theme},
};

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
    let prepared = prepare(&args.model, &args.prompt, &args.edits, &mut Bar::on_stdout().tell(), &|| true)?;
    let notes = prepared.engine.loaded.notes.clone();
    let offer = if args.edits.experiment.is_none() { autosave::offer() } else { None };

    let (sender, happenings) = mpsc::channel();
    // first this: a signal must not find the terminal taken and nobody who gives it back
    term::listen(&sender, autosave::settle).context("listening to the terminal")?;
    let screen = Screen::take().context("taking the terminal")?;
    let size = screen.size()?;
    let (mut state, subject) =
        open(prepared, &settings.keys, theme, size, 0, &Hub::from_env(args.model.offline), &sender)?;
    state.offer(offer);
    state.note(&notes);
    let autosave = keep(&state, &sender);
    let how = ModelArgs { model: None, revision: None, no_processing: false, ..args.model.clone() };
    let (keys, regions) = (settings.keys, vec![]);
    let traveller = traveller(&state, &subject, &how, &sender)?;
    let encoder = encoder(&sender)?;
    let mut explorer = Explorer {
        screen,
        state,
        subject,
        sender,
        happenings,
        theme,
        keys,
        how,
        traveller,
        autosave,
        encoder,
        opening: None,
        regions,
    };
    explorer.run();
    let Explorer { screen, state, subject, mut autosave, .. } = explorer;
    // what was done last may not have been drawn any more
    autosave.keep(state.experiment());
    // the terminal first: whoever leaves need not wait for a run to end
    drop(screen);
    if let Err(why) = autosave.end() {
        printed::note(format_args!("the session could not be kept: {why}"));
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
    Ok((State::new(opening), Subject::new(number, source, engine, reports(number, sender))?))
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

/// Whoever finds the tokens of what is typed.
fn encoder(sender: &Sender<Happening>) -> Result<Encoder> {
    let sender = sender.clone();
    let encoder = Encoder::start(move |Found { of, purpose, text, tokens }| {
        // the screen is gone when nobody receives any more
        let _ = sender.send(Happening::Tokens(of, purpose, text, tokens));
    });
    encoder.context("starting the encoder")
}

/// Keep the session that begins.
fn keep(state: &State, sender: &Sender<Happening>) -> Autosave {
    let sender = sender.clone();
    Autosave::begin(state.experiment(), move |why| {
        // the screen is gone when nobody receives any more
        let _ = sender.send(Event::NotKept(why).into());
    })
}

/// Where the reports of a subject's worker go.
fn reports(number: u64, sender: &Sender<Happening>) -> impl Fn(Report) + Send + Sync + 'static {
    let sender = sender.clone();
    move |report| {
        // the screen is gone when nobody receives any more
        let _ = sender.send(Happening::Report(number, report));
    }
}

/// Whatever the explorer waits for.
enum Happening {
    Event(Event),
    /// From the worker of the subject with this number.
    Report(u64, Report),
    /// From the traveller that was started when the subject had this number.
    Travel(u64, Travel),
    /// From the attempt with this number to open an experiment.
    Opening(u64, PathBuf, Step),
    /// The tokens of a text, for the model that the traveller was started for when the subject had this number.
    Tokens(u64, Purpose, String, Result<Vec<Token>, String>),
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
    encoder: Encoder,
    /// The latest attempt to open an experiment, with its number; none where it was given up.
    opening: Option<(u64, Option<Attempt>)>,
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
                    Happening::Tokens(of, purpose, text, tokens) if of == self.traveller.0 => {
                        Event::Tokenized(purpose, text, tokens)
                    }
                    Happening::Opening(of, path, step) if self.opens(of) => match step {
                        Step::Loading(model) => Event::Loading(model),
                        Step::Same(setup) => Event::Opened(path, Ok(setup)),
                        Step::Failed(why) => Event::Opened(path, Err(why)),
                        Step::Other(prepared) => match self.take_up(*prepared) {
                            // as at the start: whatever is wanted now is asked of the new worker
                            Ok(()) => Event::Resize(self.state.size.0, self.state.size.1),
                            Err(why) => Event::Opened(path, Err(why)),
                        },
                    },
                    // of what is not explored, or not wanted, any longer
                    Happening::Report(..) | Happening::Travel(..) | Happening::Tokens(..) | Happening::Opening(..) => {
                        continue;
                    }
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
                        Effect::Tokenize(purpose, text) => self.encode(purpose, text),
                        Effect::Copy(text) => self.screen.copy(&text)?,
                        Effect::Save { path, replace } => {
                            let result = files::save(&self.state, self.theme, &fs::expanded(&path), replace);
                            pending.push_back(Event::Saved(path, result).into());
                        }
                        Effect::Open(path) => {
                            if let Err(error) = self.open(path.clone()) {
                                pending.push_back(Event::Opened(path, Err(error.to_string())).into());
                            }
                        }
                        Effect::Abandon => {
                            if let Some((_, attempt)) = &mut self.opening {
                                *attempt = None;
                            }
                        }
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

    /// Whether an attempt to open an experiment is the latest, and was not given up.
    fn opens(&self, number: u64) -> bool {
        matches!(self.opening, Some((latest, Some(_))) if latest == number)
    }

    /// Have the tokens of a text found.
    fn encode(&self, purpose: Purpose, text: String) {
        let Subject { tokenizer, config, .. } = &self.subject;
        let (tokenizer, config, prepend_bos) = (tokenizer.clone(), config.clone(), self.state.prepend_bos);
        self.encoder.ask(Typed { of: self.traveller.0, purpose, text, tokenizer, config, prepend_bos });
    }

    /// Read the experiment in a file, instead of any other that is being opened.
    fn open(&mut self, path: PathBuf) -> io::Result<()> {
        let Subject { source, tokenizer, config, .. } = &self.subject;
        let number = self.opening.as_ref().map_or(0, |(number, _)| number + 1);
        let request = Request {
            path: fs::expanded(&path),
            how: self.how.clone(),
            source: source.clone(),
            processing: self.state.model.processing,
            tokenizer: tokenizer.clone(),
            config: config.clone(),
        };
        let sender = self.sender.clone();
        let tell = move |step| {
            // the screen is gone when nobody receives any more
            let _ = sender.send(Happening::Opening(number, path.clone(), step));
        };
        self.opening = Some((number, Some(Attempt::start(request, tell)?)));
        Ok(())
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
        let number = self.subject.number + 1;
        let subject = Subject::new(number, source, engine, reports(number, &self.sender));
        self.subject = subject.map_err(|e| format!("{e:#}"))?;
        Ok(model)
    }

    /// Explore another model, and leave this one.
    fn take_up(&mut self, prepared: Prepared) -> Result<(), String> {
        let number = self.subject.number + 1;
        let (before, hub) = (self.state.experiment(), Hub::from_env(self.how.offline));
        self.autosave.keep(before.clone());
        let opened = open(prepared, &self.keys, self.theme, self.state.size, number, &hub, &self.sender);
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
