//! Moving in lists and cycling through choices.

use crate::keys::Motion;

/// The choice `by` places further, wrapping around.
pub(crate) fn cycle<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0);
    all[(at + all.len()).wrapping_add_signed(by) % all.len()]
}

/// `by` places further, within `0..n`.
pub(crate) fn stepped(at: usize, by: isize, n: usize) -> usize {
    at.saturating_add_signed(by).min(n.saturating_sub(1))
}

/// The row that a motion leads to in a list of `n` rows with pages of `page` rows. Left, Right and Enter do not move.
pub(crate) fn moved(at: usize, motion: Motion, page: isize, n: usize) -> usize {
    match motion {
        Motion::Up => stepped(at, -1, n),
        Motion::Down => stepped(at, 1, n),
        Motion::PageUp => stepped(at, -page, n),
        Motion::PageDown => stepped(at, page, n),
        Motion::First => 0,
        Motion::Last => n.saturating_sub(1),
        Motion::Left | Motion::Right | Motion::Enter => at,
    }
}

/// -1 for Left and 1 for Right.
pub(crate) fn sideways(motion: Motion) -> Option<isize> {
    match motion {
        Motion::Left => Some(-1),
        Motion::Right => Some(1),
        Motion::Up
        | Motion::Down
        | Motion::PageUp
        | Motion::PageDown
        | Motion::First
        | Motion::Last
        | Motion::Enter => None,
    }
}
