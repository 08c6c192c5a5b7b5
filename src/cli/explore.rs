use std::{
    collections::VecDeque,
    io::IsTerminal,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Usage, args::ExploreArgs, prompt};
use crate::{
    app::{Effect, Event, ModelInfo, State, Token, update},
    engine::{Live, Worker},
    hooks::{Plan, Schema},
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
    let (loaded, note) = prompt::load_or_demo(&args.model)?;
    let mut prompt_args = args.prompt.clone();
    if prompt_args.prompt.is_none() && prompt_args.tokens.is_none() {
        prompt_args.prompt = Some(PROMPT.into());
    }
    let tokens = prompt::tokens(&loaded, &prompt_args)?;
    let spec = prompt::spec(&loaded, tokens, prompt_args.prepend_bos, &args.edits)?;
    let engine = prompt::engine(loaded, &prompt_args)?;
    check(&spec, &engine.schema)?;

    let loaded = &engine.loaded;
    let model = ModelInfo {
        name: loaded.name.clone(),
        revision: loaded.revision.clone(),
        processing: loaded.model.processing.name(),
        folded: loaded.model.processing.is_folded(),
        device: "cpu f32".into(),
        note,
    };
    let (tokenizer, config) = (loaded.tokenizer.clone(), loaded.model.config.clone());
    let named =
        move |ids: &[u32]| -> Vec<Token> { ids.iter().map(|&id| Token { id, text: tokenizer.token(id) }).collect() };
    let tokenizer = loaded.tokenizer.clone();
    let prepend_bos = prompt_args.prepend_bos;
    let text = prompt_args.prompt.clone().unwrap_or_else(|| tokenizer.decode(&spec.tokens));
    let tokens = named(&spec.tokens);
    let tokenize = |text: &str| -> Result<Vec<Token>, String> {
        let ids = tokenizer.encode(text).and_then(|ids| prompt::checked(ids, &config, prepend_bos));
        ids.map(|ids| named(&ids)).map_err(|e| e.to_string())
    };
    let theme = Theme { depth: args.color.depth(), ascii: args.ascii };
    let schema = engine.schema.clone();

    let (sender, events) = mpsc::channel();
    let reports = sender.clone();
    let worker = Worker::start(Live::new(engine), move |report| {
        // the screen is gone when nobody receives any more
        let _ = reports.send(Event::Report(report));
    })
    .context("starting the worker")?;
    let mut screen = Screen::take().context("taking the terminal")?;
    term::listen(&sender).context("listening to the terminal")?;
    let state = State::new(model, schema, text, tokens, &spec, screen.size()?);
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

/// Events to state, state to screen, until told to quit.
fn explore(
    screen: &mut Screen,
    mut state: State,
    events: &Receiver<Event>,
    worker: &Worker,
    tokenize: &dyn Fn(&str) -> Result<Vec<Token>, String>,
    theme: Theme,
) -> Result<()> {
    let size = state.size;
    // the first request is what an event that changes nothing brings about
    let mut pending = VecDeque::from([Event::Resize(size.0, size.1)]);
    loop {
        let mut drawn_by = Instant::now() + PATIENCE;
        while let Some(event) = pending.pop_front() {
            for effect in update(&mut state, event) {
                match effect {
                    Effect::Post(want) => {
                        worker.post(want);
                        drawn_by = Instant::now() + PATIENCE;
                    }
                    Effect::Tokenize(text) => {
                        let tokens = tokenize(&text);
                        pending.push_back(Event::Tokenized(text, tokens));
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
            let patience =
                if state.is_waiting() { drawn_by.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match events.recv_timeout(patience) {
                Ok(event) => pending.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        screen.draw(|frame| ui::draw(frame, &state, theme))?;
        match events.recv() {
            Ok(event) => pending.push_back(event),
            Err(_) => return Ok(()),
        }
    }
}
