//! What each action does, whether a key asked for it or the command line.

use super::{
    Action, Editor, Effect, Extent, Finder, Focus, LensBy, Overlay, Phase, State, Tab, command,
    editing::{ablate, alter, change_edits, time_travel},
    navigate::{cycle, navigate, step_block, step_head, step_hook, step_match, to_extreme},
    prompt, quantity, save, training,
    update::{keep_shown, refuse, run_again, say},
    views::maps,
};
use crate::{
    analysis::Score,
    engine::{Compare, Metric, View, WhichAttention},
    experiment::Distractor,
};

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
        | Action::Enter => return navigate(state, action),
        Action::NextHook => step_hook(state, 1),
        Action::PreviousHook => step_hook(state, -1),
        Action::NextBlock => step_block(state, 1),
        Action::PreviousBlock => step_block(state, -1),
        Action::Tour => return training::tour(state),
        Action::NextCheckpoint => return training::step_checkpoint(state, 1),
        Action::PreviousCheckpoint => return training::step_checkpoint(state, -1),
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

        Action::FindToken => command::find_token(state),
        Action::Append => prompt::append(state),
        Action::TakeBack => prompt::take_back(state),
        Action::Prompt => prompt::open(state, 0),
        Action::Contrast => prompt::open(state, 1),

        Action::Copy => {
            let text = state.under_cursor();
            return copy(state, text.clone(), &text);
        }
        Action::CopyTable => match state.table().filter(|table| !table.rows.is_empty()) {
            Some(table) => {
                let what = format!("{} rows of {}", table.rows.len(), state.table_name());
                return copy(state, table.tab_separated(), &what);
            }
            None => refuse(state, "this view has no table to copy".into()),
        },
        Action::Save => save::open(state, "svg"),
        Action::Write => save::open(state, "toml"),
        Action::Export => save::open(state, "py"),
        Action::Open => {
            let path = state.offer.as_ref().map_or_else(String::new, |offer| offer.path.display().to_string());
            command::open(state, &format!("open {path}"));
        }
        Action::Command => command::open(state, ""),
        Action::Help => state.overlay = Some(Overlay::Help(0)),
        Action::Escape => {
            if matches!(state.phase, Phase::Running { .. }) {
                state.phase = Phase::Cancelled;
                keep_shown(state);
                say(state, "the run was cancelled; the screen shows the one before it".into());
                return vec![Effect::Cancel];
            }
            if std::mem::take(&mut state.opening) {
                say(state, "the experiment is not opened".into());
                return vec![Effect::Abandon];
            }
            if state.training.stay() {
                say(state, "staying here; what is fetched is kept".into());
                return vec![Effect::Stay];
            }
            if let Some(View::Sweep(filling)) = state.view()
                && filling.is_filling()
            {
                let again = state.keys.key(Action::Rerun);
                say(state, format!("the sweep was stopped where it is; {again} goes on"));
                return vec![Effect::Cancel];
            }
            if state.maximised {
                state.maximised = false;
            } else {
                state.focus = Focus::Tree;
            }
        }
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return vec![Effect::Suspend { job: true }],
        Action::Quit => return vec![Effect::Quit],
        _ if act_on_view(state, action) => {}
        _ => act_on_edits(state, action),
    }
    vec![]
}

/// What is shown, and where; whether the action is of that kind.
fn act_on_view(state: &mut State, action: Action) -> bool {
    match action {
        Action::NextTab => state.tab = cycle(&Tab::ALL, state.tab, 1),
        Action::PreviousTab => state.tab = cycle(&Tab::ALL, state.tab, -1),
        Action::View(number) => state.tab = *Tab::ALL.get(number).unwrap_or(&state.tab),
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
            if state.active_edits().is_empty() {
                say(state, "without edits there is nothing to compare".into());
            } else if state.tab == Tab::Training {
                say(state, "the edited run and the baseline are both drawn here".into());
            } else {
                state.looks.compare = cycle(&Compare::ALL, state.looks.compare, 1);
            }
        }
        Action::Extreme => to_extreme(state),
        Action::Order if state.tab == Tab::Values => {
            let row = state.index(state.slice().rows);
            state.looks.order = if state.looks.order == Some(row) { None } else { Some(row) };
            // to the largest, which is what one asked for
            if let Some(first) = state.column_order().and_then(|order| order.first().copied()) {
                state.set_index(state.slice().columns, first);
            }
        }
        Action::Order => refuse(state, "the columns of Values are put in order".into()),
        Action::Target | Action::Distractor => choose_answer(state, action),
        _ => return false,
    }
    true
}

/// What is done to the list of edits.
fn act_on_edits(state: &mut State, action: Action) {
    match action {
        Action::Ablate => ablate(state),
        Action::Grain => {
            let in_view = state.focus == Focus::View;
            state.focus = Focus::View;
            if in_view && !state.next_grain() {
                say(state, "only one ablation scope here; Values and Attention have more".into());
            }
        }
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
        _ => {}
    }
}

/// As much as terminals take from a program to the clipboard, in bytes; xterm's limit is the lowest.
const CLIPBOARD: usize = 74_000;

fn copy(state: &mut State, text: String, what: &str) -> Vec<Effect> {
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
            looks.pair = (looks.pair + 1) % pairs;
            looks.order = None;
            if pairs == 1 {
                say(state, "this activation has no other two axes".into());
            }
        }
        Tab::Sweep => {
            looks.map = cycle(&maps(state.contrast.is_some()), looks.map, 1);
            state.swept = (0, 0);
            if state.contrast.is_none() {
                say(state, "with a contrast prompt there are the patching maps, too".into());
            }
        }
        Tab::Training => quantity::next_quantity(state),
        Tab::Shape | Tab::Logits | Tab::Attribution => say(state, "this view shows one thing only".into()),
    }
}

/// How the view shows it.
fn lay_out(state: &mut State) {
    let looks = &mut state.looks;
    match state.tab {
        Tab::Attention => looks.extent = cycle(&Extent::ALL, looks.extent, 1),
        Tab::Values => looks.colours = !looks.colours,
        Tab::Attribution => looks.by_layer = !looks.by_layer,
        Tab::Sweep => looks.chosen_metric = Some(cycle(&Metric::ALL, looks.metric(), 1)),
        Tab::Shape | Tab::Logits | Tab::Lens | Tab::Heads | Tab::Training => {
            say(state, "this view has one layout only".into());
        }
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
