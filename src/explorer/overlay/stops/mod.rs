//! The list of breakpoints and watches.

mod draw;

use crossterm::event::{KeyCode, KeyEvent};

use super::{
    open::Overlay,
    predicate::{self, For},
};
use crate::{
    explorer::{state::State, stepping::go_to},
    keys::{Action, Motion},
    views::moved,
};

pub(super) use draw::draw;

/// Open the list.
pub(in crate::explorer) fn open(state: &mut State) {
    state.overlay = Some(Overlay::Stops(0));
}

/// A key while the list is open, with its cursor on row `at`: breakpoints come first, then watches.
pub(super) fn key(state: &mut State, at: usize, key: &KeyEvent) {
    let stops = &mut state.scene.stops;
    let (breakpoints, n) = (stops.breakpoints.len(), stops.len());
    let at = at.min(n.saturating_sub(1));
    let breakpoint = stops.breakpoints.get_mut(at);
    let mut next = at;
    match (state.scene.keys.action(key), key.code) {
        (_, KeyCode::Esc) => return,
        (Some(Action::Breakpoint), _) => return predicate::open_breakpoint(state),
        (Some(Action::Watch), _) => return predicate::open_watch(state),
        (Some(Action::ToggleEdit), _) => {
            if let Some(breakpoint) = breakpoint {
                breakpoint.on ^= true;
            }
        }
        (Some(Action::Switch), _) => {
            if let Some(breakpoint) = breakpoint {
                breakpoint.logs ^= true;
                (breakpoint.hits, breakpoint.last) = (0, None);
            }
        }
        (Some(Action::DeleteEdit), _) if at < breakpoints => drop(stops.breakpoints.remove(at)),
        (Some(Action::DeleteEdit), _) if at < n => drop(stops.watches.remove(at - breakpoints)),
        (Some(Action::ChangeEdit), _) => {
            return match (breakpoint, stops.watches.get(at.wrapping_sub(breakpoints))) {
                (Some(breakpoint), _) => {
                    let text = breakpoint.predicate.to_string();
                    predicate::open(state, &text, For::Breakpoint(Some(at)));
                }
                (None, Some(watch)) => {
                    let text = watch.to_string();
                    predicate::open(state, &text, For::Watch(Some(at - breakpoints)));
                }
                (None, None) => state.overlay = Some(Overlay::Stops(at)),
            };
        }
        (Some(Action::Move(Motion::Enter)), _) => {
            if let Some(last) = breakpoint.and_then(|breakpoint| breakpoint.last.clone()) {
                return go_to(state, &last.place);
            }
        }
        (Some(Action::Move(motion)), _) => next = moved(at, motion, 5, n),
        _ => {}
    }
    state.overlay = Some(Overlay::Stops(next));
}
