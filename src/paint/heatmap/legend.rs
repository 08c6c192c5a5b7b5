//! The lines below a heatmap.

use std::ops::Range;

use ratatui::text::{Line, Span};

use super::geometry::scroll_mark;
use crate::paint::{Theme, scale::Scale};

/// The part of a matrix that is on the screen.
pub(crate) struct Drawn {
    /// Rows and columns of values in a cell: (1, 1) if every value is drawn.
    pub(super) pool: (usize, usize),
    /// The visible rows, and the number of rows; the same for columns.
    pub(super) rows: (Range<usize>, usize),
    pub(super) columns: (Range<usize>, usize),
    /// The first row of the screen below it.
    pub bottom: u16,
}

/// The colour scale, the size of a cell if it pools values, and which part of the matrix is visible; `zoom` is the key
/// that zooms in.
pub(crate) fn legend(scale: Scale, drawn: &Drawn, zoom: &str, theme: Theme) -> Line<'static> {
    let mut spans = scale.legend(theme);
    let pool = drawn.pool;
    if pool != (1, 1) {
        let cross = if theme.ascii { "x" } else { "×" };
        let what = if matches!(scale, Scale::Around(_)) { "max |x|" } else { "max" };
        let note = format!("  cell: {what} of {} {cross} {}", pool.0, pool.1);
        spans.push(Span::styled(note, theme.changed()));
        spans.push(Span::styled(format!("  {zoom}: zoom"), theme.dim()));
    }
    for (name, (visible, n)) in [("rows", &drawn.rows), ("columns", &drawn.columns)] {
        let mark = scroll_mark(visible, *n).map(|mark| format!("  {name} {mark}"));
        spans.extend(mark.map(|mark| Span::styled(mark, theme.dim())));
    }
    Line::from(spans)
}
