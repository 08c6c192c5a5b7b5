//! The explorer's event loop: messages become events, events change the state and ask for effects, and the state is drawn.

use std::{
    collections::VecDeque,
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    autosave,
    checkpoints::CheckpointReport,
    encoder::{self, EncodeRequest, Encoded, Encoder, Made, Wanted},
    loaded_model::LoadedModel,
    message::{Message, sending},
    open_experiment::{OpenAttempt, OpenReport, OpenRequest, tour_of},
    prepare::Prepared,
    save,
    session::{Session, Setting},
};
use crate::{
    engine::Engine,
    explorer::{self, Effect, Event, State, update},
    fs,
    model::Source,
    paint::{Region, Theme},
    printed,
    term::Screen,
    views::Phase,
};

/// An answer that arrives within this time is drawn in the same frame as the key that asked for it.
const PATIENCE: Duration = Duration::from_millis(12);

/// The explorer on the terminal.
pub(super) struct EventLoop {
    screen: Screen,
    session: Session,
    setting: Setting,
    messages: Receiver<Message>,
    /// Messages to handle before the next frame.
    pending: VecDeque<Message>,
    encoder: Encoder,
    /// The number of the latest attempt to open an experiment, and the attempt unless it was cancelled.
    opening: Option<(u64, Option<OpenAttempt>)>,
    /// What the last frame drew where, for the mouse.
    regions: Vec<Region>,
    /// The run that was last requested from the worker.
    requested_run: u64,
    /// Whether this frame requested a new run.
    run_requested: bool,
    /// When the next frame is drawn even if the answer to a key has not arrived.
    draw_by: Instant,
}

impl EventLoop {
    /// # Errors
    /// The terminal is gone, or a thread can't be started.
    pub fn start(
        screen: Screen,
        (prepared, against): (Prepared, Option<(String, Engine)>),
        greet: impl FnOnce(&mut State),
        setting: Setting,
        messages: Receiver<Message>,
    ) -> Result<Self> {
        let notes = prepared.engine.loaded.notes.clone();
        let mut session = Session::start((prepared, against), 0, screen.size()?, &setting)?;
        greet(&mut session.state);
        session.state.note(&notes);
        let encoder = Encoder::start(sending(&setting.sender, Message::Encoded)).context("starting the encoder")?;
        Ok(Self {
            screen,
            session,
            setting,
            messages,
            pending: VecDeque::from([Event::Start.into()]),
            encoder,
            opening: None,
            regions: vec![],
            requested_run: 0,
            run_requested: false,
            draw_by: Instant::now(),
        })
    }

    /// Explore until the user leaves or the terminal is closed, which is an ordinary way to leave.
    pub fn run(&mut self) {
        if let Err(error) = self.run_until_quit() {
            log::warn!("the terminal is gone: {error}");
        }
    }

    /// Give the terminal back, then wait until the session is saved and the worker has stopped.
    pub fn end(self) {
        let Self { screen, mut session, .. } = self;
        // the last events may not have led to a frame
        session.save();
        let Session { model, autosave, .. } = session;
        // the user need not wait for a run to stop
        drop(screen);
        if let Err(why) = autosave.finish() {
            printed::note(format_args!("the session could not be saved: {why}"));
        }
        drop(model);
    }

