use ratatui::layout::Rect;

/// A map of coloured cells for a terminal that draws pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The columns and rows of the screen that it covers.
    pub area: Rect,
    /// Row-major; None for no colour.
    pub colours: Vec<Option<[u8; 3]>>,
    /// The number of cells in a row.
    pub columns: usize,
    /// The width of a cell in pixels.
    pub across: usize,
    pub down: usize,
}

impl Picture {
    /// The colour of a pixel, counted from the upper left corner; None outside the picture.
    #[must_use]
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        let (column, row) = (x / self.across.max(1), y / self.down.max(1));
        if column >= self.columns {
            return None;
        }
        self.colours.get(row * self.columns + column).copied().flatten()
    }

    /// Whether it shows the same cells, anywhere on the screen.
    #[must_use]
    pub fn shows_the_same(&self, other: &Self) -> bool {
        let shape = |p: &Self| (p.area.as_size(), p.columns, p.across, p.down);
        shape(self) == shape(other) && self.colours == other.colours
    }
}
