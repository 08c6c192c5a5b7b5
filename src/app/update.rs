use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    Action, Distractor, Editor, Effect, Event, Extent, Finder, Focus, LensBy, Message, Overlay, Phase, Purpose, Score,
    State, Tab, Token, command,
    editing::{ablate, alter, change_edits, editor_key, time_travel},
    finder,
    mouse::on_mouse,
    navigate::{cycle, navigate, step_block, step_head, step_hook, step_match, to_extreme},
    prompt, save,
    state::Shown,
};
use crate::{
    engine::{Compare, Report, View, WhichAttention},
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
        Event::Report(report) => {
            on_report(state, report);
            vec![]
        }
        Event::Tokenized(purpose, text, tokens) => {
            on_tokens(state, purpose, text, tokens);
            vec![]
        }
        Event::Saved(path, result) => {
            save::saved(state, path, result);
            vec![]
        }
        Event::Quit => vec![Effect::Quit],
    };
    if state.point() != before {
        state.scroll = 0;
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
        Report::Saw { run, look, view } => {
            if let View::Logits { top, .. } = &*view {
                state.logits_row = state.logits_row.min(top.len().saturating_sub(1));
            }
            state.seen = Some((run, look, view));
        }
        Report::Failed { run, message } if run == state.run => state.phase = Phase::Failed(message),
        // of a run that nobody waits for any more
        Report::Progress { .. } | Report::Ran { .. } | Report::Failed { .. } => {}
    }
}

fn on_tokens(state: &mut State, purpose: Purpose, text: String, tokens: Result<Vec<Token>, String>) {
    if matches!(purpose, Purpose::Prompt | Purpose::Contrast) {
        return prompt::tokenized(state, purpose, text, tokens);
    }
    let first = match tokens {
        Ok(tokens) if tokens.len() > 1 => {
            let first = tokens[0].clone();
            say(state, format!("{text:?} is {} tokens; this is the first, {:?}", tokens.len(), first.text));
            first
        }
        Ok(tokens) => match tokens.into_iter().next() {
            Some(token) => token,
            None => return refuse(state, "expected the text of a token".into()),
        },
        Err(why) => return refuse(state, why),
    };
    match purpose {
        Purpose::Target => state.target = Some(first),
        Purpose::Distractor => state.distractor = Distractor::Chosen(first),
        _ => {
            state.sought = Some(first);
            state.tab = Tab::Logits;
        }
    }
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

/// Carry out an action, whether a key asked for it or the command line.
pub(super) fn act(state: &mut State, action: Action) -> Vec<Effect> {
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
        Action::NextHead => step_head(state, 1),
        Action::PreviousHead => step_head(state, -1),
        Action::Find => {
            let mut finder = Finder::default();
            finder.search(&state.schema.all_points());
            state.overlay = Some(Overlay::Find(finder));
        }
        Action::NextMatch => step_match(state, 1),
        Action::PreviousMatch => step_match(state, -1),
        Action::Face => {
            let point = state.point();
            std::mem::swap(&mut state.tree, &mut state.other_tree);
            state.hf = !state.hf;
            state.tree.reveal(point);
        }
        Action::Enable => command::toggle_opt_in(state),

        Action::NextTab => state.tab = cycle(&Tab::ALL, state.tab, 1),
        Action::PreviousTab => state.tab = cycle(&Tab::ALL, state.tab, -1),
        Action::View(number) => state.tab = command::view(number),
        Action::NextFocus => state.focus = cycle(&[Focus::Tree, Focus::View, Focus::Edits], state.focus, 1),
        Action::PreviousFocus => state.focus = cycle(&[Focus::Tree, Focus::View, Focus::Edits], state.focus, -1),
        Action::Maximise => state.maximised = !state.maximised,
        Action::Narrower | Action::Wider => {
            let now = state.areas().tree.width;
            if now > 0 && !state.maximised {
                state.split = Some(if action == Action::Wider { now + 4 } else { now.saturating_sub(4) });
            }
        }
        Action::Switch => switch(state),
        Action::Layout => lay_out(state),
        Action::Compare => {
            state.looks.compare = cycle(&Compare::ALL, state.looks.compare, 1);
            if state.active_edits().is_empty() {
                say(state, "without edits there is only the baseline".into());
            }
        }
        Action::Extreme => to_extreme(state),
        Action::Order if state.tab == Tab::Values => {
            let row = state.index(state.slice().rows);
            state.looks.order = if state.looks.order == Some(row) { None } else { Some(row) };
        }
        Action::Order => refuse(state, "the columns of Values are put in order".into()),
        Action::Target | Action::Distractor => choose_answer(state, action),
        Action::FindToken => command::find_token(state),

        Action::Append => prompt::append(state),
        Action::TakeBack => prompt::take_back(state),
        Action::Prompt => return prompt::open(state, 0),
        Action::Contrast => return prompt::open(state, 1),

        Action::Ablate => ablate(state),
        Action::ChangeEdit if state.focus == Focus::Edits && !state.edits.is_empty() => {
            let line = state.edits[state.edit_cursor].edit.to_string();
            let editor = Editor::open(&line, Some(state.edit_cursor), state.setting());
            state.overlay = Some(Overlay::Edit(editor));
        }
        Action::ChangeEdit | Action::NewEdit => {
            let line = if action == Action::NewEdit { String::new() } else { state.ablation().to_string() };
            let editor = Editor::open(&line, None, state.setting());
            state.overlay = Some(Overlay::Edit(editor));
        }
        Action::DeleteEdit => {
            if let Some(line) = state.edits.get(state.edit_cursor) {
                say(state, format!("deleted {}; {} brings it back", line.edit, state.keys.key(Action::Undo)));
            }
            change_edits(state, |edits, at| alter(edits, at, action));
        }
        Action::ToggleEdit | Action::More | Action::Less | Action::EditUp | Action::EditDown => {
            change_edits(state, |edits, at| alter(edits, at, action));
        }
        Action::Rerun => run_again(state),
        Action::Undo => time_travel(state, |history| (&mut history.before, &mut history.after)),
        Action::Redo => time_travel(state, |history| (&mut history.after, &mut history.before)),

        Action::Copy => return copy(state, state.under_cursor(), state.under_cursor()),
        Action::CopyTable => match state.table().filter(|table| !table.rows.is_empty()) {
            Some(table) => {
                let what = format!("{} rows of {}", table.rows.len(), state.table_name());
                return copy(state, table.tab_separated(), what);
            }
            None => refuse(state, "this view has no table to copy".into()),
        },
        Action::Save => save::open(state),
        Action::Command => command::open(state, ""),
        Action::Help => state.overlay = Some(Overlay::Help(0)),
        Action::Escape => {
            if matches!(state.phase, Phase::Running { .. }) {
                state.phase = Phase::Cancelled;
                say(state, "the run was cancelled; the screen shows the one before it".into());
                return vec![Effect::Cancel];
            }
            if state.maximised {
                state.maximised = false;
            } else {
                state.focus = Focus::Tree;
            }
        }
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Quit => return vec![Effect::Quit],
    }
    vec![]
}