    fn run_until_quit(&mut self) -> io::Result<()> {
        while self.handle_messages()?.is_continue() {
            // first, because drawing blocks while the terminal does not read
            self.session.save();
            self.draw()?;
            match self.messages.recv() {
                Ok(message) => self.pending.push_back(message),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        let state = &self.session.state;
        let theme = Theme { pixels: self.screen.pixels(), ..self.setting.theme };
        let drawn = self.screen.draw(|frame, pictures| {
            let regions = explorer::draw(frame, state, theme);
            pictures.extend(regions.iter().filter_map(Region::as_picture).cloned());
            regions
        })?;
        self.regions = drawn.unwrap_or_default();
        Ok(())
    }

    /// Handle messages until none is left and no answer is expected before the frame is due.
    fn handle_messages(&mut self) -> io::Result<ControlFlow<()>> {
        (self.draw_by, self.run_requested) = (Instant::now() + PATIENCE, false);
        while let Some(message) = self.pending.pop_front() {
            let Some(event) = self.event(message) else { continue };
            for effect in update(&mut self.session.state, event) {
                if self.perform(effect)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if !self.pending.is_empty() {
                continue;
            }
            match self.messages.recv_timeout(self.time_to_wait()) {
                Ok(message) => self.pending.push_back(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(ControlFlow::Break(())),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How long to wait for another message before drawing. Runs that began before this frame are not waited for.
    fn time_to_wait(&self) -> Duration {
        let state = &self.session.state;
        let answer_is_near = self.run_requested || state.scene.runs.phase == Phase::Done;
        match state.is_waiting() && answer_is_near {
            true => self.draw_by.saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        }
    }

    /// The event of a message; None if it is about a model or an attempt that has been left since.
    fn event(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Event(Event::Mouse(mouse, _)) => {
                let hit = self.regions.iter().find_map(|region| region.at(mouse.column, mouse.row));
                Some(Event::Mouse(mouse, hit))
            }
            Message::Event(event) => Some(event),
            // what it draws is drawn with the next frame
            Message::Terminal(answer) => {
                self.screen.answered(answer);
                None
            }
            Message::Report(number, report) => (number == self.session.model.number).then_some(Event::Report(report)),
            Message::Checkpoint(number, report) if number == self.session.number => self.checkpoint_event(report),
            Message::Encoded(Encoded { model, text, made }) if model == self.session.number => Some(match made {
                Made::Tokens(purpose, tokens) => Event::Tokenized(purpose, text, tokens),
                Made::Vector(vector) => Event::Defined(vector),
            }),
            Message::Open(number, path, report) if self.is_opening(number) => Some(self.open_event(path, report)),
            Message::Checkpoint(..) | Message::Encoded(_) | Message::Open(..) => None,
        }
    }

    fn checkpoint_event(&mut self, report: CheckpointReport) -> Option<Event> {
        match report {
            CheckpointReport::Fetching(progress) => Some(Event::Fetching(progress)),
            CheckpointReport::Fetched(revision, result) => Some(Event::Fetched(revision, result)),
            CheckpointReport::Listed(steps) => Some(Event::Checkpoints(steps)),
            CheckpointReport::Hashed(revision, hashes) => Some(Event::Hashed(revision, hashes)),
            CheckpointReport::Loaded(step, loaded) => {
                // the user may have moved on while it was loaded
                let is_wanted = self.session.state.scene.checkpoints.is_wanted(&step);
                is_wanted.then(|| {
                    let sender = &self.setting.sender;
                    let model = loaded.and_then(|loaded| self.session.replace_checkpoint(*loaded, sender));
                    Event::Travelled(step, model.map(Box::new))
                })
            }
        }
    }

    fn open_event(&mut self, path: PathBuf, report: OpenReport) -> Event {
        match report {
            OpenReport::Loading(model) => Event::Loading(model),
            OpenReport::SameModel(setup) => Event::Opened(path, Ok(setup)),
            OpenReport::Results(results) => Event::Results(path, Ok(results)),
            OpenReport::Failed(why) => Event::Opened(path, Err(why)),
            OpenReport::OtherModel(prepared) => match self.replace_session(*prepared) {
                Ok(()) => Event::Start,
                Err(why) => Event::Opened(path, Err(why)),
            },
        }
    }

    /// Carry out an effect; Break ends the explorer.
    fn perform(&mut self, effect: Effect) -> io::Result<ControlFlow<()>> {
        let Session { state, model, checkpoints, .. } = &mut self.session;
        match effect {
            Effect::Post(want) => {
                self.run_requested |= want.run != self.requested_run;
                self.requested_run = want.run;
                model.worker.post(want);
                self.draw_by = Instant::now() + PATIENCE;
            }
            Effect::Tokenize(purpose, text) => self.encode(Wanted::Tokens(purpose), text),
            Effect::Define(text) => {
                let d_sae = state.scene.schema.dictionaries().clone();
                self.encode(Wanted::Vector(d_sae), text);
            }
            Effect::Name(purpose, ids) => {
                self.pending.push_back(encoder::named(purpose, &ids, model).into());
            }
            Effect::Copy(text) => self.screen.copy(&text)?,
            Effect::Save { path, replace } => {
                let with_weights = !matches!(model.source, Source::Cache(_));
                let result = save::save(state, self.setting.theme, &fs::expanded(&path), (replace, with_weights));
                self.pending.push_back(Event::Saved(path, result).into());
            }
            Effect::Open(path) => {
                if let Err(error) = self.open(path.clone()) {
                    self.pending.push_back(Event::Opened(path, Err(error.to_string())).into());
                }
            }
            Effect::Abandon => {
                if let Some((_, attempt)) = &mut self.opening {
                    *attempt = None;
                }
            }
            Effect::Travel(step) => checkpoints.load(Some(step)),
            Effect::Stay => checkpoints.load(None),
            Effect::Fetch(steps) => checkpoints.fetch(steps),
            Effect::Cancel => model.worker.cancel(),
            Effect::Suspend { job } => self.screen.suspend(job)?,
            Effect::Redraw => self.screen.take_again()?,
            Effect::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether this attempt to open an experiment is the latest and was not cancelled.
    fn is_opening(&self, number: u64) -> bool {
        matches!(self.opening, Some((latest, Some(_))) if latest == number)
    }

    fn encode(&self, wanted: Wanted, text: String) {
        let Session { state, model: LoadedModel { tokenizer, config, .. }, number, .. } = &self.session;
        self.encoder.encode(EncodeRequest {
            model: *number,
            wanted,
            text,
            tokenizer: tokenizer.clone(),
            config: config.clone(),
            prepend_bos: state.scene.prompts.prepend_bos,
        });
    }

    /// Open the experiment in a file, in place of one that is being opened.
    fn open(&mut self, path: PathBuf) -> io::Result<()> {
        let LoadedModel { source, tokenizer, config, .. } = &self.session.model;
        let number = self.opening.as_ref().map_or(0, |(number, _)| number + 1);
        let request = OpenRequest {
            path: fs::expanded(&path),
            args: self.setting.model_args.clone(),
            source: source.clone(),
            processing: self.session.state.scene.model.processing,
            tokenizer: tokenizer.clone(),
            config: config.clone(),
            d_sae: self.session.state.scene.schema.dictionaries().clone(),
            dictionaries: self.session.state.scene.dictionaries.clone(),
        };
        let report = sending(&self.setting.sender, move |report| Message::Open(number, path.clone(), report));
        self.opening = Some((number, Some(OpenAttempt::start(request, report)?)));
        Ok(())
    }

    /// Explore another model, and offer the session that ends as the one to return to.
    fn replace_session(&mut self, prepared: Prepared) -> Result<(), String> {
        let before = self.session.state.session();
        self.session.save();
        let tour = tour_of(&self.setting.tour_file, &self.setting.model_args, &prepared);
        let (number, size) = (self.session.model.number + 1, self.session.state.scene.layout.size);
        let next = Session::start((prepared, None), number, size, &self.setting).map_err(|e| format!("{e:#}"))?;
        let ended = std::mem::replace(&mut self.session, next);
        self.session.state.have_tour(tour);
        if let Some(results) = ended.state.scene.results.clone() {
            self.session.state.keep_results(results);
        }
        if let Some(path) = ended.autosave.finish()? {
            self.session.state.offer(Some(autosave::offer(path, &before)));
        }
        Ok(())
    }
}
