//! What each action does, whether it came from a key or the command line.

use super::{
    Effect, State, ablate, answer,
    cell::{self, open_editor},
    checkpoints, copy,
    edits::{slide, undo},
    navigate::{back, forward, navigate, step_block, step_hook, step_match},
    opt_in,
    overlay::{Finder, Overlay, command, help, predicate, prompt, save, stops, views},
    stepping, tour,
};
use crate::{
    engine::Compare,
    keys::Action,
    views::{EditList, Focus, Panels, Phase, Tab, cycle},
};

/// Carry out an action.
#[allow(clippy::too_many_lines, reason = "a line or two for each action")]
pub(super) fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Move(motion) => return navigate(state, motion),
        Action::NextHook => step_hook(&mut state.scene, 1),
        Action::PreviousHook => step_hook(&mut state.scene, -1),
        Action::NextBlock => step_block(&mut state.scene, 1),
        Action::PreviousBlock => step_block(&mut state.scene, -1),
        Action::NextHead | Action::PreviousHead => {
            let (view, scene) = state.view_mut();
            view.step_head(scene, if action == Action::NextHead { 1 } else { -1 });
        }
        Action::Find => state.overlay = Some(Overlay::Find(Finder::new(&state.scene))),
        Action::NextMatch => step_match(state, 1),
        Action::PreviousMatch => step_match(state, -1),
        Action::Back => back(state),
        Action::Forward => forward(state),
        Action::ModuleTree => state.scene.trees.switch(),
        Action::Enable => opt_in::toggle(&mut state.scene),
        Action::Hold => stepping::hold(&mut state.scene),
        Action::Continue => stepping::go_on(&mut state.scene),
        Action::Step => stepping::step(&mut state.scene, stepping::next),
        Action::StepOver => stepping::step(&mut state.scene, stepping::over),
        Action::StepOut => stepping::step(&mut state.scene, stepping::out),
        Action::StepBack => stepping::step(&mut state.scene, stepping::before),
        Action::Breakpoint => predicate::open_breakpoint(state),
        Action::Watch => predicate::open_watch(state),
        Action::Stops => stops::open(state),
        Action::Grep => predicate::open_search(state),
        Action::SetValue => cell::change(state),

        Action::VisitCheckpoints => return checkpoints::tour(state),
        Action::NextCheckpoint => return checkpoints::step_checkpoint(state, 1),
        Action::PreviousCheckpoint => return checkpoints::step_checkpoint(state, -1),

        Action::PickView => views::open(state),
        Action::NextTab => state.tab = cycle(Tab::ALL, state.tab, 1),
        Action::PreviousTab => state.tab = cycle(Tab::ALL, state.tab, -1),
        Action::View(number) => state.tab = *Tab::ALL.get(number).unwrap_or(&state.tab),
        Action::NextFocus => focus(state, 1),
        Action::PreviousFocus => focus(state, -1),
        Action::Present => switch_panels(state, Panels::Presented),
        Action::Maximise => switch_panels(state, Panels::Focused),
        Action::Narrower => resize_tree(state, -4),
        Action::Wider => resize_tree(state, 4),

        Action::Switch => {
            let (view, scene) = state.view_mut();
            view.switch(scene);
        }
        Action::ChangeLayout => {
            let (view, scene) = state.view_mut();
            view.change_layout(scene);
        }
        Action::SortColumns => {
            let (view, scene) = state.view_mut();
            view.sort_columns(scene);
        }
        Action::Extreme => {
            let (view, scene) = state.view_mut();
            view.go_to_extreme(scene);
        }
        Action::Compare => compare(state),
        Action::Gradient => next_reading(state),
        Action::Target => answer::choose_target(state),
        Action::Distractor => answer::choose_distractor(state),

        Action::FindToken => command::find_token(state),
        Action::Append => prompt::append(state),
        Action::TakeBack => prompt::take_back(state),
        Action::Prompt => prompt::open(state, 0),
        Action::Contrast => prompt::open(state, 1),

        Action::Ablate => ablate::ablate(state),
        Action::AblationScope => ablate::next_scope(state),
        Action::ChangeEdit => edit(state),
        Action::NewEdit => open_editor(state, "", None),
        Action::NewVector => command::open(state, "vector "),
        Action::DeleteEdit => {
            if let Some(line) = state.scene.edits.selected() {
                let said = format!("deleted {}; {} brings it back", line.edit, state.scene.key(Action::Undo));
                state.scene.say(said);
            }
            state.scene.edits.delete_selected();
        }
        Action::ToggleEdit => state.scene.edits.change_selected(|line| line.on = !line.on),
        Action::More => slide(state, true),
        Action::Less => slide(state, false),
        Action::EditUp => state.scene.edits.shift_selected(-1),
        Action::EditDown => state.scene.edits.shift_selected(1),
        Action::Rerun => {
            state.view_mut().0.resume();
            state.scene.runs.forget_wanted();
        }
        Action::Undo => undo(&mut state.scene, EditList::undo),
        Action::Redo => undo(&mut state.scene, EditList::redo),

        Action::Copy => return copy::value(state),
        Action::CopyTable => return copy::table(state),
        Action::Save => save::open(state, "svg"),
        Action::Write => save::open(state, "toml"),
        Action::Export => save::open(state, "py"),
        Action::Open => {
            let path = state.offer.as_ref().map_or_else(String::new, |offer| offer.path.display().to_string());
            command::open(state, &format!("open {path}"));
        }
        Action::Command => command::open(state, ""),
        Action::Help => help::open(state),
        Action::Tour => tour::next(state),
        Action::TourBack => tour::back(state),
        Action::Escape => return escape(state),
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return vec![Effect::Suspend { job: true }],
        Action::Quit => return vec![Effect::Quit],
    }
    vec![]
}

