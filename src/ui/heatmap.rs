//! A matrix as coloured cells, as large as fit.

use std::ops::Range;

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::UnicodeWidthStr;

use super::{
    Theme, put,
    scale::{Paint, Scale},
    text,
};
use crate::app::{Hit, Region};

/// What to draw: `[row, column]` values with a label for each.
pub(super) struct Heatmap<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    pub row_labels: &'a [String],
    pub column_labels: &'a [String],
    pub scale: Scale,
    /// Attention: cells above the diagonal that have this value are masked, and left blank.
    pub masked: Option<f32>,
    /// The columns in the order they are drawn in, where it is another.
    pub order: Option<&'a [usize]>,
    pub cursor: (usize, usize),
    /// 0: all of it; 1: every value, around the cursor; 2: with numbers.
    pub zoom: u8,
}

/// How large a cell is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cells {
    /// So many screen columns and rows.
    Wide { width: usize, height: usize },
    /// Half a screen row by some screen columns, each the largest of so many rows and columns of values.
    Half { rows: usize, columns: usize, width: usize },
}

/// What is visible: of the rows and of the columns (in the order drawn).
struct Window {
    cells: Cells,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Cells of different colours on the screen at once, at about 40 bytes each.
pub(super) const DENSE: usize = 1000;

/// Label columns at the left, and rows at the top.
const LABEL: usize = 10;

impl Heatmap<'_> {
    /// Draw into `area`; returns how many rows and columns of values a drawn cell stands for: (1, 1) where every value
    /// is drawn.
    pub(super) fn draw(&self, buffer: &mut Buffer, area: Rect, hits: &mut Vec<Region>, theme: Theme) -> (usize, usize) {
        let widest = |labels: &[String]| labels.iter().map(|l| l.width()).max().unwrap_or(0);
        let left = widest(self.row_labels).min(LABEL).min(usize::from(area.width) / 3) + 1;
        let room = (usize::from(area.width).saturating_sub(left), usize::from(area.height));
        if room.0 == 0 || room.1 < 2 || self.rows == 0 || self.columns == 0 {
            return (1, 1);
        }
        // labels stand upright over narrow columns
        let widest = widest(self.column_labels);
        let top = match self.cells(room, theme) {
            Cells::Wide { width, .. } if width >= 5 => 1,
            // but never at the price of cells that would fit
            Cells::Wide { .. } => widest.min(5).min(room.1.saturating_sub(self.rows)).max(1),
            Cells::Half { .. } => widest.min(5).min(room.1 / 4),
        };
        let (left, top) = (u16::try_from(left).unwrap_or(0), u16::try_from(top).unwrap_or(0));
        let (width, height) = (area.width.saturating_sub(left), area.height.saturating_sub(top));
        let grid = Rect { x: area.x + left, y: area.y + top, width, height };
        let window = self.window((width.into(), height.into()), theme);
        match window.cells {
            Cells::Wide { width, height } => self.draw_wide(buffer, grid, &window, (width, height), theme),
            Cells::Half { rows, columns, width } => {
                self.draw_half(buffer, grid, &window, (rows, columns), width, theme);
            }
        }
        self.draw_row_labels(buffer, Rect { x: area.x, width: left, ..grid }, &window, theme);
        self.draw_column_labels(buffer, Rect { y: area.y, height: top, ..grid }, &window, theme);
        hits.push(self.region(grid, &window, theme));
        match window.cells {
            Cells::Wide { .. } => (1, 1),
            Cells::Half { rows, columns, .. } => (rows, columns),
        }
    }

    fn cells(&self, (columns, rows): (usize, usize), theme: Theme) -> Cells {
        let width = (columns / self.columns).min(8);
        if self.rows <= rows && width >= 2 && (self.zoom < 2 || width >= 7) {
            let height = if width >= 4 && self.rows * 2 <= rows { 2 } else { 1 };
            return Cells::Wide { width, height };
        }
        if self.zoom >= 2 {
            return Cells::Wide { width: 8.min(columns.max(1)), height: 1 };
        }
        // without colours a cell can't be halved
        let rows = rows * halves(theme);
        if self.zoom == 1 {
            return Cells::Half { rows: 1, columns: 1, width: 2.min(columns.max(1)) };
        }
        // values around 0 are seldom alike: cells are then wide enough that drawing them all stays quick over a slow line
        let least = match self.scale {
            Scale::Around(_) => (columns * rows / halves(theme)).div_ceil(DENSE).clamp(1, 4),
            Scale::From(..) => 1,
        };
        let pool = self.columns.div_ceil((columns / least).max(1)).max(1);
        let width = if pool == 1 { (columns / self.columns).clamp(least.min(columns.max(1)), 4) } else { least };
        Cells::Half { rows: self.rows.div_ceil(rows.max(1)).max(1), columns: pool, width }
    }

