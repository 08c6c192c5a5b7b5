use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    Action, Editor, Effect, Event, Finder, Focus, Message, Phase, Score, State, Tab,
    editing::{ablate, alter, change_edits, editor_key, line_request, time_travel},
    keymap,
    mouse::on_mouse,
    navigate::{cycle, navigate, step_block, step_hook, step_match, stepped},
    prompt,
    state::Shown,
};
use crate::{
    engine::{Report, WhichAttention},
    hooks::BlockHook,
};

/// Let `event` happen to `state`; returns what is to be done in the world.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let before = state.point();
    let mut effects = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => on_key(state, &key),
        Event::Key(_) => vec![],
        Event::Mouse(mouse) => on_mouse(state, mouse),
        Event::Paste(text) => paste(state, &text),
        Event::Resize(width, height) => {
            state.size = (width, height);
            vec![]
        }
        Event::Report(report) => {
            on_report(state, report);
            vec![]
        }
        Event::Tokenized(text, tokens) => {
            prompt::tokenized(state, text, tokens);
            vec![]
        }
        Event::Quit => vec![Effect::Quit],
    };
    if state.point() != before {
        state.scroll = 0;
        // attention follows the hook that is selected
        match state.point().block_hook() {
            Some(BlockHook::AttnScores) => state.which = WhichAttention::Scores,
            Some(BlockHook::Pattern) => state.which = WhichAttention::Pattern,
            _ => {}
        }
    }
    state.settle();
    // Ask for whatever the screen shows now and was not asked for yet.
    let want = state.want();
    let asked = Some((want.run, want.look));
    let hopeless = matches!(state.phase, Phase::Failed(_) | Phase::Cancelled) && state.shown.is_none();
    if state.asked != asked && !hopeless {
        state.asked = asked;
        effects.push(Effect::Post(want));
    }
    effects
}

fn on_report(state: &mut State, report: Report) {
    match report {
        Report::Progress { run, block, blocks } if run == state.run && state.phase != Phase::Cancelled => {
            state.phase = Phase::Running { block, blocks };
        }
        Report::Ran { run, summary } if run == state.run && state.phase != Phase::Cancelled => {
            let changes = summary.changes.iter().map(|c| (c.point, c.relative)).collect();
            state.shown = Some(Shown { run, spec: state.spec(), summary, changes });
            state.phase = Phase::Done;
        }
        Report::Saw { run, look, view } => state.seen = Some((run, look, view)),
        Report::Failed { run, message } if run == state.run => state.phase = Phase::Failed(message),
        // of a run that nobody waits for any more
        Report::Progress { .. } | Report::Ran { .. } | Report::Failed { .. } => {}
    }
}

