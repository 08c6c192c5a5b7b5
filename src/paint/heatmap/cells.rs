//! The cells of a heatmap as text: wide cells with numbers, and half rows.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    geometry::{bracket, halve, offset},
    map::Heatmap,
    window::Window,
};
use crate::paint::{
    Theme, put,
    scale::{Paint, Scale},
    text,
};

impl Heatmap<'_> {
    pub(super) fn draw_wide(
        &self,
        buffer: &mut Buffer,
        grid: Rect,
        window: &Window,
        size: (usize, usize),
        theme: Theme,
    ) {
        let (width, height) = size;
        for (y, row) in window.rows.clone().enumerate() {
            for (x, drawn) in window.columns.clone().enumerate() {
                let here = self.cursor == (row, self.column(drawn));
                let (text, style) = self.wide_cell(row, drawn, width, theme);
                let style = match (here, style.bg) {
                    (true, Some(_)) => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
                    // without a colour, the cell under the cursor is shown in reverse
                    (true, None) => theme.selected(true),
                    (false, _) => style,
                };
                for line in 0..height {
                    let text = if line == (height - 1) / 2 { bracket(&text, here) } else { " ".repeat(width) };
                    put(buffer, offset(grid.x, x * width), offset(grid.y, y * height + line), text, style);
                }
            }
        }
    }

    fn wide_cell(&self, row: usize, drawn: usize, width: usize, theme: Theme) -> (String, Style) {
        let Some(value) = self.at(row, drawn) else {
            let dot = if theme.ascii { "." } else { "·" };
            return (format!("{dot:^width$}"), theme.dim());
        };
        let paint = self.scale.paint(value.into(), theme);
        // every cell has as many digits, and room for a sign where the map has one
        let (signed, large) = match self.scale {
            Scale::From(low, high) => (low < 0.0, low.abs().max(high.abs()) >= 10.0),
            Scale::Around(most) => (true, most >= 10.0),
        };
        let digits = match width {
            0..5 => None,
            _ if self.scale == Scale::From(0.0, 1.0) => Some(2),
            5 => None,
            _ if width >= 7 && !large => Some(3),
            _ => Some(1),
        };
        let written = digits.map(|digits| {
            let number = text::fixed(value.into(), digits);
            let sign = if signed && !number.starts_with('-') { " " } else { "" };
            format!("{:^width$}", format!("{sign}{number}"))
        });
        let written = written.filter(|text| text.len() == width);
        match paint.color {
            Some(_) => (written.unwrap_or_else(|| " ".repeat(width)), paint.background()),
            None => (written.unwrap_or_else(|| paint.shade.to_string().repeat(width)), paint.shade_style),
        }
    }

    /// Cells of `pool.0` rows and `pool.1` columns each, `width` columns wide, `halves` of them in a row of the screen.
    pub(super) fn draw_half(
        &self,
        buffer: &mut Buffer,
        grid: Rect,
        window: &Window,
        (pool, width, halves): ((usize, usize), usize, usize),
        theme: Theme,
    ) {
        let cursor = (self.cursor.0, self.column_drawn(self.cursor.1));
        for y in 0..window.lines().min(grid.height.into()) {
            for screen_x in 0..window.width().min(grid.width.into()) {
                let column = window.columns.start + screen_x / width * pool.1;
                let row = |half: usize| window.rows.start + (y * halves + half) * pool.0;
                let here = |half: usize| {
                    (row(half)..row(half) + pool.0).contains(&cursor.0) && (column..column + pool.1).contains(&cursor.1)
                };
                let Some(cell) = buffer.cell_mut((offset(grid.x, screen_x), offset(grid.y, y))) else {
                    continue;
                };
                let paint = |half| {
                    let value = if row(half) < window.rows.end { self.pooled(row(half), column, pool) } else { None };
                    value.map(|value| self.scale.paint(value.into(), theme))
                };
                if halves == 1 {
                    let paint = paint(0);
                    cell.set_char(paint.map_or(' ', |p| p.shade))
                        .set_style(paint.map_or(Style::new(), |p| p.shade_style));
                    if here(0) {
                        cell.set_style(theme.selected(true));
                    }
                    continue;
                }
                // the cursor's half keeps its colour, with a mark that stands out
                if let Some(half) = (0..2).find(|half| here(*half)) {
                    let style = paint(half).map_or(theme.title(), Paint::background);
                    cell.set_char(if screen_x % width == 0 { '◆' } else { ' ' }).set_style(style);
                    continue;
                }
                halve(cell, paint(0).and_then(|p| p.color), paint(1).and_then(|p| p.color));
            }
        }
    }
}
