//! The `/` search for a hook.

mod draw;
mod search;

use crossterm::event::{KeyCode, KeyEvent};

use super::{line, open::Overlay};
use crate::{
    explorer::{navigate::jump_to, state::State},
    views::stepped,
};

pub(super) use draw::draw;
pub use search::Finder;

/// A key while the search is open.
pub(super) fn key(state: &mut State, mut finder: Finder, key: &KeyEvent) {
    match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            let Some(point) = finder.chosen() else {
                return state.scene.refuse(format!("no hook matches `{}`", finder.input.value()));
            };
            state.found = finder.matches;
            state.found.sort_unstable();
            return jump_to(state, point);
        }
        KeyCode::Up => finder.cursor = stepped(finder.cursor, -1, finder.matches.len()),
        KeyCode::Down | KeyCode::Tab => finder.cursor = stepped(finder.cursor, 1, finder.matches.len()),
        _ => {
            if line::typed(&mut state.scene, &mut finder.input, key, line::SEARCH) {
                finder.search(&state.scene.schema.all_points());
            }
        }
    }
    state.overlay = Some(Overlay::Find(finder));
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut finder: Finder, text: &str) {
    if line::pasted(&mut state.scene, &mut finder.input, text, line::SEARCH) {
        finder.search(&state.scene.schema.all_points());
    }
    state.overlay = Some(Overlay::Find(finder));
}
