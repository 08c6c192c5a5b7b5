use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    Action, Effect, Event, Message, Overlay, Phase, Purpose, State, Tab,
    actions::act,
    command,
    editing::{editor_key, editor_paste},
    finder,
    mouse::on_mouse,
    prompt, save,
    state::Shown,
    training,
};
use crate::{
    engine::{Report, View, WhichAttention},
    experiment::{Distractor, Token},
    hooks::BlockHook,
};

/// Let `event` happen to `state`; returns what is to be done in the world.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let before = state.point();
    let mut effects = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => on_key(state, &key),
        Event::Key(_) => vec![],
        Event::Mouse(mouse, hit) => on_mouse(state, mouse, hit),
        Event::Paste(text) => paste(state, &text),
        Event::Resize(width, height) => {
            state.size = (width, height);
            vec![]
        }
        Event::Report(report) => on_report(state, report),
        Event::Tokenized(purpose, text, tokens) => {
            on_tokens(state, purpose, text, tokens);
            vec![]
        }
        Event::Saved(path, result) => {
            save::saved(state, path, result);
            vec![]
        }
        Event::Opened(path, opened) => {
            state.opening = false;
            match opened {
                Ok(setup) => {
                    state.set_up(*setup);
                    say(state, format!("opened {}", path.display()));
                }
                Err(why) => refuse(state, why),
            }
            vec![]
        }
        Event::Loading(model) => {
            say(state, format!("loading {model} ..."));
            vec![]
        }
        Event::Fetching(progress) => {
            state.training.fetching.insert(progress.revision.clone(), progress);
            vec![]
        }
        Event::Fetched(revision, result) => {
            training::fetched(state, &revision, result);
            vec![]
        }
        Event::Checkpoints(steps) => {
            training::listed(state, steps);
            vec![]
        }
        Event::Travelled(step, model) => training::travelled(state, &step, model.map(|model| *model)),
        Event::NotKept(why) => {
            refuse(state, format!("this session can't be kept: {why}; write it elsewhere"));
            vec![]
        }
        Event::Suspend => vec![Effect::Suspend { job: false }],
        Event::Continued => vec![Effect::Redraw],
        Event::Quit => vec![Effect::Quit],
    };
    if state.point() != before {
        state.scroll = 0;
    }
    // another hook, not the same one of another block
    if state.point().short_name() != before.short_name() {
        (state.looks.pair, state.looks.order) = (0, None);
        // attention follows the hook that is selected
        match state.point().block_hook() {
            Some(BlockHook::AttnScores) => state.looks.which = WhichAttention::Scores,
            Some(BlockHook::Pattern) => state.looks.which = WhichAttention::Pattern,
            _ => {}
        }
    }
    state.settle();
    // Ask for whatever the screen shows now and was not asked for yet.
    let want = state.want();
    let asked = Some((want.run, want.look));
    let hopeless = matches!(state.phase, Phase::Failed(_) | Phase::Cancelled) && state.shown.is_none();
    let measure = want.measure && state.training.asked != Some(want.run);
    if (state.asked != asked || measure) && !hopeless {
        state.asked = asked;
        if measure {
            state.training.asked = Some(want.run);
        }
        effects.push(Effect::Post(want));
    }
    effects
}

fn on_report(state: &mut State, report: Report) -> Vec<Effect> {
    match report {
        Report::Progress { run, block, blocks } if run == state.run && state.phase != Phase::Cancelled => {
            state.phase = Phase::Running { block, blocks };
        }
        Report::Ran { run, summary } if run == state.run && state.phase != Phase::Cancelled => {
            let spec = state.spec();
            let changes = summary.changes.iter().map(|c| (c.point, c.relative)).collect();
            state.shown = Some(Shown { run, model: state.model.clone(), spec, summary, changes });
            state.phase = Phase::Done;
        }
        Report::Measured { run, measured } => {
            if let Some(shown) = state.shown.as_ref().filter(|shown| shown.run == run) {
                state.training.visited(&shown.spec, &shown.summary, measured);
                return training::go_on(state);
            }
        }
        Report::Saw { run, look, view } => {
            if let View::Logits { top, .. } = &*view {
                state.logits_row = state.logits_row.min(top.len().saturating_sub(1));
            }
            state.seen = Some((run, look, view));
        }
        Report::Failed { run, message } if run == state.run && state.phase != Phase::Done => {
            state.phase = Phase::Failed(message);
            keep_shown(state);
        }
        // the run is there; what broke is a look at it
        Report::Failed { run, message } if state.shown.as_ref().is_some_and(|shown| shown.run == run) => {
            refuse(state, message);
        }
        // of a run that nobody waits for any more
        Report::Progress { .. } | Report::Ran { .. } | Report::Failed { .. } => {}
    }
    vec![]
}

