use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    actions::act,
    cell, checkpoints,
    event::{Effect, Event, Purpose},
    mouse::on_mouse,
    overlay::{self, Answer},
    results,
    state::State,
    stepping,
};
use crate::{
    engine::Report,
    experiment::{Distractor, Token},
    hooks::{HookPoint, VectorDefinition, VectorName},
    keys::Action,
    views::{
        Holding, Phase, Scene, Seen, Shown, Tab,
        continuation::{OfContinuation, Progress},
        sweep::OfMap,
    },
};

/// Update `state` with `event`; returns the effects to carry out.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let before = state.scene.point();
    let mut effects = happen(state, event);
    if state.scene.point() != before {
        hook_changed(state, before);
    }
    state.settle();
    // a specification that differs from the one before is a new run
    let (spec, scene) = (state.scene.spec(), &mut state.scene);
    if matches!(scene.stops.holding, Holding::Going { .. }) && !scene.runs.wants(&scene.model, &spec) {
        // another pass, from its beginning
        scene.stops.holding = Holding::Off;
    }
    let hold = scene.stops.hold();
    scene.runs.want(&scene.model, &spec, hold.as_ref());
    effects.extend(post(state));
    effects
}

fn happen(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        // requests are posted after every event
        Event::Start => {}
        Event::Key(key) => {
            if key.kind != KeyEventKind::Release {
                return on_key(state, &key);
            }
        }
        Event::Mouse(mouse, hit) => return on_mouse(state, mouse, hit),
        Event::Paste(text) => return overlay::paste(state, &text),
        Event::Resize(width, height) => state.scene.layout.size = (width, height),
        Event::Report(report) => return on_report(state, report),
        Event::Tokenized(purpose, text, tokens) => on_tokens(state, purpose, text, tokens),
        Event::Defined(vector) => on_vector(state, vector),
        Event::Saved(path, result) => overlay::save::saved(state, path, result),
        Event::Opened(path, opened) => {
            state.opening = false;
            match opened {
                Ok(setup) => {
                    // the opened experiment stays, and is not part of a tour
                    if let Some(tour) = &mut state.tour {
                        tour.end();
                    }
                    state.set_up(*setup);
                    state.scene.say(format!("opened {}", path.display()));
                }
                Err(why) => state.scene.refuse(why),
            }
        }
        Event::Results(path, read) => {
            state.opening = false;
            match read {
                Ok(read) => results::show(state, read),
                Err(why) => state.scene.refuse(format!("{}: {why}", path.display())),
            }
        }
        Event::Loading(model) => state.scene.say(format!("loading {model} ...")),
        Event::Fetching(progress) => {
            state.scene.checkpoints.fetching.insert(progress.revision.clone(), progress);
        }
        Event::Fetched(revision, result) => checkpoints::fetched(state, &revision, result),
        Event::Checkpoints(steps) => checkpoints::listed(state, steps),
        Event::Hashed(revision, hashes) => {
            state.scene.checkpoints.hashed(revision, hashes);
        }
        Event::Travelled(step, model) => return checkpoints::travelled(state, &step, model.map(|model| *model)),
        Event::NotKept(why) => {
            state.scene.refuse(format!("this session can't be saved: {why}; write it elsewhere"));
        }
        Event::Suspend => return vec![Effect::Suspend { job: false }],
        Event::Continued => return vec![Effect::Redraw],
        Event::Quit => return vec![Effect::Quit],
    }
    vec![]
}

fn hook_changed(state: &mut State, before: HookPoint) {
    for tab in Tab::ALL {
        state.views.get_mut(*tab).hook_changed(before, &state.scene);
    }
}

/// Post what the screen needs now and has not requested yet.
fn post(state: &mut State) -> Option<Effect> {
    let want = state.want();
    let posted = Some((want.run, state.requests()));
    let runs = &state.scene.runs;
    let hopeless = matches!(runs.phase, Phase::Failed(_) | Phase::Cancelled) && runs.shown.is_none();
    let measure = want.measure && state.scene.checkpoints.asked != Some(want.run);
    if hopeless || (state.posted == posted && !measure) {
        return None;
    }
    state.posted = posted;
    state.scene.runs.stopped = false;
    if measure {
        state.scene.checkpoints.asked = Some(want.run);
    }
    Some(Effect::Post(want))
}

