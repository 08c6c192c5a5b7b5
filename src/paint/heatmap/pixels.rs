//! A heatmap as a picture of pixels, if the terminal draws pictures.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{geometry::offset, map::Heatmap, window::Window};
use crate::paint::{Picture, Theme, scale::Paint};

impl Heatmap<'_> {
    /// The picture of the visible part, each cell `across` pixels wide and `down` high; the cursor is text above it.
    pub(super) fn draw_pixels(
        &self,
        buffer: &mut Buffer,
        grid: Rect,
        window: &Window,
        (across, down): (usize, usize),
        theme: Theme,
    ) -> Picture {
        let pool = window.pool();
        let small = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        let area = Rect { width: small(window.width()), height: small(window.lines()), ..grid }.intersection(grid);
        let colour = |row: usize, drawn: usize| {
            let value = self.pooled(row, drawn, pool)?;
            self.scale.paint(value.into(), theme).rgb()
        };
        let columns = window.columns.clone().step_by(pool.1);
        let rows = window.rows.clone().step_by(pool.0);
        let cells = rows.flat_map(|row| columns.clone().map(move |drawn| (row, drawn)));
        let colours = cells.map(|(row, drawn)| colour(row, drawn)).collect();
        let (row, column) = (self.cursor.0, self.column_drawn(self.cursor.1));
        let at = (offset(area.x, window.x_of(column)), offset(area.y, window.line_of(row)));
        if let Some(cell) = buffer.cell_mut(at).filter(|_| area.contains(at.into())) {
            let paint = self.at(row, column).map(|value| self.scale.paint(value.into(), theme));
            cell.set_symbol(theme.mark()).set_style(paint.map_or(theme.title(), Paint::background));
        }
        Picture { area, colours, columns: columns.len(), across, down }
    }
}