    fn window(&self, room: (usize, usize), theme: Theme) -> Window {
        let cells = self.cells(room, theme);
        let (rows, columns) = match cells {
            Cells::Wide { width, height } => (room.1 / height, room.0 / width),
            Cells::Half { rows, columns, width } => (room.1 * halves(theme) * rows, room.0 / width * columns),
        };
        Window {
            cells,
            rows: around(self.cursor.0, rows, self.rows),
            columns: around(self.column_drawn(self.cursor.1), columns, self.columns),
        }
    }

    /// The column of values that is drawn as number `drawn`.
    fn column(&self, drawn: usize) -> usize {
        self.order.and_then(|order| order.get(drawn)).copied().unwrap_or(drawn)
    }

    /// As which number a column of values is drawn.
    fn column_drawn(&self, column: usize) -> usize {
        self.order.and_then(|order| order.iter().position(|c| *c == column)).unwrap_or(column)
    }

    /// The value at a row and a drawn column, None where it is masked.
    fn at(&self, row: usize, drawn: usize) -> Option<f32> {
        if row >= self.rows || drawn >= self.columns {
            return None;
        }
        let value = *self.values.get(row * self.columns + self.column(drawn))?;
        #[allow(clippy::float_cmp, reason = "the mask's own value")]
        let masked = self.column(drawn) > row
            && self.masked.is_some_and(|mask| value == mask || value.is_nan() && mask.is_nan());
        (!masked).then_some(value)
    }

    /// The largest value of a block of `pool.0` rows and `pool.1` columns, or around 0 the one furthest from it.
    fn pooled(&self, row: usize, drawn: usize, pool: (usize, usize)) -> Option<f32> {
        let cells = (0..pool.0).flat_map(|i| (0..pool.1).map(move |j| (row + i, drawn + j)));
        let larger = |a: f32, b: f32| match self.scale {
            Scale::From(..) => a.max(b),
            Scale::Around(_) if a.is_nan() || b.abs() > a.abs() => b,
            Scale::Around(_) => a,
        };
        cells.filter_map(|(i, j)| self.at(i, j)).reduce(larger)
    }

