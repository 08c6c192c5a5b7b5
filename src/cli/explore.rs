use std::{
    collections::VecDeque,
    io::IsTerminal,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Usage,
    args::{Background, Color, ExploreArgs},
    config::Config,
    files, prompt,
};
use crate::{
    app::{Effect, Event, ModelInfo, Opening, Phase, Purpose, Region, State, Token, update},
    engine::{Live, Worker},
    hooks::{Plan, Schema},
    model::modules,
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
    let settings = Config::find(args.config.as_deref()).map_err(|e| Usage(e.to_string()))?;
    let (loaded, note) = prompt::load_or_demo(&args.model)?;
    let mut prompt_args = args.prompt.clone();
    if prompt_args.prompt.is_none() && prompt_args.tokens.is_none() {
        prompt_args.prompt = Some(PROMPT.into());
    }
    let tokens = prompt::tokens(&loaded, &prompt_args)?;
    let engine = prompt::engine(loaded, &prompt_args)?;
    let spec = prompt::spec(&engine, tokens, prompt_args.prepend_bos, &args.edits)?;
    check(&spec, &engine.schema)?;

    let loaded = &engine.loaded;
    let config = loaded.model.config.clone();
    let model = ModelInfo {
        name: loaded.name.clone(),
        revision: loaded.revision.clone(),
        processing: loaded.model.processing.name(),
        folded: loaded.model.processing.is_folded(),
        device: "cpu f32".into(),
        context: config.context,
        note,
    };
    let tokenizer = loaded.tokenizer.clone();
    let text = |given: &Option<String>, ids: &[u32]| given.clone().unwrap_or_else(|| tokenizer.decode(ids));
    let named = |ids: &[u32]| ids.iter().map(|&id| Token { id, text: tokenizer.token(id) }).collect::<Vec<_>>();
    let theme = Theme {
        depth: args.color.or(settings.color).unwrap_or(Color::Auto).depth(),
        ascii: args.ascii || settings.ascii,
        light: args.background.or(settings.background).unwrap_or(Background::Auto).is_light(),
    };
    let opening = Opening {
        model,
        schema: engine.schema.clone(),
        modules: modules(&config),
        keys: settings.keys,
        halves: theme.halves(),
        prompt: (text(&prompt_args.prompt, &spec.tokens), named(&spec.tokens)),
        contrast: spec.contrast.as_ref().map(|ids| (text(&args.edits.contrast, ids), named(ids))),
        edits: spec.edits,
        size: (80, 24),
    };
    let prepend_bos = prompt_args.prepend_bos;
    let tokenize = |purpose: Purpose, text: &str| -> Result<Vec<Token>, String> {
        let ids = tokenizer.encode(text);
        let ids = match purpose {
            Purpose::Prompt | Purpose::Contrast => ids.and_then(|ids| prompt::checked(ids, &config, prepend_bos)),
            Purpose::Find | Purpose::Target | Purpose::Distractor => {
                ids.and_then(|ids| prompt::checked(ids, &config, false))
            }
        };
        ids.map(|ids| named(&ids)).map_err(|e| e.to_string())
    };

    let (sender, events) = mpsc::channel();
    let reports = sender.clone();
    let worker = Worker::start(Live::new(engine), move |report| {
        // the screen is gone when nobody receives any more
        let _ = reports.send(Event::Report(report));
    })
    .context("starting the worker")?;
    let mut screen = Screen::take().context("taking the terminal")?;
    term::listen(&sender).context("listening to the terminal")?;
    let state = State::new(Opening { size: screen.size()?, ..opening });
    let ended = explore(&mut screen, state, &events, &worker, &tokenize, theme);
    drop(screen);
    ended
}

/// Refuse on the command line what the first run would refuse on the screen.
fn check(spec: &crate::engine::Spec, schema: &Schema) -> Result<()> {
    Plan::resolve(&spec.edits, schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len))
        .map(drop)
        .map_err(|e| Usage(e.to_string()).into())
}

/// From a text to tokens, or why it can't be what it is meant for.
type Tokenize<'a> = dyn Fn(Purpose, &str) -> Result<Vec<Token>, String> + 'a;

/// Events to state, state to screen, until told to quit.
fn explore(
    screen: &mut Screen,
    mut state: State,
    events: &Receiver<Event>,
    worker: &Worker,
    tokenize: &Tokenize<'_>,
    theme: Theme,
) -> Result<()> {
    let size = state.size;
    let mut regions: Vec<Region> = Vec::new();
    let mut running = 0;
    // the first request is what an event that changes nothing brings about
    let mut pending = VecDeque::from([Event::Resize(size.0, size.1)]);
    loop {
        let (mut drawn_by, mut begun) = (Instant::now() + PATIENCE, false);
        while let Some(mut event) = pending.pop_front() {
            if let Event::Mouse(mouse, hit) = &mut event {
                *hit = regions.iter().find_map(|region| region.at(mouse.column, mouse.row));
            }
            for effect in update(&mut state, event) {
                match effect {
                    Effect::Post(want) => {
                        // a run that is under way is not waited for: keys are answered meanwhile
                        begun |= want.run != running;
                        running = want.run;
                        worker.post(want);
                        drawn_by = Instant::now() + PATIENCE;
                    }
                    Effect::Tokenize(purpose, text) => {
                        let tokens = tokenize(purpose, &text);
                        pending.push_back(Event::Tokenized(purpose, text, tokens));
                    }
                    Effect::Copy(text) => screen.copy(&text)?,
                    Effect::Save { path, replace } => {
                        let result = files::save(&state, theme, &path, replace);
                        pending.push_back(Event::Saved(path, result));
                    }
                    Effect::Cancel => worker.cancel(),
                    Effect::Suspend => screen.suspend()?,
                    Effect::Redraw => screen.clear()?,
                    Effect::Quit => return Ok(()),
                }
            }
            if !pending.is_empty() {
                continue;
            }
            // take what is already there, and wait a little for what was just asked for
            let soon = state.is_waiting() && (begun || state.phase == Phase::Done);
            let patience = if soon { drawn_by.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match events.recv_timeout(patience) {
                Ok(event) => pending.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        regions = screen.draw(|frame| ui::draw(frame, &state, theme))?.unwrap_or_default();
        match events.recv() {
            Ok(event) => pending.push_back(event),
            Err(_) => return Ok(()),
        }
    }
}