fn on_key(state: &mut State, key: &KeyEvent) -> Vec<Effect> {
    state.message = None;
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if state.finder.is_some() && !ctrl_c {
        find_key(state, key);
        return vec![];
    }
    if state.editor.is_some() && !ctrl_c {
        editor_key(state, key);
        return vec![];
    }
    if state.prompt.is_some() && !ctrl_c {
        return prompt::key(state, key);
    }
    let Some(action) = keymap::action(key) else {
        return vec![];
    };
    if let Some(scroll) = state.help {
        state.help = match action {
            Action::Up | Action::PageUp => Some(scroll.saturating_sub(1)),
            Action::Down | Action::PageDown => Some(scroll.saturating_add(1)),
            Action::First => Some(0),
            Action::Last => Some(u16::MAX),
            Action::Quit if ctrl_c => return vec![Effect::Quit],
            _ => None,
        };
        return vec![];
    }
    act(state, action)
}

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Up
        | Action::Down
        | Action::Left
        | Action::Right
        | Action::PageUp
        | Action::PageDown
        | Action::First
        | Action::Last
        | Action::Enter => navigate(state, action),
        Action::NextHook => step_hook(state, 1),
        Action::PreviousHook => step_hook(state, -1),
        Action::NextBlock => step_block(state, 1),
        Action::PreviousBlock => step_block(state, -1),
        Action::NextHead => state.head = (state.head + 1) % state.schema.dims.n_heads,
        Action::PreviousHead => state.head = state.head.checked_sub(1).unwrap_or(state.schema.dims.n_heads - 1),
        Action::NextTab => state.tab = cycle(&Tab::ALL, state.tab, 1),
        Action::PreviousTab => state.tab = cycle(&Tab::ALL, state.tab, -1),
        Action::NextFocus => state.focus = cycle(&[Focus::Tree, Focus::View, Focus::Edits], state.focus, 1),
        Action::PreviousFocus => state.focus = cycle(&[Focus::Tree, Focus::View, Focus::Edits], state.focus, -1),
        Action::ToggleScores if state.tab == Tab::Heads => state.score = cycle(&Score::ALL, state.score, 1),
        Action::ToggleScores => {
            state.which = match state.which {
                WhichAttention::Pattern => WhichAttention::Scores,
                WhichAttention::Scores => WhichAttention::Pattern,
            };
        }
        Action::Ablate => ablate(state),
        Action::ChangeEdit if state.focus == Focus::Edits && !state.edits.is_empty() => {
            let line = state.edits[state.edit_cursor].edit.to_string();
            state.editor = Some(Editor::open(&line, Some(state.edit_cursor), state.setting()));
        }
        Action::ChangeEdit => {
            let line = state.ablation().to_string();
            state.editor = Some(Editor::open(&line, None, state.setting()));
        }
        Action::NewEdit => state.editor = Some(Editor::open("", None, state.setting())),
        Action::DeleteEdit => {
            if let Some(line) = state.edits.get(state.edit_cursor) {
                say(state, format!("deleted {}; u brings it back", line.edit));
            }
            change_edits(state, |edits, at| alter(edits, at, action));
        }
        Action::ToggleEdit | Action::More | Action::Less | Action::EditUp | Action::EditDown => {
            change_edits(state, |edits, at| alter(edits, at, action));
        }
        Action::Rerun => run_again(state),
        Action::Undo => time_travel(state, |history| (&mut history.before, &mut history.after)),
        Action::Redo => time_travel(state, |history| (&mut history.after, &mut history.before)),
        Action::Prompt => return prompt::open(state),
        Action::Find => {
            let mut finder = Finder::default();
            finder.search(&state.schema.all_points());
            state.finder = Some(finder);
        }
        Action::NextMatch => step_match(state, 1),
        Action::PreviousMatch => step_match(state, -1),
        Action::Help => state.help = Some(0),
        Action::Escape => {
            if matches!(state.phase, Phase::Running { .. }) {
                state.phase = Phase::Cancelled;
                say(state, "the run was cancelled; the screen shows the one before it".into());
                return vec![Effect::Cancel];
            }
            state.focus = Focus::Tree;
        }
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Quit => return vec![Effect::Quit],
    }
    vec![]
}

pub(super) fn say(state: &mut State, text: String) {
    state.message = Some(Message { text, error: false });
}

pub(super) fn refuse(state: &mut State, text: String) {
    state.message = Some(Message { text, error: true });
}

/// The edits changed: what is on the screen is of the run before until the new one is done.
pub(super) fn run_again(state: &mut State) {
    state.run += 1;
    state.phase = Phase::Running { block: 0, blocks: 0 };
}

fn find_key(state: &mut State, key: &KeyEvent) {
    let Some(finder) = &mut state.finder else { return };
    let request = match key.code {
        KeyCode::Esc => {
            state.finder = None;
            return;
        }
        KeyCode::Enter => {
            let chosen = finder.chosen();
            let mut found = finder.matches.clone();
            found.sort_unstable();
            let query = finder.input.value().to_string();
            state.finder = None;
            match chosen {
                Some(point) => {
                    state.found = found;
                    state.tree.reveal(point);
                }
                None => refuse(state, format!("no hook matches `{query}`")),
            }
            return;
        }
        KeyCode::Up => {
            finder.cursor = stepped(finder.cursor, -1, finder.matches.len());
            return;
        }
        KeyCode::Down | KeyCode::Tab => {
            finder.cursor = stepped(finder.cursor, 1, finder.matches.len());
            return;
        }
        _ => match line_request(key) {
            Some(request) => request,
            None => return,
        },
    };
    let changed = finder.input.handle(request).is_some_and(|change| change.value);
    if changed {
        finder.search(&state.schema.all_points());
    }
}

/// Pasted text goes into the line that is open; into an edit or a search, one line of it.
fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    if state.prompt.is_some() {
        return prompt::paste(state, text);
    }
    for c in text.chars().take_while(|c| *c != '\n' && *c != '\r').filter(|c| !c.is_control()) {
        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        if state.editor.is_some() {
            editor_key(state, &key);
        } else if state.finder.is_some() {
            find_key(state, &key);
        }
    }
    vec![]
}
