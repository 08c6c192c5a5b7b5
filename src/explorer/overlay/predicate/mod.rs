//! The line editor for breakpoints, watches and searches.

mod completion;
mod draw;
mod line;

use crossterm::event::{KeyCode, KeyEvent};

use super::{line as typing, open::Overlay, places::PlaceList};
use crate::{
    explorer::state::State,
    views::{Breakpoint, Focus},
};

pub(super) use draw::draw;
pub use line::{For, PredicateLine, Written};

/// Open the line on what is under the cursor: a breakpoint on its value.
pub(in crate::explorer) fn open_breakpoint(state: &mut State) {
    let region = region(state);
    let value = state.view().value(&state.scene).filter(|_| state.scene.layout.focus == Focus::View);
    let value = value.filter(|value| value.parse::<f32>().is_ok_and(f32::is_finite));
    let text = match value {
        Some(value) => format!("{region} > {value}"),
        None => format!("{region} is nan"),
    };
    open(state, &text, For::Breakpoint(None));
}

/// Open the line on a watch of what is under the cursor.
pub(in crate::explorer) fn open_watch(state: &mut State) {
    let text = format!("norm({})", region(state));
    open(state, &text, For::Watch(None));
}

/// Open the line on the last search.
pub(in crate::explorer) fn open_search(state: &mut State) {
    let text = state.searched.clone().unwrap_or_default();
    open(state, &text, For::Search);
}

pub(in crate::explorer) fn open(state: &mut State, text: &str, of: For) {
    state.overlay = Some(Overlay::Predicate(PredicateLine::open(text, of, state.scene.setting())));
}

/// The hook and the indices under the cursor, as text.
fn region(state: &State) -> String {
    let edit = state.ablation();
    if edit.selection.0.is_empty() { edit.target.to_string() } else { format!("{}[{}]", edit.target, edit.selection) }
}

pub(super) fn key(state: &mut State, mut line: PredicateLine, key: &KeyEvent) {
    match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            if let Ok(written) = line.verdict {
                return take(state, line.of, written);
            }
        }
        KeyCode::Tab => line.complete(state.scene.setting()),
        _ => {
            if typing::typed(&mut state.scene, &mut line.input, key, typing::LINE) {
                line.refresh(state.scene.setting());
            }
        }
    }
    state.overlay = Some(Overlay::Predicate(line));
}

fn take(state: &mut State, of: For, written: Written) {
    let stops = &mut state.scene.stops;
    match (of, written) {
        (For::Breakpoint(at), Written::Predicate(predicate)) => match at.and_then(|at| stops.breakpoints.get_mut(at)) {
            Some(old) => *old = Breakpoint { on: old.on, logs: old.logs, ..Breakpoint::new(predicate) },
            None => stops.breakpoints.push(Breakpoint::new(predicate)),
        },
        (For::Watch(at), Written::Quantity(quantity)) => match at.and_then(|at| stops.watches.get_mut(at)) {
            Some(old) => *old = quantity,
            None => stops.watches.push(quantity),
        },
        (For::Search, Written::Predicate(predicate)) => {
            state.searched = Some(predicate.to_string());
            state.overlay = Some(Overlay::Places(PlaceList { predicate, cursor: 0 }));
        }
        // a line gives what it is for
        (For::Breakpoint(_) | For::Search, Written::Quantity(_)) | (For::Watch(_), Written::Predicate(_)) => {}
    }
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut line: PredicateLine, text: &str) {
    if typing::pasted(&mut state.scene, &mut line.input, text, typing::LINE) {
        line.refresh(state.scene.setting());
    }
    state.overlay = Some(Overlay::Predicate(line));
}