    fn draw_wide(&self, buffer: &mut Buffer, grid: Rect, window: &Window, size: (usize, usize), theme: Theme) {
        let (width, height) = size;
        for (y, row) in window.rows.clone().enumerate() {
            for (x, drawn) in window.columns.clone().enumerate() {
                let here = self.cursor == (row, self.column(drawn));
                let (text, style) = self.wide_cell(row, drawn, width, theme);
                let style = if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
                for line in 0..height {
                    let text = if line == 0 { bracket(&text, here) } else { " ".repeat(width) };
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
        let written = match width {
            0..5 => None,
            _ if self.scale == Scale::From(0.0, 1.0) => Some(format!("{value:^width$.2}")),
            5 => None,
            _ if width >= 7 && value.abs() < 10.0 => Some(format!("{value:^width$.3}")),
            _ => Some(format!("{value:^width$.1}")),
        };
        let written = written.filter(|text| text.len() == width);
        match paint.color {
            Some(_) => (written.unwrap_or_else(|| " ".repeat(width)), paint.background()),
            None => (written.unwrap_or_else(|| paint.shade.to_string().repeat(width)), paint.shade_style),
        }
    }

    fn draw_half(
        &self,
        buffer: &mut Buffer,
        grid: Rect,
        window: &Window,
        pool: (usize, usize),
        width: usize,
        theme: Theme,
    ) {
        let halves = halves(theme);
        let cursor = (self.cursor.0, self.column_drawn(self.cursor.1));
        for y in 0..window.rows.len().div_ceil(pool.0 * halves).min(grid.height.into()) {
            for screen_x in 0..(window.columns.len().div_ceil(pool.1) * width).min(grid.width.into()) {
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
                // the cursor's half shows its colour whole, with a mark that can be seen on it
                if let Some(half) = (0..2).find(|half| here(*half)) {
                    let style = paint(half).map_or(theme.title(), Paint::background);
                    cell.set_char(if screen_x % width == 0 { '◆' } else { ' ' }).set_style(style);
                    continue;
                }
                halve(cell, paint(0).and_then(|p| p.color), paint(1).and_then(|p| p.color));
            }
        }
    }

    /// Labels of the rows: every row, or every row of cells where cells are halved or pooled.
    fn draw_row_labels(&self, buffer: &mut Buffer, area: Rect, window: &Window, theme: Theme) {
        let width = usize::from(area.width).saturating_sub(1);
        // values to a row of labels, and rows of the screen from one label to the next
        let (per_row, step) = match window.cells {
            Cells::Wide { height, .. } => (1, height),
            Cells::Half { rows, .. } => (rows * halves(theme), 1),
        };
        for y in (0..usize::from(area.height)).step_by(step) {
            let first = window.rows.start + y / step * per_row;
            if first >= window.rows.end {
                break;
            }
            let here = (first..first + per_row).contains(&self.cursor.0);
            let shown = if here { self.cursor.0 } else { first };
            let Some(label) = self.row_labels.get(shown) else { continue };
            let label = text::cut(label, width, theme);
            let pad = width.saturating_sub(label.width());
            let style = if here { theme.title() } else { theme.dim() };
            put(buffer, area.x, offset(area.y, y), format!("{}{label}", " ".repeat(pad)), style);
        }
    }

    fn draw_column_labels(&self, buffer: &mut Buffer, area: Rect, window: &Window, theme: Theme) {
        let (width, pool) = match window.cells {
            Cells::Wide { width, .. } => (width, 1),
            Cells::Half { columns, width, .. } => (width, columns),
        };
        let cursor = self.column_drawn(self.cursor.1);
        for (x, drawn) in window.columns.clone().step_by(pool).enumerate() {
            let here = (drawn..drawn + pool).contains(&cursor);
            let Some(label) = self.column_labels.get(self.column(if here { cursor } else { drawn })) else { continue };
            let style = if here { theme.title() } else { theme.dim() };
            let at = offset(area.x, x * width);
            if width >= 5 {
                put(buffer, at, area.y, text::cut(label, width - 1, theme), style);
                continue;
            }
            // upright, the end of the label next to the grid
            let letters: Vec<char> = label.chars().take(area.height.into()).collect();
            let first = usize::from(area.height) - letters.len();
            for (y, letter) in letters.into_iter().enumerate() {
                if unicode_width::UnicodeWidthChar::width(letter) == Some(1) {
                    put(buffer, at + u16::from(width > 2), offset(area.y, first + y), letter.to_string(), style);
                }
            }
        }
    }

    /// Which row and column of values each place of the screen shows; where two share one, the upper.
    fn region(&self, grid: Rect, window: &Window, theme: Theme) -> Region {
        let (width, height, rows, columns) = match window.cells {
            Cells::Wide { width, height } => (width, height, 1, 1),
            Cells::Half { rows, columns, width } => (width, 1, rows * halves(theme), columns),
        };
        let per = |range: &Range<usize>, size: usize, pool: usize| -> Vec<usize> {
            range.clone().step_by(pool).flat_map(|i| std::iter::repeat_n(i, size)).collect()
        };
        let columns = per(&window.columns, width, columns).into_iter().map(|drawn| self.column(drawn)).collect();
        Region { area: grid, rows: per(&window.rows, height, rows), columns, hit: Hit::Cell }
    }
}

/// The part of `n` things, `room` of them, that has number `at` in its middle as far as the ends allow.
pub(super) fn around(at: usize, room: usize, n: usize) -> Range<usize> {
    let first = at.saturating_sub(room / 2).min(n.saturating_sub(room));
    first..(first + room).min(n)
}

/// Give the halves of a cell their colours.
pub(super) fn halve(cell: &mut Cell, upper: Option<Color>, lower: Option<Color>) {
    match (upper, lower) {
        (Some(upper), Some(lower)) => cell.set_char('▀').set_fg(upper).set_bg(lower),
        (Some(upper), None) => cell.set_char('▀').set_fg(upper),
        (None, Some(lower)) => cell.set_char('▄').set_fg(lower),
        (None, None) => cell.set_char(' '),
    };
}

/// How many rows of cells a row of the screen holds.
pub(super) fn halves(theme: Theme) -> usize {
    if theme.halves() { 2 } else { 1 }
}

pub(super) fn offset(from: u16, by: usize) -> u16 {
    from.saturating_add(u16::try_from(by).unwrap_or(u16::MAX))
}

/// `cell` in brackets, to show the cursor, where its ends are free for them: nothing that is written is hidden.
pub(super) fn bracket(cell: &str, here: bool) -> String {
    let inside = cell.strip_prefix([' ', '·', '.']).and_then(|rest| rest.strip_suffix(' '));
    match inside {
        Some(inside) if here => format!("[{inside}]"),
        _ => cell.to_string(),
    }
}
