//! The labels of a heatmap's rows and columns.

use ratatui::{buffer::Buffer, layout::Rect};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{geometry::offset, map::Heatmap, window::Window};
use crate::paint::{Theme, put, text};

impl Heatmap<'_> {
    /// Labels of the rows: for every row or, if cells are halved or pooled, for every row of cells.
    pub(super) fn draw_row_labels(&self, buffer: &mut Buffer, area: Rect, window: &Window, theme: Theme) {
        let width = usize::from(area.width).saturating_sub(1);
        let at_cursor = window.line_of(self.cursor.0);
        let mut last = None;
        for y in 0..usize::from(area.height) {
            let Some(first) = window.row_at(y) else { break };
            let here = y == at_cursor;
            let shown = if here { self.cursor.0 } else { first };
            // a row of several lines has its label beside the first
            if last.replace(shown) == Some(shown) {
                continue;
            }
            let Some(label) = self.row_labels.get(shown) else { continue };
            let label = text::cut(label, width, theme);
            let pad = width.saturating_sub(label.width());
            let style = if here { theme.title() } else { theme.dim() };
            put(buffer, area.x, offset(area.y, y), format!("{}{label}", " ".repeat(pad)), style);
        }
    }

    pub(super) fn draw_column_labels(&self, buffer: &mut Buffer, area: Rect, window: &Window, theme: Theme) {
        let (width, pool) = (window.cell_width(), window.pool().1);
        let cursor = self.column_drawn(self.cursor.1);
        if window.is_numbered() {
            return self.draw_ticks(buffer, area, window, theme);
        }
        for (x, drawn) in window.columns.clone().step_by(pool).enumerate() {
            let here = (drawn..drawn + pool).contains(&cursor);
            let Some(label) = self.column_labels.get(self.column(if here { cursor } else { drawn })) else { continue };
            let style = if here { theme.title() } else { theme.dim() };
            let at = offset(area.x, x * width);
            if width >= 5 && area.height == 1 {
                put(buffer, at, area.y, text::cut(label, width - 1, theme), style);
                continue;
            }
            // upright, with the end of the label next to the grid
            let letters: Vec<char> = label.chars().take(area.height.into()).collect();
            let first = usize::from(area.height) - letters.len();
            for (y, letter) in letters.into_iter().enumerate() {
                let columns = letter.width().unwrap_or(0);
                // a character of two columns is replaced where there is no room for it
                let shown = if columns <= width { letter } else { theme.wide() };
                let at = offset(at, width.saturating_sub(columns) / 2);
                put(buffer, at, offset(area.y, first + y), shown.to_string(), style);
            }
        }
    }

    /// Numbers over columns.
    fn draw_ticks(&self, buffer: &mut Buffer, area: Rect, window: &Window, theme: Theme) {
        let y = offset(area.y, usize::from(area.height).saturating_sub(1));
        let apart = [5, 10, 20, 50, 100, 200, 500];
        let apart = apart.into_iter().find(|apart| window.x_of(window.columns.start + apart) >= 6).unwrap_or(1000);
        let cursor = self.column_drawn(self.cursor.1);
        let at_cursor = window.x_of(cursor);
        for drawn in window.columns.clone().filter(|drawn| drawn % apart == 0) {
            let x = window.x_of(drawn);
            if x.abs_diff(at_cursor) > 5 {
                put(buffer, offset(area.x, x), y, self.column(drawn).to_string(), theme.dim());
            }
        }
        put(buffer, offset(area.x, at_cursor), y, self.cursor.1.to_string(), theme.title());
    }
}