fn on_report(state: &mut State, report: Report) -> Vec<Effect> {
    let scene = &mut state.scene;
    let current = |scene: &Scene, run| run == scene.runs.number && scene.runs.phase != Phase::Cancelled;
    match report {
        Report::Progress { run, block, blocks } if current(scene, run) => {
            scene.runs.phase = Phase::Running { block, blocks };
        }
        Report::Ran { run, summary } if current(scene, run) => {
            let (spec, model) = (scene.spec(), scene.model.clone());
            let changes = summary.changes.iter().map(|c| (c.point, c.relative)).collect();
            let hold = scene.stops.hold();
            scene.runs.shown = Some(Shown { run, model, spec, summary, changes, hold, held: None });
            scene.runs.phase = Phase::Done;
        }
        Report::Stopped { run, stopped, so_far } if current(scene, run) => {
            return stepping::stopped(state, run, stopped, so_far);
        }
        Report::Measured { run, measured } => {
            let noted = state.noted();
            let scene = &mut state.scene;
            if let Some(shown) = scene.runs.shown.as_ref().filter(|shown| shown.run == run) {
                scene.checkpoints.visited(&shown.spec, &shown.summary, measured, noted);
                return checkpoints::continue_tour(state);
            }
        }
        Report::Saw { run, request, answer } => {
            let asked = state.requests();
            let swept = request.get::<OfMap>().is_some();
            let generated = request.get::<OfContinuation>().and_then(|_| answer.as_ref().ok()?.get::<Progress>());
            let ended = generated.filter(|progress| progress.is_done).map(|progress| progress.breakpoints.clone());
            state.scene.runs.see(Seen { run, request, answer }, &asked);
            state.count_logged();
            if swept {
                stepping::swept(state);
            }
            if let Some(breakpoints) = ended {
                stepping::generated(&mut state.scene, &breakpoints);
            }
        }
        Report::Failed { run, message } if run == scene.runs.number && scene.runs.phase != Phase::Done => {
            scene.runs.phase = Phase::Failed(message);
            scene.keep_shown();
        }
        // the run succeeded; an answer about it failed
        Report::Failed { run, message } if scene.runs.shown.as_ref().is_some_and(|shown| shown.run == run) => {
            scene.refuse(message);
        }
        // about a run that nothing waits for
        Report::Progress { .. } | Report::Ran { .. } | Report::Stopped { .. } | Report::Failed { .. } => {}
    }
    vec![]
}

fn on_tokens(state: &mut State, purpose: Purpose, text: String, tokens: Result<Vec<Token>, String>) {
    match (purpose, tokens) {
        (Purpose::Typing { contrast }, tokens) => overlay::prompt::typing(state, contrast, text, tokens),
        (_, Err(why)) => state.scene.refuse(why),
        (Purpose::Result { row, contrast }, Ok(tokens)) => results::tokens(state, row, contrast, text, tokens),
        (Purpose::Prompt, Ok(tokens)) => overlay::prompt::run(state, text, tokens),
        (Purpose::Contrast, Ok(tokens)) => overlay::prompt::run_contrast(state, text, tokens),
        (Purpose::Target, Ok(tokens)) => {
            if let Some(token) = only(&mut state.scene, "target", &text, tokens) {
                state.scene.target = Some(token);
            }
        }
        (Purpose::Distractor, Ok(tokens)) => {
            if let Some(token) = only(&mut state.scene, "distractor", &text, tokens) {
                state.scene.distractor = Distractor::Chosen(token);
            }
        }
        (Purpose::Find, Ok(tokens)) => {
            if let Some(token) = first_of(&mut state.scene, &text, &tokens) {
                state.views.logits.sought = Some(token);
                state.tab = Tab::Logits;
            }
        }
    }
}

/// Have a vector that edits can name.
fn on_vector(state: &mut State, vector: Result<(VectorName, VectorDefinition), String>) {
    let scene = &mut state.scene;
    match vector {
        Ok((name, definition)) => {
            let (source, key) = (definition.text.clone(), scene.key(Action::NewEdit));
            scene.schema.vectors_mut().define(name, definition);
            scene.say(format!("{name} is {source}; {key} writes an edit, such as `{} += 4 * {name}`", scene.point()));
        }
        Err(why) => scene.refuse(why),
    }
}

/// The only token of a text, with a message; a text of several tokens is refused.
fn only(scene: &mut Scene, what: &str, text: &str, tokens: Vec<Token>) -> Option<Token> {
    match <[Token; 1]>::try_from(tokens) {
        Ok([token]) => {
            let without_space = token.text.starts_with(char::is_alphabetic);
            let note = if without_space { ", without a leading space" } else { "" };
            scene.say(format!("the {what} is {:?}{note}", token.text));
            Some(token)
        }
        Err(tokens) => {
            let parts: Vec<String> = tokens.iter().take(8).map(|token| format!("{:?}", token.text)).collect();
            scene.refuse(format!("{text:?} is {} tokens ({}); the {what} is one token", tokens.len(), parts.join(" ")));
            None
        }
    }
}

/// The token that a text names; if there are several, the first, with a message.
fn first_of(scene: &mut Scene, text: &str, tokens: &[Token]) -> Option<Token> {
    match tokens {
        [] => scene.refuse("expected the text of a token"),
        [_] => {}
        [first, ..] => {
            scene.say(format!("{text:?} is {} tokens; this is the first, {:?}", tokens.len(), first.text));
        }
    }
    tokens.first().cloned()
}

fn on_key(state: &mut State, key: &KeyEvent) -> Vec<Effect> {
    state.scene.message = None;
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if ctrl_c {
        return vec![Effect::Quit];
    }
    let action = match state.overlay.take() {
        Some(overlay) => match overlay::key(state, overlay, key) {
            Answer::Effects(effects) => return effects,
            Answer::Act(action) => Some(action),
        },
        None => match cell::begun(state, key) {
            Some(number) => {
                cell::write(state, number);
                None
            }
            None => state.scene.keys.action(key),
        },
    };
    action.map_or_else(Vec::new, |action| act(state, action))
}
