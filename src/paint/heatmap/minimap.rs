//! A small map of the whole matrix beside a part of it.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::{
    geometry::{halves, offset},
    map::Heatmap,
    window::{Cells, Window},
};
use crate::paint::{Region, Theme, put};

/// The columns and rows of the map, and the columns to its left.
const SIZE: (u16, u16) = (24, 12);
const GAP: u16 = 2;

/// The fewest columns and rows of a view with a minimap, so that the map takes little of its room.
const LEAST: (u16, u16) = (80, 16);

impl Heatmap<'_> {
    /// The place of the map in `area`, and the rest of the area; None if everything is visible, if room is short, or if
    /// it is not an attention map.
    pub(super) fn beside_minimap(&self, area: Rect, room: (usize, usize), theme: Theme) -> Option<(Rect, Rect)> {
        let window = self.window(room, theme);
        let all = window.rows.len() == self.rows && window.columns.len() == self.columns;
        if all || self.masked.is_none() || area.width < LEAST.0 || area.height < LEAST.1 {
            return None;
        }
        let map = Rect { x: area.right() - SIZE.0, y: area.y + 1, width: SIZE.0, height: SIZE.1 };
        Some((map, Rect { width: area.width - SIZE.0 - GAP, ..area }))
    }

    /// The whole matrix, with a frame around the visible part; a click goes there.
    pub(super) fn draw_minimap(
        &self,
        buffer: &mut Buffer,
        area: Rect,
        visible: &Window,
        hits: &mut Vec<Region>,
        theme: Theme,
    ) {
        let halves = halves(theme);
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let pool = (self.rows.div_ceil(height * halves), self.columns.div_ceil(width));
        let cells = Cells::Half { rows: pool.0, columns: pool.1, width: 1, halves };
        let whole = Window { cells, rows: 0..self.rows, columns: 0..self.columns };
        self.draw_half(buffer, area, &whole, (pool, 1, halves), theme);
        let (left, right) = (whole.x_of(visible.columns.start), whole.x_of(visible.columns.end.saturating_sub(1)));
        let (top, bottom) = (whole.line_of(visible.rows.start), whole.line_of(visible.rows.end.saturating_sub(1)));
        let style = theme.title().patch(Style::new().bg(Color::Reset));
        let [corner_tl, corner_tr, corner_bl, corner_br, across, down] = match theme.ascii {
            false => ["┌", "┐", "└", "┘", "─", "│"],
            true => ["+", "+", "+", "+", "-", "|"],
        };
        let mut set = |x: usize, y: usize, sign: &str| put(buffer, offset(area.x, x), offset(area.y, y), sign, style);
        for x in left..=right {
            set(x, top, across);
            set(x, bottom, across);
        }
        for y in top..=bottom {
            set(left, y, down);
            set(right, y, down);
        }
        for (x, y, sign) in
            [(left, top, corner_tl), (right, top, corner_tr), (left, bottom, corner_bl), (right, bottom, corner_br)]
        {
            set(x, y, sign);
        }
        hits.push(self.region(area, &whole));
    }
}