/// As much as terminals take from a program to the clipboard, in bytes; xterm's limit is the lowest.
const CLIPBOARD: usize = 74_000;

fn copy(state: &mut State, text: String, what: String) -> Vec<Effect> {
    if text.len() > CLIPBOARD {
        let save = state.keys.key(Action::Save);
        refuse(state, format!("{} bytes are more than terminals take to the clipboard; {save} saves them", text.len()));
        return vec![];
    }
    say(state, format!("copied {what}"));
    vec![Effect::Copy(text)]
}

/// What the view shows.
fn switch(state: &mut State) {
    let looks = &mut state.looks;
    match state.tab {
        Tab::Attention => looks.which = cycle(&WhichAttention::ALL, looks.which, 1),
        Tab::Heads => looks.score = cycle(&Score::ALL, looks.score, 1),
        Tab::Lens => {
            looks.lens_by = if looks.lens_by == LensBy::Kl { LensBy::Probability } else { LensBy::Kl };
        }
        Tab::Values => {
            let pairs = super::views::pairs(&state.schema.axes(state.tree.point())).len();
            looks.pair = (looks.pair + 1) % pairs.max(1);
            looks.order = None;
            if pairs == 1 {
                say(state, "this activation has no other two axes".into());
            }
        }
        Tab::Shape | Tab::Logits | Tab::Attribution => say(state, "this view shows one thing only".into()),
    }
}

/// How the view shows it.
fn lay_out(state: &mut State) {
    let looks = &mut state.looks;
    match state.tab {
        Tab::Attention => looks.extent = cycle(&Extent::ALL, looks.extent, 1),
        Tab::Values => looks.colours = !looks.colours,
        Tab::Attribution => looks.map = !looks.map,
        Tab::Shape | Tab::Logits | Tab::Lens | Tab::Heads => say(state, "this view has one layout only".into()),
    }
}

/// Make the token under the cursor the target or the distractor of the logit difference.
fn choose_answer(state: &mut State, action: Action) {
    let Some(token) = state.token_under_cursor() else {
        return refuse(state, "a token of Logits or Lens is chosen; `:target TOKEN` names any other".into());
    };
    if action == Action::Target {
        say(state, format!("the target is {:?}", token.text));
        state.target = Some(token);
    } else if state.distractor == Distractor::Chosen(token.clone()) {
        state.distractor = Distractor::None;
        say(state, "the target's logit alone".into());
    } else {
        say(state, format!("the distractor is {:?}", token.text));
        state.distractor = Distractor::Chosen(token);
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
    if let Some(Overlay::Prompt(open)) = state.overlay.take_if(|overlay| matches!(overlay, Overlay::Prompt(_))) {
        return prompt::paste(state, open, text);
    }
    let mut effects = vec![];
    for c in text.chars().take_while(|c| *c != '\n' && *c != '\r').filter(|c| !c.is_control()) {
        if matches!(state.overlay, None | Some(Overlay::Help(_))) {
            break;
        }
        effects.extend(on_key(state, &KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    }
    effects
}
