//! A map of layers (or heads) by heads (or positions): one number per cell, with labels on both sides.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_width::UnicodeWidthStr;

use super::{
    Region, Theme,
    heatmap::{around, bracket, offset},
    put,
    scale::Scale,
    text,
};

pub(crate) struct Grid<'a> {
    pub rows: &'a [String],
    pub columns: &'a [String],
    /// A column that is set a little apart.
    pub apart: Option<usize>,
    /// None if the value is not known yet.
    pub value: &'a dyn Fn(usize, usize) -> Option<f64>,
    pub scale: Scale,
    /// None if the cursor is elsewhere.
    pub cursor: Option<(usize, usize)>,
}

/// The columns that a cell needs to show its number, and the most that it gets.
const NUMBER: usize = 6;
const WIDEST: usize = 14;

/// The most rows of a cell.
const HIGHEST: usize = 3;

impl Grid<'_> {
    /// Draws column labels on the first row and the grid below, scrolled so that the cursor is visible. Returns the
    /// first row below it.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>, area: Rect, hits: &mut Vec<Region>, theme: Theme) -> u16 {
        let left = self.rows.iter().map(|row| row.width()).max().unwrap_or(0).min(12) + 1;
        let room = usize::from(area.width).saturating_sub(left + usize::from(self.apart.is_some()));
        let down = usize::from(area.height).saturating_sub(1);
        if room == 0 || down == 0 || self.columns.is_empty() {
            return area.y;
        }
        let width = (room / self.columns.len()).clamp(1, WIDEST);
        // rows grow with columns, so that cells keep their shape
        let height = (down / self.rows.len().max(1)).clamp(1, (width / 4).clamp(1, HIGHEST));
        let (at_row, at_column) = self.cursor.unwrap_or_default();
        let rows = around(at_row, down / height, self.rows.len());
        let columns = around(at_column, room / width, self.columns.len());
        let place =
            |x: usize, column: usize| left + x * width + usize::from(self.apart.is_some_and(|apart| column >= apart));
        let here_column = |column: usize| self.cursor.is_some_and(|(_, c)| c == column);
        for (x, column) in columns.clone().enumerate() {
            let here = here_column(column);
            // narrow columns are labelled only where labels do not touch
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
            let screen_y = offset(area.y, y * height + 1);
            let label = text::fit(&self.rows[row], left - 1, theme);
            put(frame.buffer_mut(), area.x, offset(screen_y, (height - 1) / 2), label, style);
            for (x, column) in columns.clone().enumerate() {
                let here = here_row && here_column(column);
                let (cell, style) = self.cell((self.value)(row, column), width, here, theme);
                let at = offset(area.x, place(x, column));
                for line in 0..height {
                    let text = match style.bg {
                        _ if line == (height - 1) / 2 => cell.clone(),
                        Some(_) => " ".repeat(width),
                        None => paint_around(&cell, width),
                    };
                    put(frame.buffer_mut(), at, offset(screen_y, line), text, style);
                }
            }
        }
        for (x, column) in columns.enumerate() {
            shown.resize(place(x, column), column);
            shown.extend(std::iter::repeat_n(column, width));
        }
        let shown = shown.into_iter().skip(left).collect();
        let lines: Vec<usize> = rows.flat_map(|row| std::iter::repeat_n(row, height)).collect();
        let bottom = offset(area.y, 1 + lines.len()).min(area.bottom());
        let inside = Rect { x: offset(area.x, left), y: area.y + 1, ..area }.intersection(area);
        hits.push(Region::cells(inside, lines, shown));
        bottom
    }

    fn cell(&self, value: Option<f64>, width: usize, here: bool, theme: Theme) -> (String, Style) {
        let marked =
            |style: Style| if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
        let Some(value) = value else {
            let dot = if theme.ascii { "." } else { "·" };
            return (bracket(&format!("{dot:^width$}"), here && width > 2), marked(theme.dim()));
        };
        let decimals = if value.abs() < 9.995 { 2 } else { usize::from(value.abs() < 999.5) };
        let written = format!("{:^width$}", text::fixed(value, decimals));
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

/// The other rows of a cell without a colour: its shade again, if it has one.
fn paint_around(cell: &str, width: usize) -> String {
    let mut chars = cell.chars();
    match chars.next() {
        Some(first) if chars.all(|c| c == first) => first.to_string().repeat(width),
        Some(_) | None => " ".repeat(width),
    }
}
