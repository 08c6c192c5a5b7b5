use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{
    Action, Editor, Effect, Event, Finder, Focus, Message, Node, Phase, Score, State, Tab,
    editing::{ablate, alter, change_edits, editor_key, line_request, time_travel},
    keymap, prompt,
    state::Shown,
};
use crate::{
    engine::{Report, WhichAttention},
    hooks::{BlockHook, HookPoint},
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

/// Rows of the list of next tokens that can be scrolled to the top.
const LOGITS: usize = 100;

/// As far as the shape view's text scrolls; in any panel wide enough to read, that is all of it.
const SCROLL: u16 = 12;

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

fn cycle<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0);
    all[(at + all.len()).wrapping_add_signed(by) % all.len()]
}

/// `by` further, within `0..n`.
fn stepped(at: usize, by: isize, n: usize) -> usize {
    at.saturating_add_signed(by).min(n.saturating_sub(1))
}

fn navigate(state: &mut State, action: Action) {
    let page = isize::try_from(state.areas().tree_height().max(2) / 2).unwrap_or(1);
    match state.focus {
        Focus::Tree => match action {
            Action::Left => state.tree.fold(),
            Action::Right => state.tree.unfold(),
            Action::Enter => match state.tree.selected() {
                Node::Group(_) => state.tree.toggle(),
                Node::Hook(_) => state.focus = Focus::View,
            },
            _ => {
                let (cursor, n) = (state.tree.cursor(), state.tree.rows().len());
                state.tree.select_row(moved(cursor, action, page, n));
            }
        },
        Focus::View if state.tab == Tab::Shape => {
            state.scroll = match action {
                Action::Up | Action::PageUp => state.scroll.saturating_sub(1),
                Action::Down | Action::PageDown => (state.scroll + 1).min(SCROLL),
                Action::First => 0,
                Action::Last => SCROLL,
                _ => state.scroll,
            };
        }
        Focus::View if state.tab == Tab::Heads => match action {
            Action::Up => select_block(state, -1),
            Action::Down => select_block(state, 1),
            Action::Left => state.head = stepped(state.head, -1, state.schema.dims.n_heads),
            Action::Right => state.head = stepped(state.head, 1, state.schema.dims.n_heads),
            Action::Enter => state.tab = Tab::Attention,
            _ => {}
        },
        Focus::View if state.tab == Tab::Lens => {
            let (query, n) = (state.cell.0, state.tokens.len());
            match action {
                Action::Left => state.cell.0 = stepped(query, -1, n),
                Action::Right => state.cell.0 = stepped(query, 1, n),
                _ => state.lens_layer = moved(state.lens_layer, action, page, state.schema.dims.n_layers + 1),
            }
        }
        Focus::View if state.tab == Tab::Logits => {
            let n = state.tokens.len();
            match action {
                Action::Left => state.cell.0 = stepped(state.cell.0, -1, n),
                Action::Right => state.cell.0 = stepped(state.cell.0, 1, n),
                _ => state.logits_row = moved(state.logits_row, action, page, LOGITS),
            }
        }
        Focus::View => {
            let n = state.tokens.len();
            let (query, key) = state.cell;
            state.cell = match action {
                Action::Left => (query, stepped(key, -1, n)),
                Action::Right => (query, stepped(key, 1, n)),
                Action::Enter => (query, key),
                _ => (moved(query, action, page, n), key),
            };
        }
        Focus::Edits => state.edit_cursor = moved(state.edit_cursor, action, page, state.edits.len()),
    }
}

fn moved(at: usize, action: Action, page: isize, n: usize) -> usize {
    match action {
        Action::Up => stepped(at, -1, n),
        Action::Down => stepped(at, 1, n),
        Action::PageUp => stepped(at, -page, n),
        Action::PageDown => stepped(at, page, n),
        Action::First => 0,
        Action::Last => n.saturating_sub(1),
        _ => at,
    }
}

fn step_hook(state: &mut State, by: isize) {
    let points = state.schema.points();
    let here = state.point();
    let next = match points.iter().position(|p| *p == here) {
        // a group stands for its result, but one steps into it from its beginning
        Some(at) => stepped(at, by, points.len()),
        None if by > 0 => points.iter().position(|p| *p > here).unwrap_or(points.len() - 1),
        None => points.iter().rposition(|p| *p < here).unwrap_or(0),
    };
    state.tree.reveal(points[next]);
}

