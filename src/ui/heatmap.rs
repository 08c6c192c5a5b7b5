//! A square matrix as coloured cells, as large as fit.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};

/// What to draw: `[row, column]` values with a label for each.
pub(super) struct Heatmap<'a> {
    pub values: &'a [f32],
    /// Rows and columns.
    pub n: usize,
    pub labels: &'a [String],
    /// The values drawn with the lowest and the highest colour.
    pub range: (f64, f64),
    /// Cells with this value are left blank, if they lie in the future: they are masked.
    pub blank: f32,
    pub cursor: (usize, usize),
}

/// How large a cell is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cells {
    /// So many screen columns and rows.
    Wide { width: usize, height: usize },
    /// Half a screen row by some screen columns, each the largest of so many rows and columns of values.
    Half { rows: usize, columns: usize, width: usize },
}

/// Label columns at the left, and rows at the top.
const LABEL: usize = 10;

impl Heatmap<'_> {
    /// Draw into `area`; returns how many rows and columns of values a drawn cell stands for: (1, 1) where every value
    /// is drawn.
    pub(super) fn draw(&self, buffer: &mut Buffer, area: Rect, theme: Theme) -> (usize, usize) {
        let widest = self.labels.iter().map(|l| l.width()).max().unwrap_or(0);
        let left = widest.min(LABEL).min(usize::from(area.width) / 3) + 1;
        let room = (usize::from(area.width).saturating_sub(left), usize::from(area.height));
        if room.0 == 0 || room.1 < 2 || self.n == 0 {
            return (1, 1);
        }
        // labels stand upright over narrow columns
        let top = match self.cells(room, theme) {
            Cells::Wide { width, .. } if width >= 5 => 1,
            // but never at the price of cells that would fit
            Cells::Wide { .. } => widest.min(5).min(room.1 - self.n).max(1),
            Cells::Half { .. } => widest.min(5).min(room.1 / 4),
        };
        let (left, top) = (u16::try_from(left).unwrap_or(0), u16::try_from(top).unwrap_or(0));
        let (width, height) = (area.width.saturating_sub(left), area.height.saturating_sub(top));
        let grid = Rect { x: area.x + left, y: area.y + top, width, height };
        let cells = self.cells((width.into(), height.into()), theme);
        match cells {
            Cells::Wide { width, height } => self.draw_wide(buffer, grid, (width, height), theme),
            Cells::Half { rows, columns, width } => self.draw_half(buffer, grid, (rows, columns), width, theme),
        }
        self.row_labels(buffer, Rect { x: area.x, width: left, ..grid }, cells, theme);
        self.column_labels(buffer, Rect { y: area.y, height: top, ..grid }, cells, theme);
        match cells {
            Cells::Wide { .. } => (1, 1),
            Cells::Half { rows, columns, .. } => (rows, columns),
        }
    }

    fn cells(&self, (columns, rows): (usize, usize), theme: Theme) -> Cells {
        let width = (columns / self.n).min(8);
        if self.n <= rows && width >= 2 {
            let height = if width >= 4 && self.n * 2 <= rows { 2 } else { 1 };
            return Cells::Wide { width, height };
        }
        // without colours a cell can't be halved
        let rows = rows * halves(theme);
        let pool = self.n.div_ceil(columns.max(1)).max(1);
        let width = if pool == 1 { (columns / self.n).clamp(1, 4) } else { 1 };
        Cells::Half { rows: self.n.div_ceil(rows.max(1)).max(1), columns: pool, width }
    }

    /// The value at a place, None where it is masked.
    fn at(&self, row: usize, column: usize) -> Option<f32> {
        let value = *self.values.get(row * self.n + column)?;
        #[allow(clippy::float_cmp, reason = "the mask's own value")]
        let masked = column > row && value == self.blank;
        (!masked && row < self.n && column < self.n).then_some(value)
    }

    /// The largest value of a block of `pool.0` rows and `pool.1` columns.
    fn pooled(&self, row: usize, column: usize, pool: (usize, usize)) -> Option<f32> {
        let cells = (0..pool.0).flat_map(|i| (0..pool.1).map(move |j| (row * pool.0 + i, column * pool.1 + j)));
        cells.filter(|&(i, j)| i < self.n && j < self.n).filter_map(|(i, j)| self.at(i, j)).reduce(f32::max)
    }

    fn share(&self, value: f32) -> f64 {
        let (low, high) = self.range;
        if value.is_nan() || high <= low { 0.0 } else { ((f64::from(value) - low) / (high - low)).clamp(0.0, 1.0) }
    }

    fn draw_wide(&self, buffer: &mut Buffer, grid: Rect, (width, height): (usize, usize), theme: Theme) {
        for row in 0..self.n {
            for column in 0..self.n {
                let here = self.cursor == (row, column);
                let (text, style) = self.wide_cell(row, column, width, theme);
                let style = if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
                for line in 0..height {
                    let text = if line == 0 { bracket(&text, here && line == 0) } else { " ".repeat(width) };
                    buffer.set_string(offset(grid.x, column * width), offset(grid.y, row * height + line), text, style);
                }
            }
        }
    }

    fn wide_cell(&self, row: usize, column: usize, width: usize, theme: Theme) -> (String, Style) {
        let Some(value) = self.at(row, column) else {
            let dot = if theme.ascii { "." } else { "·" };
            return (format!("{dot:^width$}"), theme.dim());
        };
        let share = self.share(value);
        let written = match width {
            0..5 => None,
            _ if self.range == (0.0, 1.0) => Some(format!("{value:^width$.2}")),
            5 => None,
            _ => Some(format!("{value:^width$.1}")).filter(|text| text.len() == width),
        };
        let Some(color) = theme.heat(share) else {
            return (written.unwrap_or_else(|| theme.shade(share).to_string().repeat(width)), Style::new());
        };
        let ink = if share > 0.55 { Color::Black } else { Color::White };
        (written.unwrap_or_else(|| " ".repeat(width)), Style::new().bg(color).fg(ink))
    }

    fn draw_half(&self, buffer: &mut Buffer, grid: Rect, pool: (usize, usize), width: usize, theme: Theme) {
        let halves = halves(theme);
        for y in 0..self.n.div_ceil(pool.0 * halves).min(grid.height.into()) {
            for screen_x in 0..(self.n.div_ceil(pool.1) * width).min(grid.width.into()) {
                let x = screen_x / width;
                let here = |half: usize| (self.cursor.0 / pool.0, self.cursor.1 / pool.1) == (y * halves + half, x);
                let Some(cell) = buffer.cell_mut((offset(grid.x, screen_x), offset(grid.y, y))) else {
                    continue;
                };
                if halves == 1 {
                    let value = self.pooled(y, x, pool);
                    cell.set_char(value.map_or(' ', |v| theme.shade(self.share(v))));
                    if here(0) {
                        cell.set_style(theme.selected(true));
                    }
                    continue;
                }
                let color = |half| match self.pooled(y * 2 + half, x, pool) {
                    _ if here(half) => Some(Color::White),
                    Some(value) => theme.heat(self.share(value)),
                    None => None,
                };
                match (color(0), color(1)) {
                    (Some(upper), Some(lower)) => cell.set_char('▀').set_fg(upper).set_bg(lower),
                    (Some(upper), None) => cell.set_char('▀').set_fg(upper),
                    (None, Some(lower)) => cell.set_char('▄').set_fg(lower),
                    (None, None) => cell.set_char(' '),
                };
            }
        }
    }

    /// Query labels: every row, or every row of cells where cells are halved or pooled.
    fn row_labels(&self, buffer: &mut Buffer, area: Rect, cells: Cells, theme: Theme) {
        let width = usize::from(area.width).saturating_sub(1);
        // values to a row of labels, and rows of the screen from one label to the next
        let (per_row, step) = match cells {
            Cells::Wide { height, .. } => (1, height),
            Cells::Half { rows, .. } => (rows * halves(theme), 1),
        };
        for y in (0..usize::from(area.height)).step_by(step) {
            let first = y / step * per_row;
            if first >= self.n {
                break;
            }
            let here = (first..first + per_row).contains(&self.cursor.0);
            let shown = if here { self.cursor.0 } else { first };
            let label = text::cut(&self.labels[shown], width, theme);
            let pad = width.saturating_sub(label.width());
            let style = if here { theme.title() } else { theme.dim() };
            buffer.set_string(area.x, offset(area.y, y), format!("{}{label}", " ".repeat(pad)), style);
        }
    }

    fn column_labels(&self, buffer: &mut Buffer, area: Rect, cells: Cells, theme: Theme) {
        let (width, pool) = match cells {
            Cells::Wide { width, .. } => (width, 1),
            Cells::Half { columns, width, .. } => (width, columns),
        };
        for x in 0..self.n.div_ceil(pool).min(usize::from(area.width) / width) {
            let here = self.cursor.1 / pool == x;
            let label = &self.labels[if here { self.cursor.1 } else { x * pool }];
            let style = if here { theme.title() } else { theme.dim() };
            let at = offset(area.x, x * width);
            if width >= 5 {
                buffer.set_string(at, area.y, text::cut(label, width - 1, theme), style);
                continue;
            }
            // upright, the end of the label next to the grid
            let letters: Vec<char> = label.chars().take(area.height.into()).collect();
            let first = usize::from(area.height) - letters.len();
            for (y, letter) in letters.into_iter().enumerate() {
                if unicode_width::UnicodeWidthChar::width(letter) == Some(1) {
                    buffer.set_string(at + u16::from(width > 2), offset(area.y, first + y), letter.to_string(), style);
                }
            }
        }
    }
}

/// How many rows of cells a row of the screen holds: two, where colours can halve it.
fn halves(theme: Theme) -> usize {
    if theme.heat(0.0).is_some() && !theme.ascii { 2 } else { 1 }
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
