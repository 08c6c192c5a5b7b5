//! What a click, a drag or the wheel does.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Margin, Position, Rect};

use super::{actions::act, event::Effect, navigate::navigate, state::State};
use crate::{
    keys::Motion,
    paint::{Hit, Target},
    views::{Areas, Focus},
};

pub(super) fn on_mouse(state: &mut State, mouse: MouseEvent, target: Option<Target>) -> Vec<Effect> {
    state.hovered = match target {
        Some(Target::Place(hit)) => Some(hit),
        Some(Target::Action(_)) | None => None,
    };
    if state.overlay.is_some() {
        return vec![];
    }
    let at = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Up(_) => state.scene.layout.dragging = false,
        MouseEventKind::Drag(_) => {
            if state.scene.layout.dragging {
                state.scene.layout.split = Some(at.x + 1);
            }
        }
        MouseEventKind::Down(MouseButton::Left) => return press(state, at, target),
        MouseEventKind::ScrollDown => return scroll(state, at, Motion::Down),
        MouseEventKind::ScrollUp => return scroll(state, at, Motion::Up),
        MouseEventKind::ScrollLeft => return scroll(state, at, Motion::Left),
        MouseEventKind::ScrollRight => return scroll(state, at, Motion::Right),
        MouseEventKind::Down(MouseButton::Right | MouseButton::Middle) | MouseEventKind::Moved => {}
    }
    vec![]
}

fn press(state: &mut State, at: Position, target: Option<Target>) -> Vec<Effect> {
    let areas = state.scene.layout.areas();
    if let Some(Target::Action(action)) = target {
        return act(state, action);
    }
    if is_split(&areas, at) {
        state.scene.layout.dragging = true;
    } else if let Some(row) = inner_row(areas.tree, at) {
        state.scene.layout.focus = Focus::Tree;
        press_tree(state, row);
    } else if areas.view.contains(at) {
        state.scene.layout.focus = Focus::View;
        if let Some(Target::Place(hit)) = target {
            return click(state, hit);
        }
    } else if areas.edits.contains(at) {
        state.scene.layout.focus = Focus::Edits;
        press_edits(state, &areas, at);
    }
    vec![]
}

/// Whether a place is on the border between the tree and the view.
fn is_split(areas: &Areas, at: Position) -> bool {
    let both = areas.tree.width > 0 && areas.view.width > 0;
    let beside = areas.tree.y < at.y && at.y < areas.tree.bottom();
    both && beside && (at.x + 1 == areas.tree.right() || at.x == areas.view.x)
}

/// The row inside a frame that a place is on.
fn inner_row(area: Rect, at: Position) -> Option<usize> {
    area.inner(Margin::new(1, 1)).contains(at).then(|| usize::from(at.y - area.y - 1))
}

fn press_tree(state: &mut State, row: usize) {
    let tree = state.scene.trees.shown_mut();
    let row = row + tree.offset;
    if row < tree.rows().len() {
        let again = tree.cursor() == row;
        tree.select_row(row);
        if again || tree.is_module(tree.selected()) {
            tree.toggle();
        }
    }
}

fn press_edits(state: &mut State, areas: &Areas, at: Position) {
    let (layout, edits) = (&state.scene.layout, &mut state.scene.edits);
    let first = layout.visible_edits(edits.cursor, edits.lines.len()).start;
    let row = inner_row(areas.edits, at).map(|row| row / areas.rows_per_edit() + first);
    if let Some(row) = row.filter(|row| *row < edits.lines.len()) {
        edits.cursor = row;
        // on the checkbox itself
        if at.x <= areas.edits.x + 3 {
            edits.change_selected(|line| line.on = !line.on);
        }
    }
}

fn scroll(state: &mut State, at: Position, motion: Motion) -> Vec<Effect> {
    let areas = state.scene.layout.areas();
    let before = state.scene.layout.focus;
    let over = if areas.tree.contains(at) {
        Focus::Tree
    } else if areas.edits.contains(at) {
        Focus::Edits
    } else {
        Focus::View
    };
    // sideways only where that moves a cursor; in the tree it would fold modules
    if over == Focus::Tree && matches!(motion, Motion::Left | Motion::Right) {
        return vec![];
    }
    state.scene.layout.focus = over;
    let effects = navigate(state, motion);
    state.scene.layout.focus = before;
    effects
}

/// Move the cursor to a click; a click on the cursor is Enter.
fn click(state: &mut State, hit: Hit) -> Vec<Effect> {
    let (view, scene) = state.view_mut();
    if view.cursor(scene) == Some(hit) {
        return navigate(state, Motion::Enter);
    }
    view.click(scene, hit);
    vec![]
}