/// The hooks that are on are again those of the run on the screen.
pub(super) fn keep_shown(state: &mut State) {
    // what is left of another checkpoint is not to be taken for one of this
    if state.shown.as_ref().is_some_and(|shown| shown.model != state.model) {
        (state.shown, state.seen) = (None, None);
    }
    if let Some(shown) = &state.shown {
        state.schema.set_enabled(shown.spec.enabled.clone());
    }
}

fn on_tokens(state: &mut State, purpose: Purpose, text: String, tokens: Result<Vec<Token>, String>) {
    match (purpose, tokens) {
        (Purpose::Typing { contrast }, tokens) => prompt::typing(state, contrast, text, tokens),
        (_, Err(why)) => refuse(state, why),
        (Purpose::Prompt, Ok(tokens)) => prompt::run(state, text, tokens),
        (Purpose::Contrast, Ok(tokens)) => prompt::run_contrast(state, text, tokens),
        (Purpose::Target, Ok(tokens)) => {
            if let Some(token) = first_of(state, &text, &tokens) {
                state.target = Some(token);
            }
        }
        (Purpose::Distractor, Ok(tokens)) => {
            if let Some(token) = first_of(state, &text, &tokens) {
                state.distractor = Distractor::Chosen(token);
            }
        }
        (Purpose::Find, Ok(tokens)) => {
            if let Some(token) = first_of(state, &text, &tokens) {
                (state.sought, state.tab) = (Some(token), Tab::Logits);
            }
        }
    }
}

/// The token that a text names; of several the first, and that is said.
fn first_of(state: &mut State, text: &str, tokens: &[Token]) -> Option<Token> {
    match tokens {
        [] => refuse(state, "expected the text of a token".into()),
        [_] => {}
        [first, ..] => {
            say(state, format!("{text:?} is {} tokens; this is the first, {:?}", tokens.len(), first.text));
        }
    }
    tokens.first().cloned()
}

fn on_key(state: &mut State, key: &KeyEvent) -> Vec<Effect> {
    state.message = None;
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if ctrl_c {
        return vec![Effect::Quit];
    }
    match state.overlay.take() {
        None => {}
        Some(Overlay::Find(finder)) => {
            finder::key(state, finder, key);
            return vec![];
        }
        Some(Overlay::Edit(editor)) => {
            editor_key(state, editor, key);
            return vec![];
        }
        Some(Overlay::Prompt(open)) => return prompt::key(state, open, key),
        Some(Overlay::Command(line)) => return command::key(state, line, key),
        Some(Overlay::Save(line)) => return save::key(state, line, key),
        Some(Overlay::Help(scroll)) => {
            let scroll = match state.keys.action(key) {
                Some(Action::Up | Action::PageUp) => Some(scroll.saturating_sub(1)),
                Some(Action::Down | Action::PageDown) => Some(scroll.saturating_add(1)),
                Some(Action::First) => Some(0),
                Some(Action::Last) => Some(u16::MAX),
                _ => None,
            };
            state.overlay = scroll.map(Overlay::Help);
            return vec![];
        }
    }
    match state.keys.action(key) {
        Some(action) => act(state, action),
        None => vec![],
    }
}

pub(super) fn say(state: &mut State, text: String) {
    state.message = Some(Message { text, error: false });
}

pub(super) fn refuse(state: &mut State, text: String) {
    state.message = Some(Message { text, error: true });
}

/// What is to be run changed: what is on the screen is of the run before until the new one is done.
pub(super) fn run_again(state: &mut State) {
    state.run += 1;
    state.phase = Phase::Running { block: 0, blocks: 0 };
}

/// Pasted text goes into the line that is open; where it is not the prompt, one line of it.
fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let overlay = state.overlay.take();
    let line =
        || -> String { text.chars().take_while(|c| !matches!(c, '\n' | '\r')).filter(|c| !c.is_control()).collect() };
    if overlay.is_some() {
        state.message = None;
    }
    match overlay {
        Some(Overlay::Prompt(open)) => return prompt::paste(state, open, text),
        Some(Overlay::Find(finder)) => finder::paste(state, finder, &line()),
        Some(Overlay::Edit(editor)) => editor_paste(state, editor, &line()),
        Some(Overlay::Command(open)) => command::paste(state, open, &line()),
        Some(Overlay::Save(open)) => save::paste(state, open, &line()),
        none @ (None | Some(Overlay::Help(_))) => state.overlay = none,
    }
    vec![]
}