fn focus(state: &mut State, by: isize) {
    let layout = &mut state.scene.layout;
    layout.focus = cycle(&Focus::ALL, layout.focus, by);
    if layout.panels == Panels::Presented && layout.focus == Focus::Edits {
        // in presenter mode, the hidden list of edits must not be changed
        layout.focus = cycle(&Focus::ALL, layout.focus, by);
    }
}

/// Share the screen like this or, if it is already shared like this, among all panels.
fn switch_panels(state: &mut State, panels: Panels) {
    let layout = &mut state.scene.layout;
    layout.panels = if layout.panels == panels { Panels::All } else { panels };
    if layout.panels == Panels::Presented && layout.focus == Focus::Edits {
        layout.focus = Focus::Tree;
    }
}

fn resize_tree(state: &mut State, by: i16) {
    let layout = &mut state.scene.layout;
    let now = layout.areas().tree.width;
    if now > 0 && layout.panels == Panels::All {
        layout.split = Some(now.saturating_add_signed(by));
    }
}

fn compare(state: &mut State) {
    if state.scene.edits.active().is_empty() && state.scene.against.is_none() {
        state.scene.say("without edits there is nothing to compare");
    } else if !state.view().compares(&state.scene) {
        let title = state.tab.title();
        state.scene.say(format!("{title} does not cycle between runs; other views do"));
    } else {
        state.scene.chosen_compare = cycle(&Compare::ALL, state.scene.chosen_compare, 1);
    }
}

fn next_reading(state: &mut State) {
    if state.view().reads() {
        state.scene.next_reading();
    } else {
        let title = state.tab.title();
        state.scene.refuse(format!("{title} shows no gradients: Shape, Values, Attention and Diagram do"));
    }
}

/// Open the selected edit in the line editor, or the selection in another panel as a new edit.
fn edit(state: &mut State) {
    let selected = state.scene.edits.selected().filter(|_| state.scene.layout.focus == Focus::Edits);
    if let Some(line) = selected {
        let line = line.edit.to_string();
        open_editor(state, &line, Some(state.scene.edits.cursor));
    } else {
        let line = state.ablation().to_string();
        open_editor(state, &line, None);
    }
}

/// Stop what is in progress, or leave the innermost place.
fn escape(state: &mut State) -> Vec<Effect> {
    let (view, scene) = state.view_mut();
    if matches!(scene.runs.phase, Phase::Running { .. }) {
        view.stop(scene);
        scene.runs.phase = Phase::Cancelled;
        scene.keep_shown();
        scene.say("the run was cancelled; the screen shows the one before it");
        return vec![Effect::Cancel];
    }
    if std::mem::take(&mut state.opening) {
        state.scene.say("opening the experiment was cancelled");
        return vec![Effect::Abandon];
    }
    if state.scene.checkpoints.stay() {
        state.scene.say("staying here; what was downloaded is kept");
        return vec![Effect::Stay];
    }
    if state.view().is_filling(&state.scene) {
        let again = state.scene.key(Action::Rerun);
        let (view, scene) = state.view_mut();
        view.stop(scene);
        state.scene.runs.stopped = true;
        state.scene.say(format!("stopped; {again} resumes it"));
        return vec![Effect::Cancel];
    }
    if state.view_mut().0.leave_zoom() {
        return vec![];
    }
    match state.scene.layout.panels {
        Panels::Presented | Panels::Focused => state.scene.layout.panels = Panels::All,
        Panels::All => {
            if !tour::leave(state) {
                state.scene.layout.focus = Focus::Tree;
            }
        }
    }
    vec![]
}
