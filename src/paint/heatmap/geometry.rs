//! Places on the screen, and what fits there.

use std::ops::Range;

use ratatui::{buffer::Cell, style::Color};

use crate::paint::Theme;

/// The range of `room` out of `n` things with number `at` in its middle, as far as the ends allow.
pub(crate) fn around(at: usize, room: usize, n: usize) -> Range<usize> {
    let first = at.saturating_sub(room / 2).min(n.saturating_sub(room));
    first..(first + room).min(n)
}

/// Give the halves of a cell their colours.
pub(crate) fn halve(cell: &mut Cell, upper: Option<Color>, lower: Option<Color>) {
    match (upper, lower) {
        (Some(upper), Some(lower)) => cell.set_char('▀').set_fg(upper).set_bg(lower),
        (Some(upper), None) => cell.set_char('▀').set_fg(upper),
        (None, Some(lower)) => cell.set_char('▄').set_fg(lower),
        (None, None) => cell.set_char(' '),
    };
}

/// How many rows of cells a row of the screen holds.
pub(crate) fn halves(theme: Theme) -> usize {
    if theme.halves() { 2 } else { 1 }
}

pub(crate) fn offset(from: u16, by: usize) -> u16 {
    from.saturating_add(u16::try_from(by).unwrap_or(u16::MAX))
}

/// `cell` in brackets, to show the cursor, if its ends are free for them, so that no text is hidden.
pub(crate) fn bracket(cell: &str, here: bool) -> String {
    let inside = cell.strip_prefix([' ', '·', '.']).and_then(|rest| rest.strip_suffix(' '));
    match inside {
        Some(inside) if here => format!("[{inside}]"),
        _ => cell.to_string(),
    }
}

/// Which of `n` things are visible, if not all are: `254-299 of 300`.
pub(crate) fn scroll_mark(visible: &Range<usize>, n: usize) -> Option<String> {
    let all = visible.len() >= n || visible.is_empty();
    (!all).then(|| format!("{}-{} of {n}", visible.start, visible.end - 1))
}
