//! Moving: in the focused panel, along the forward pass, between blocks, among search results.

use super::{checkpoints, event::Effect, jumps::Place, results, state::State};
use crate::{
    hooks::{BlockHook, HookPoint},
    keys::{Action, Motion},
    views::{Destination, Focus, HeadScope, Scene, Tab, moved, stepped},
};

/// Move in the focused panel.
pub(super) fn navigate(state: &mut State, motion: Motion) -> Vec<Effect> {
    match state.scene.layout.focus {
        Focus::Tree => in_tree(&mut state.scene, motion),
        Focus::Edits => {
            let (page, edits) = (state.scene.layout.page(), &mut state.scene.edits);
            edits.cursor = moved(edits.cursor, motion, page, edits.lines.len());
        }
        Focus::View => {
            let from = place(state);
            let (view, scene) = state.view_mut();
            if let Some(destination) = view.navigate(scene, motion) {
                state.jumps.leave(from);
                return go_to(state, destination);
            }
        }
    }
    vec![]
}

fn in_tree(scene: &mut Scene, motion: Motion) {
    let page = scene.layout.page();
    let tree = scene.trees.shown_mut();
    match motion {
        Motion::Left => tree.fold(),
        Motion::Right => tree.unfold(),
        Motion::Enter if tree.is_module(tree.selected()) => tree.toggle(),
        Motion::Enter => scene.layout.focus = Focus::View,
        Motion::Up | Motion::Down | Motion::PageUp | Motion::PageDown | Motion::First | Motion::Last => {
            let (cursor, n) = (tree.cursor(), tree.rows().len());
            tree.select_row(moved(cursor, motion, page, n));
        }
    }
}

/// The current place of the explorer.
pub(super) fn place(state: &State) -> Place {
    Place { tab: state.tab, hook: state.scene.point(), cursor: state.scene.cursor.clone() }
}

/// Select a hook by a jump, which [`back`] undoes.
pub(super) fn jump_to(state: &mut State, hook: HookPoint) {
    let from = place(state);
    state.jumps.leave(from);
    state.scene.select(hook);
}

/// Return to the place before the last jump.
pub(super) fn back(state: &mut State) {
    let here = place(state);
    match state.jumps.back(here) {
        Some(place) => restore(state, place),
        None => state.scene.say("there is no earlier place"),
    }
}

/// Return to the place that [`back`] left.
pub(super) fn forward(state: &mut State) {
    let here = place(state);
    match state.jumps.forward(here) {
        Some(place) => restore(state, place),
        None => state.scene.say("there is no later place"),
    }
}

fn restore(state: &mut State, place: Place) {
    state.tab = place.tab;
    state.scene.select(place.hook);
    state.scene.cursor = place.cursor;
}

/// Where Enter leads from a view.
fn go_to(state: &mut State, destination: Destination) -> Vec<Effect> {
    match destination {
        Destination::Head => {
            state.views.attention.heads = HeadScope::One;
            state.tab = Tab::Attention;
        }
        Destination::Values => state.tab = Tab::Values,
        Destination::Checkpoint(number) => return checkpoints::choose(state, number),
        Destination::Result(number) => return results::open(state, number),
    }
    vec![]
}

/// The next or previous hook of the pass.
pub(super) fn step_hook(scene: &mut Scene, by: isize) {
    let points = scene.schema.points();
    let here = scene.point();
    let next = match points.iter().position(|p| *p == here) {
        Some(at) => stepped(at, by, points.len()),
        None if by > 0 => points.iter().position(|p| *p > here).unwrap_or(points.len() - 1),
        None => points.iter().rposition(|p| *p < here).unwrap_or(0),
    };
    scene.select(points[next]);
}

/// Go to the same hook in another block.
pub(super) fn step_block(scene: &mut Scene, by: isize) {
    let last = scene.schema.dims.n_layers.saturating_sub(1);
    let next = match (scene.point(), by > 0) {
        (HookPoint::Tokens | HookPoint::Embed, true) => HookPoint::Block(0, BlockHook::ResidPre),
        (HookPoint::LnFinalScale | HookPoint::LnFinalNormalized, false) => HookPoint::Block(last, BlockHook::ResidPost),
        (point @ HookPoint::Block(block, _), _) => point.in_block(stepped(block, by, last + 1)),
        (point @ (HookPoint::Tokens | HookPoint::Embed), false)
        | (point @ (HookPoint::LnFinalScale | HookPoint::LnFinalNormalized), true) => point,
    };
    scene.select(next);
}

/// The next or previous hook that the last search found.
pub(super) fn step_match(state: &mut State, by: isize) {
    if state.found.is_empty() {
        let find = state.scene.key(Action::Find);
        return state.scene.refuse(format!("there was no search yet; {find} finds a hook"));
    }
    let here = state.scene.point();
    let n = state.found.len();
    let next = match state.found.iter().position(|p| *p == here) {
        Some(at) => (at + n).wrapping_add_signed(by) % n,
        None if by > 0 => state.found.iter().position(|p| *p > here).unwrap_or(0),
        None => state.found.iter().rposition(|p| *p < here).unwrap_or(n - 1),
    };
    jump_to(state, state.found[next]);
}
