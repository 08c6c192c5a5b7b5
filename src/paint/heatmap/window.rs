//! The visible part of a matrix, and the place of each of its values on the screen.

use std::{iter::repeat_n, ops::Range};

/// The number of columns from which on narrow ones are numbered instead of labelled.
const TICKED: usize = 40;

/// The size of a cell on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cells {
    /// This many columns and rows of the screen.
    Wide { width: usize, height: usize },
    /// Half a row of the screen (or a whole row if colours can't halve it), by `width` columns of the screen; each cell
    /// is the largest of `rows` by `columns` values.
    Half { rows: usize, columns: usize, width: usize, halves: usize },
    /// `across` by `down` pixels of a picture, each cell the largest of `rows` by `columns` values; a column of the
    /// screen is `cell.0` pixels wide and a row `cell.1` pixels high.
    Pixels { rows: usize, columns: usize, across: usize, down: usize, cell: (usize, usize) },
}

/// The visible rows, and the visible columns in the order drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub cells: Cells,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Window {
    /// Rows and columns of values in a cell.
    pub fn pool(&self) -> (usize, usize) {
        match self.cells {
            Cells::Wide { .. } => (1, 1),
            Cells::Half { rows, columns, .. } | Cells::Pixels { rows, columns, .. } => (rows, columns),
        }
    }

    /// The rows of the screen that it takes.
    pub fn lines(&self) -> usize {
        let n = self.rows.len();
        match self.cells {
            Cells::Wide { height, .. } => n * height,
            Cells::Half { rows, halves, .. } => n.div_ceil(rows * halves),
            Cells::Pixels { rows, down, cell, .. } => (n.div_ceil(rows) * down).div_ceil(cell.1),
        }
    }

    /// The columns of the screen that it takes.
    pub fn width(&self) -> usize {
        let n = self.columns.len();
        match self.cells {
            Cells::Wide { width, .. } => n * width,
            Cells::Half { columns, width, .. } => n.div_ceil(columns) * width,
            Cells::Pixels { columns, across, cell, .. } => (n.div_ceil(columns) * across).div_ceil(cell.0),
        }
    }

    /// The row that a row of the screen shows; the first, if it shows several.
    pub fn row_at(&self, line: usize) -> Option<usize> {
        let row = match self.cells {
            Cells::Wide { height, .. } => line / height,
            Cells::Half { rows, halves, .. } => line * rows * halves,
            Cells::Pixels { rows, down, cell, .. } => (line * cell.1 + cell.1 / 2) / down * rows,
        };
        Some(self.rows.start + row).filter(|row| *row < self.rows.end)
    }

    /// The drawn column that a column of the screen shows.
    pub fn column_at(&self, x: usize) -> Option<usize> {
        let column = match self.cells {
            Cells::Wide { width, .. } => x / width,
            Cells::Half { columns, width, .. } => x / width * columns,
            Cells::Pixels { columns, across, cell, .. } => (x * cell.0 + cell.0 / 2) / across * columns,
        };
        Some(self.columns.start + column).filter(|column| *column < self.columns.end)
    }

    /// The row of the screen that shows a row.
    pub fn line_of(&self, row: usize) -> usize {
        let at = row.saturating_sub(self.rows.start);
        match self.cells {
            Cells::Wide { height, .. } => at * height,
            Cells::Half { rows, halves, .. } => at / (rows * halves),
            Cells::Pixels { rows, down, cell, .. } => (at / rows * down + down / 2) / cell.1,
        }
    }

    /// The first column of the screen that shows a drawn column.
    pub fn x_of(&self, column: usize) -> usize {
        let at = column.saturating_sub(self.columns.start);
        match self.cells {
            Cells::Wide { width, .. } => at * width,
            Cells::Half { columns, width, .. } => at / columns * width,
            Cells::Pixels { columns, across, cell, .. } => (at / columns * across + across / 2) / cell.0,
        }
    }

    /// The columns of the screen in a cell; 1 for a picture.
    pub fn cell_width(&self) -> usize {
        match self.cells {
            Cells::Wide { width, .. } | Cells::Half { width, .. } => width,
            Cells::Pixels { .. } => 1,
        }
    }

    /// Whether columns are too narrow and too many for the letters of labels.
    pub fn is_numbered(&self) -> bool {
        match self.cells {
            Cells::Wide { width, .. } | Cells::Half { width, .. } => {
                width < 3 && self.columns.len().div_ceil(self.pool().1) > TICKED
            }
            Cells::Pixels { .. } => true,
        }
    }

    /// The row of each row of the screen.
    pub fn all_rows(&self) -> Vec<usize> {
        (0..self.lines()).map_while(|line| self.row_at(line)).collect()
    }

    /// The drawn column of each column of the screen.
    pub fn all_columns(&self) -> Vec<usize> {
        match self.cells {
            Cells::Wide { width, .. } => self.columns.clone().flat_map(|column| repeat_n(column, width)).collect(),
            Cells::Half { .. } | Cells::Pixels { .. } => (0..self.width()).map_while(|x| self.column_at(x)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A clicked value becomes the cursor, and is drawn where it was clicked.
        #[test]
        fn places_on_the_screen_and_in_the_matrix_correspond(
            (kind, rows, columns) in (0..3, 1..400usize, 1..400usize),
            (a, b) in (1..4usize, 1..4usize),
            (across, down) in (1..9usize, 1..9usize),
            cell in (5..12usize, 10..24usize),
        ) {
            let cells = match kind {
                0 => Cells::Wide { width: a * 2, height: b },
                1 => Cells::Half { rows: a, columns: b, width: 1 + across % 4, halves: 1 + down % 2 },
                _ => Cells::Pixels { rows: a, columns: b, across, down, cell },
            };
            let window = Window { cells, rows: 3..3 + rows, columns: 5..5 + columns };
            for line in 0..window.lines() {
                if let Some(row) = window.row_at(line) {
                    prop_assert!(window.rows.contains(&row));
                    prop_assert_eq!(window.row_at(window.line_of(row)), Some(row));
                }
            }
            for row in window.rows.clone() {
                prop_assert!(window.line_of(row) < window.lines());
            }
            for column in window.columns.clone() {
                prop_assert!(window.x_of(column) < window.width());
            }
            for x in 0..window.width() {
                if let Some(column) = window.column_at(x) {
                    prop_assert!(window.columns.contains(&column));
                    prop_assert_eq!(window.column_at(window.x_of(column)), Some(column));
                }
            }
        }
    }
}
