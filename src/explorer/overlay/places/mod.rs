//! The places of the run on the screen where a predicate holds.

mod draw;
mod list;

use crossterm::event::{KeyCode, KeyEvent};

use super::open::Overlay;
use crate::{
    explorer::{state::State, stepping::go_to},
    keys::{Action, Motion},
    views::moved,
};

pub(super) use draw::draw;
pub use list::PlaceList;

/// Rows to a page.
const PAGE: isize = 10;

pub(super) fn key(state: &mut State, mut list: PlaceList, key: &KeyEvent) {
    let ask = list.ask();
    let places = state.scene.seen(&ask).and_then(Result::ok).and_then(|all| all.first());
    let motion = match (state.scene.keys.action(key), key.code) {
        (_, KeyCode::Esc) => return,
        (Some(Action::Move(motion)), _) => motion,
        (_, KeyCode::Tab) => Motion::Down,
        (Some(Action::Grep), _) => return super::predicate::open_search(state),
        _ => return state.overlay = Some(Overlay::Places(list)),
    };
    let n = places.map_or(0, |places| places.listed.len());
    if motion == Motion::Enter {
        let chosen = places.and_then(|places| places.listed.get(list.cursor)).map(|found| found.place.clone());
        return match chosen {
            Some(place) => go_to(state, &place),
            None => state.overlay = Some(Overlay::Places(list)),
        };
    }
    list.cursor = moved(list.cursor, motion, PAGE, n);
    state.overlay = Some(Overlay::Places(list));
}
