//! A matrix to draw as coloured cells, and how large its cells can be.

use ratatui::layout::Rect;

use super::{
    geometry::{around, halves},
    window::{Cells, Window},
};
use crate::paint::{Region, Theme, scale::Scale};

/// What to draw: `[row, column]` values with a label for each.
pub(crate) struct Heatmap<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    pub row_labels: &'a [String],
    pub column_labels: &'a [String],
    pub scale: Scale,
    /// For attention: cells above the diagonal with this value are masked, and left blank.
    pub masked: Option<f32>,
    /// The order in which the columns are drawn, if it is not the matrix's own.
    pub order: Option<&'a [usize]>,
    pub cursor: (usize, usize),
    /// 0: the whole matrix; 1: every value, around the cursor; 2: with numbers.
    pub zoom: u8,
}

/// The most cells of different colours on the screen at once, at about 40 bytes each.
const DENSE: usize = 1000;

/// The number of rows or columns from which on a map is a picture, if the terminal draws pictures.
const PICTURE: usize = 65;

/// How much longer one side of a picture's cell may be than the other.
const STRETCH: usize = 2;

impl Heatmap<'_> {
    /// The size of cells that fill `room`, columns and rows of the screen.
    pub(super) fn cells(&self, (columns, rows): (usize, usize), theme: Theme) -> Cells {
        let width = (columns / self.columns).min(12);
        if self.rows <= rows && width >= 2 && (self.zoom < 2 || width >= 7) {
            let height = (rows / self.rows).clamp(1, width.div_ceil(4).clamp(1, 3));
            return Cells::Wide { width, height };
        }
        if self.zoom >= 2 {
            return Cells::Wide { width: 8.min(columns.max(1)), height: 1 };
        }
        let halves = halves(theme);
        if self.zoom == 1 {
            return Cells::Half { rows: 1, columns: 1, width: 2.min(columns.max(1)), halves };
        }
        if let Some(cells) = self.pixels((columns, rows), theme) {
            return cells;
        }
        // without colours a cell can't be halved
        let rows = rows * halves;
        // neighbouring values around 0 are seldom alike, so cells are wide enough that drawing them stays quick over a
        // slow line
        let least = match self.scale {
            Scale::Around(_) => (columns * rows / halves).div_ceil(DENSE).clamp(1, 4),
            Scale::From(..) => 1,
        };
        let pool = self.columns.div_ceil((columns / least).max(1)).max(1);
        let width = if pool == 1 { (columns / self.columns).clamp(least.min(columns.max(1)), 4) } else { least };
        Cells::Half { rows: self.rows.div_ceil(rows.max(1)).max(1), columns: pool, width, halves }
    }

    /// The cells of a picture, if the terminal draws pictures and there are enough values for one.
    fn pixels(&self, (columns, rows): (usize, usize), theme: Theme) -> Option<Cells> {
        let (width, height) = theme.pixels.filter(|_| theme.halves())?;
        let cell = (usize::from(width.get()), usize::from(height.get()));
        let room = (columns * cell.0, rows * cell.1);
        if self.rows.max(self.columns) < PICTURE || room.0 == 0 || room.1 == 0 {
            return None;
        }
        let pool = (self.rows.div_ceil(room.1), self.columns.div_ceil(room.0));
        let (across, down) = (room.0 / self.columns.div_ceil(pool.1), room.1 / self.rows.div_ceil(pool.0));
        let (across, down) = (across.min(down * STRETCH), down.min(across * STRETCH));
        Some(Cells::Pixels { rows: pool.0, columns: pool.1, across, down, cell })
    }

    pub(super) fn window(&self, room: (usize, usize), theme: Theme) -> Window {
        let cells = self.cells(room, theme);
        let (rows, columns) = match cells {
            Cells::Wide { width, height } => (room.1 / height, room.0 / width),
            Cells::Half { rows, columns, width, halves } => (room.1 * halves * rows, room.0 / width * columns),
            Cells::Pixels { .. } => (self.rows, self.columns),
        };
        Window {
            cells,
            rows: around(self.cursor.0, rows, self.rows),
            columns: around(self.column_drawn(self.cursor.1), columns, self.columns),
        }
    }

    /// The column of values drawn at place `drawn`.
    pub(super) fn column(&self, drawn: usize) -> usize {
        self.order.and_then(|order| order.get(drawn)).copied().unwrap_or(drawn)
    }

    /// The place at which a column of values is drawn.
    pub(super) fn column_drawn(&self, column: usize) -> usize {
        self.order.and_then(|order| order.iter().position(|c| *c == column)).unwrap_or(column)
    }

    /// The value at a row and a drawn column; None if it is masked.
    pub(super) fn at(&self, row: usize, drawn: usize) -> Option<f32> {
        if row >= self.rows || drawn >= self.columns {
            return None;
        }
        let value = *self.values.get(row * self.columns + self.column(drawn))?;
        #[allow(clippy::float_cmp, reason = "the mask's own value")]
        let masked = self.column(drawn) > row
            && self.masked.is_some_and(|mask| value == mask || value.is_nan() && mask.is_nan());
        (!masked).then_some(value)
    }

    /// The largest value of a block of `pool.0` rows and `pool.1` columns or, around 0, the one furthest from it.
    pub(super) fn pooled(&self, row: usize, drawn: usize, pool: (usize, usize)) -> Option<f32> {
        let cells = (0..pool.0).flat_map(|i| (0..pool.1).map(move |j| (row + i, drawn + j)));
        let larger = |a: f32, b: f32| match self.scale {
            Scale::From(..) => a.max(b),
            Scale::Around(_) if a.is_nan() || b.abs() > a.abs() => b,
            Scale::Around(_) => a,
        };
        cells.filter_map(|(i, j)| self.at(i, j)).reduce(larger)
    }

    /// Which row and column of values each place of the screen shows; if several share a place, the upper one.
    pub(super) fn region(&self, grid: Rect, window: &Window) -> Region {
        let columns = window.all_columns().into_iter().map(|drawn| self.column(drawn)).collect();
        Region::cells(grid, window.all_rows(), columns)
    }
}
