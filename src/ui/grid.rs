//! A map of layers (or heads) by heads (or positions): a number a cell, with labels at both sides.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_width::UnicodeWidthStr;

use super::{
    Theme,
    heatmap::{around, bracket, offset},
    put,
    scale::Scale,
    text,
};
use crate::app::{Hit, Region};

pub(super) struct Grid<'a> {
    pub rows: &'a [String],
    pub columns: &'a [String],
    /// A column that stands a little apart.
    pub apart: Option<usize>,
    /// None where there is nothing yet.
    pub value: &'a dyn Fn(usize, usize) -> Option<f64>,
    pub scale: Scale,
    /// None where the cursor is elsewhere.
    pub cursor: Option<(usize, usize)>,
    pub hit: fn(usize, usize) -> Hit,
}

/// Columns from which a cell has room for its number, and the most it takes.
const NUMBER: usize = 6;
const WIDEST: usize = 8;

impl Grid<'_> {
    /// Column labels on the first row, the grid below; scrolled so that the cursor is in sight.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, area: Rect, hits: &mut Vec<Region>, theme: Theme) {
        let left = self.rows.iter().map(|row| row.width()).max().unwrap_or(0).min(12) + 1;
        let room = usize::from(area.width).saturating_sub(left + usize::from(self.apart.is_some()));
        let down = usize::from(area.height).saturating_sub(1);
        if room == 0 || down == 0 || self.columns.is_empty() {
            return;
        }
        let width = (room / self.columns.len()).clamp(1, WIDEST);
        let (at_row, at_column) = self.cursor.unwrap_or_default();
        let rows = around(at_row, down, self.rows.len());
        let columns = around(at_column, room / width, self.columns.len());
        let place =
            |x: usize, column: usize| left + x * width + usize::from(self.apart.is_some_and(|apart| column >= apart));
        let here_column = |column: usize| self.cursor.is_some_and(|(_, c)| c == column);
        for (x, column) in columns.clone().enumerate() {
            let here = here_column(column);
            // over narrow columns a label only where it does not touch another
            let near = self.cursor.is_some_and(|(_, c)| c.abs_diff(column) * width < 4);
            if width < 3 && !here && (column % 5 != 0 || near) {
                continue;
            }
            let style = if here { theme.title() } else { theme.dim() };
            let label = text::cut(&self.columns[column], width.max(4) - 1, theme);
            put(
                frame.buffer_mut(),
                offset(area.x, place(x, column) + usize::from(width >= NUMBER)),
                area.y,
                label,
                style,
            );
        }
        let mut shown = Vec::new();
        for (y, row) in rows.clone().enumerate() {
            let here_row = self.cursor.is_some_and(|(r, _)| r == row);
            let style = if here_row { theme.title() } else { theme.dim() };
            let screen_y = offset(area.y, y + 1);
            put(frame.buffer_mut(), area.x, screen_y, text::fit(&self.rows[row], left - 1, theme), style);
            for (x, column) in columns.clone().enumerate() {
                let here = here_row && here_column(column);
                let (cell, style) = self.cell((self.value)(row, column), width, here, theme);
                put(frame.buffer_mut(), offset(area.x, place(x, column)), screen_y, cell, style);
            }
        }
        for (x, column) in columns.enumerate() {
            shown.resize(place(x, column), column);
            shown.extend(std::iter::repeat_n(column, width));
        }
        let shown = shown.into_iter().skip(left).collect();
        let inside = Rect { x: offset(area.x, left), y: area.y + 1, ..area }.intersection(area);
        hits.push(Region { area: inside, rows: rows.collect(), columns: shown, hit: self.hit });
    }

    fn cell(&self, value: Option<f64>, width: usize, here: bool, theme: Theme) -> (String, Style) {
        let marked =
            |style: Style| if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
        let Some(value) = value else {
            let dot = if theme.ascii { "." } else { "·" };
            return (bracket(&format!("{dot:^width$}"), here && width > 2), marked(theme.dim()));
        };
        let decimals = if value.abs() < 9.995 { 2 } else { usize::from(value.abs() < 999.5) };
        let written = format!("{value:^width$.decimals$}");
        let fits = width >= NUMBER && written.width() == width;
        let paint = self.scale.paint(value, theme);
        match (fits, paint.color) {
            (true, Some(_)) => (bracket(&written, here), marked(paint.background())),
            (true, None) if here => (bracket(&written, here), theme.selected(true)),
            (true, None) => (written, paint.shade_style),
            (false, Some(_)) if here => (format!("{:<width$}", theme.mark()), marked(paint.background())),
            (false, Some(_)) => (" ".repeat(width), paint.background()),
            (false, None) if here => (paint.shade.to_string().repeat(width), theme.selected(true)),
            (false, None) => (paint.shade.to_string().repeat(width), paint.shade_style),
        }
    }
}