fn step_block(state: &mut State, by: isize) {
    let last = state.schema.dims.n_layers.saturating_sub(1);
    let next = match (state.point(), by > 0) {
        (HookPoint::Tokens | HookPoint::Embed, true) => HookPoint::Block(0, BlockHook::ResidPre),
        (HookPoint::LnFinalScale | HookPoint::LnFinalNormalized, false) => HookPoint::Block(last, BlockHook::ResidPost),
        (point @ HookPoint::Block(block, _), _) => point.in_block(stepped(block, by, last + 1)),
        (point, _) => point,
    };
    state.tree.reveal(next);
}

/// The next or previous row of a map of blocks; the hook stays the same where there is one.
fn select_block(state: &mut State, by: isize) {
    let block = stepped(state.block(), by, state.schema.dims.n_layers);
    let hook = state.point().block_hook().unwrap_or(BlockHook::Z);
    state.tree.reveal(HookPoint::Block(block, hook));
}

fn step_match(state: &mut State, by: isize) {
    if state.found.is_empty() {
        return refuse(state, "nothing was searched for yet; / finds a hook".into());
    }
    let here = state.point();
    let n = state.found.len();
    let next = match state.found.iter().position(|p| *p == here) {
        Some(at) => (at + n).wrapping_add_signed(by) % n,
        None if by > 0 => state.found.iter().position(|p| *p > here).unwrap_or(0),
        None => state.found.iter().rposition(|p| *p < here).unwrap_or(n - 1),
    };
    state.tree.reveal(state.found[next]);
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

/// Pasted text goes into the line that is open, one line of it.
fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for c in text.chars().take_while(|c| *c != '\n' && *c != '\r').filter(|c| !c.is_control()) {
        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        if state.editor.is_some() {
            editor_key(state, &key);
        } else if state.finder.is_some() {
            find_key(state, &key);
        } else if state.prompt.is_some() {
            // only the whole text's tokens are of interest
            effects = prompt::key(state, &key);
        }
    }
    effects
}

fn on_mouse(state: &mut State, mouse: MouseEvent) -> Vec<Effect> {
    if state.finder.is_some() || state.editor.is_some() || state.prompt.is_some() || state.help.is_some() {
        return vec![];
    }
    let areas = state.areas();
    let at = Position::new(mouse.column, mouse.row);
    let inner_row = |area: Rect| {
        let inside = area.inner(ratatui::layout::Margin::new(1, 1)).contains(at);
        inside.then(|| usize::from(at.y - area.y - 1))
    };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            if let Some(row) = inner_row(areas.tree) {
                state.focus = Focus::Tree;
                let row = row + state.tree.offset;
                if row < state.tree.rows().len() {
                    let again = state.tree.cursor() == row;
                    state.tree.select_row(row);
                    if again || matches!(state.tree.selected(), Node::Group(_)) {
                        state.tree.toggle();
                    }
                }
            } else if areas.view.contains(at) {
                state.focus = Focus::View;
                if at.y == areas.view.y {
                    select_tab(state, at.x.saturating_sub(areas.view.x));
                }
            } else if areas.edits.contains(at) {
                state.focus = Focus::Edits;
                let row = inner_row(areas.edits).map(|row| row / areas.rows_per_edit() + state.visible_edits().start);
                if let Some(row) = row.filter(|row| *row < state.edits.len()) {
                    state.edit_cursor = row;
                    // on the box itself
                    if at.x <= areas.edits.x + 3 {
                        change_edits(state, |edits, at| alter(edits, at, Action::ToggleEdit));
                    }
                }
            }
            vec![]
        }
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            let action = if mouse.kind == MouseEventKind::ScrollDown { Action::Down } else { Action::Up };
            let before = state.focus;
            state.focus = if areas.tree.contains(at) {
                Focus::Tree
            } else if areas.edits.contains(at) {
                Focus::Edits
            } else {
                Focus::View
            };
            navigate(state, action);
            state.focus = before;
            vec![]
        }
        _ => vec![],
    }
}

/// The tab whose title lies at `column` of the view's border: titles are apart by two columns, from the third on.
fn select_tab(state: &mut State, column: u16) {
    let mut from = 2;
    for tab in Tab::ALL {
        let to = from + u16::try_from(tab.title().len()).unwrap_or(0);
        if (from..to).contains(&column) {
            state.tab = tab;
        }
        from = to + 2;
    }
}
