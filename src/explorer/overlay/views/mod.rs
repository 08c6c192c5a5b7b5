//! The list of views.

mod draw;

use crossterm::event::{KeyCode, KeyEvent};

use super::open::Overlay;
use crate::{
    explorer::state::State,
    keys::{Action, Motion},
    views::{Tab, ViewGroup, Views, moved},
};

pub(super) use draw::draw;

/// Open the list on the current view.
pub(in crate::explorer) fn open(state: &mut State) {
    let at = listed().iter().position(|tab| *tab == state.tab).unwrap_or(0);
    state.overlay = Some(Overlay::Views(at));
}

/// Every view, group by group.
fn listed() -> Vec<Tab> {
    let views = Views::default();
    let of = |group: ViewGroup| {
        let in_group = Tab::ALL.iter().copied();
        in_group.filter(|tab| views.get(*tab).about().group == group).collect::<Vec<_>>()
    };
    ViewGroup::ALL.into_iter().flat_map(of).collect()
}

/// A key while the list is open, with its cursor on row `at`.
pub(super) fn key(state: &mut State, at: usize, key: &KeyEvent) {
    let tabs = listed();
    let motion = match (state.scene.keys.action(key), key.code) {
        (Some(Action::Move(motion)), _) => motion,
        // the same key moves on in the list
        (Some(Action::PickView), _) | (_, KeyCode::Tab) => Motion::Down,
        (Some(Action::View(number)), _) => {
            state.tab = *Tab::ALL.get(number).unwrap_or(&state.tab);
            return;
        }
        _ => return,
    };
    if motion == Motion::Enter {
        state.tab = *tabs.get(at).unwrap_or(&state.tab);
        return;
    }
    let at = match motion {
        Motion::Down if at + 1 == tabs.len() => 0,
        motion => moved(at, motion, 5, tabs.len()),
    };
    state.overlay = Some(Overlay::Views(at));
}
