use crossterm::event::{KeyCode, KeyEvent};
use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};
use tui_input::Input;

use super::{Overlay, State, line, navigate::stepped, update::refuse};
use crate::hooks::HookPoint;

/// The `/` search: a query and the hooks whose names it matches.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    pub input: Input,
    /// Best first.
    pub matches: Vec<HookPoint>,
    pub cursor: usize,
}

impl Finder {
    /// Match anew; each word of the query must be found, its letters in order.
    pub fn search(&mut self, points: &[HookPoint]) {
        self.cursor = 0;
        let pattern = Pattern::parse(self.input.value(), CaseMatching::Ignore, Normalization::Smart);
        let mut matcher = Matcher::new(Config::DEFAULT);
        let names = points.iter().map(|&point| Named { name: point.to_string(), point });
        self.matches = pattern.match_list(names, &mut matcher).into_iter().map(|(named, _)| named.point).collect();
    }

    /// The hook under the cursor.
    #[must_use]
    pub fn chosen(&self) -> Option<HookPoint> {
        self.matches.get(self.cursor).copied()
    }
}

/// A key while the search is open.
pub(super) fn key(state: &mut State, mut finder: Finder, key: &KeyEvent) {
    match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            let Some(point) = finder.chosen() else {
                return refuse(state, format!("no hook matches `{}`", finder.input.value()));
            };
            state.found = finder.matches;
            state.found.sort_unstable();
            return state.tree.reveal(point);
        }
        KeyCode::Up => finder.cursor = stepped(finder.cursor, -1, finder.matches.len()),
        KeyCode::Down | KeyCode::Tab => finder.cursor = stepped(finder.cursor, 1, finder.matches.len()),
        _ => {
            if line::typed(state, &mut finder.input, key, line::SEARCH) {
                finder.search(&state.schema.all_points());
            }
        }
    }
    state.overlay = Some(Overlay::Find(finder));
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut finder: Finder, text: &str) {
    if line::pasted(state, &mut finder.input, text, line::SEARCH) {
        finder.search(&state.schema.all_points());
    }
    state.overlay = Some(Overlay::Find(finder));
}

struct Named {
    name: String,
    point: HookPoint,
}

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        &self.name
    }
}
