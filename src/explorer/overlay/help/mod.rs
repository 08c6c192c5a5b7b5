//! The help: the keys of this view first, then every key by group, filtered while typing.

mod draw;
mod page;

use crossterm::event::{KeyCode, KeyEvent};

use super::{line, open::Overlay};
use crate::{explorer::state::State, keys::Action};

pub(super) use draw::draw;
pub use page::HelpPage;

/// Open the help at its top.
pub(in crate::explorer) fn open(state: &mut State) {
    state.overlay = Some(Overlay::Help(HelpPage::default()));
}

/// A key while the help is open: it scrolls, filters or closes.
pub(super) fn key(state: &mut State, mut page: HelpPage, key: &KeyEvent) {
    let height = state.scene.layout.size.1.saturating_sub(4).max(1);
    match key.code {
        KeyCode::Esc | KeyCode::Enter => return,
        KeyCode::Up => page.scroll = page.scroll.saturating_sub(1),
        KeyCode::Down => page.scroll = page.scroll.saturating_add(1),
        KeyCode::PageUp => page.scroll = page.scroll.saturating_sub(height),
        KeyCode::PageDown => page.scroll = page.scroll.saturating_add(height),
        KeyCode::Home => page.scroll = 0,
        KeyCode::End => page.scroll = u16::MAX,
        // the key that opened it closes it
        KeyCode::Char(_) if page.filter.value().is_empty() && state.scene.keys.action(key) == Some(Action::Help) => {
            return;
        }
        _ => {
            if line::typed(&mut state.scene, &mut page.filter, key, line::SEARCH) {
                page.scroll = 0;
            }
        }
    }
    state.overlay = Some(Overlay::Help(page));
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut page: HelpPage, text: &str) {
    if line::pasted(&mut state.scene, &mut page.filter, text, line::SEARCH) {
        page.scroll = 0;
    }
    state.overlay = Some(Overlay::Help(page));
}
