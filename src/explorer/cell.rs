//! Setting the value under a view's cursor: as an edit line, or by typing a number into the cell.

use crossterm::event::KeyEvent;

use super::{
    overlay::{Editor, Overlay},
    state::State,
};
use crate::{
    engine::{Compare, Reading},
    hooks::{Edit, Op},
    keys::number_begun,
    views::Focus,
};

/// Open the line that sets the value under the cursor, with the value as it is.
pub(super) fn change(state: &mut State) {
    let Some(edit) = state.view().cell(&state.scene) else {
        return state.scene.refuse("only Values has cells to set");
    };
    let scene = &state.scene;
    // a gradient or a difference is no value of the hook
    let is_value = scene.reading == Reading::Value && scene.compare() == Compare::Edited;
    let value = state.view().value(scene).filter(|_| is_value).unwrap_or_default();
    open(state, &edit, &value);
}

/// The character with which a key begins a number, where the cursor is in a cell.
pub(super) fn begun(state: &State, key: &KeyEvent) -> Option<char> {
    let number = number_begun(key)?;
    let focused = state.scene.layout.focus == Focus::View;
    (focused && state.view().cell(&state.scene).is_some()).then_some(number)
}

/// Open the line that sets the value under the cursor to the number that begins with `first`.
pub(super) fn write(state: &mut State, first: char) {
    if let Some(edit) = state.view().cell(&state.scene) {
        open(state, &edit, &first.to_string());
    }
}

/// The line that sets a cell; if an edit in the list does that already, it is changed.
fn open(state: &mut State, edit: &Edit, value: &str) {
    let line = edit.to_string();
    let place = line.rsplit_once(" = ").map_or(line.as_str(), |(place, _)| place);
    let sets_it = |other: &Edit| matches!(other.op, Op::Set(_)) && Edit { op: edit.op, ..other.clone() } == *edit;
    let replaces = state.scene.edits.lines.iter().position(|line| line.on && sets_it(&line.edit));
    open_editor(state, &format!("{place} = {value}"), replaces);
}

/// Open the line editor on an edit; `replaces` is the number of the one that it changes.
pub(super) fn open_editor(state: &mut State, line: &str, replaces: Option<usize>) {
    state.overlay = Some(Overlay::Edit(Editor::open(line, replaces, state.scene.setting())));
}
