//! A matrix as coloured cells, as large as possible.

mod cells;
mod geometry;
mod labels;
mod legend;
mod map;
mod minimap;
mod pixels;
mod window;

use ratatui::{buffer::Buffer, layout::Rect};
use unicode_width::UnicodeWidthStr;

use super::{Region, Theme};
use window::Cells;

pub(crate) use geometry::{around, bracket, halve, halves, offset, scroll_mark};
pub(crate) use legend::{Drawn, legend};
pub(crate) use map::Heatmap;

/// Label columns on the left, and label rows at the top.
const LABEL: usize = 10;

/// The letters of an upright label.
const UPRIGHT: usize = 8;

impl Heatmap<'_> {
    /// Draw into `area`; returns which part of the matrix is on the screen.
    pub(crate) fn draw(&self, buffer: &mut Buffer, area: Rect, hits: &mut Vec<Region>, theme: Theme) -> Drawn {
        let widest = |labels: &[String]| labels.iter().map(|l| l.width()).max().unwrap_or(0);
        let left = widest(self.row_labels).min(LABEL).min(usize::from(area.width) / 3) + 1;
        let room = (usize::from(area.width).saturating_sub(left), usize::from(area.height));
        if room.0 == 0 || room.1 < 2 || self.rows == 0 || self.columns == 0 {
            return Drawn { pool: (1, 1), rows: (0..0, self.rows), columns: (0..0, self.columns), bottom: area.y };
        }
        let (map, area) = match self.beside_minimap(area, room, theme) {
            Some((map, rest)) => (Some(map), rest),
            None => (None, area),
        };
        let room = (usize::from(area.width) - left, room.1);
        // labels are upright over narrow columns
        let widest = widest(self.column_labels);
        let window = self.window((room.0, room.1 - 1), theme);
        let top = match window.cells {
            _ if window.is_numbered() => 1,
            Cells::Wide { width, height } if width >= 5 => {
                let upright = widest.min(UPRIGHT);
                let free = room.1.saturating_sub(self.rows * height);
                let cut = self.column_labels.iter().filter(|label| label.width() >= width).count();
                if 3 * cut > self.columns && free >= upright { upright } else { 1 }
            }
            // but never if that costs cells
            Cells::Wide { .. } => widest.min(5).min(room.1.saturating_sub(self.rows)).max(1),
            Cells::Half { rows, halves, .. } => {
                let free = room.1.saturating_sub(self.rows.div_ceil(rows * halves));
                widest.min(5).min(free.max(room.1 / 4))
            }
            Cells::Pixels { .. } => 1,
        };
        let (left, top) = (u16::try_from(left).unwrap_or(0), u16::try_from(top).unwrap_or(0));
        let (width, height) = (area.width.saturating_sub(left), area.height.saturating_sub(top));
        let grid = Rect { x: area.x + left, y: area.y + top, width, height };
        let window = self.window((width.into(), height.into()), theme);
        match window.cells {
            Cells::Wide { width, height } => self.draw_wide(buffer, grid, &window, (width, height), theme),
            Cells::Half { width, halves, .. } => {
                self.draw_half(buffer, grid, &window, (window.pool(), width, halves), theme);
            }
            Cells::Pixels { across, down, .. } => {
                hits.push(Region::picture(self.draw_pixels(buffer, grid, &window, (across, down), theme)));
            }
        }
        self.draw_row_labels(buffer, Rect { x: area.x, width: left, ..grid }, &window, theme);
        self.draw_column_labels(buffer, Rect { y: area.y, height: top, ..grid }, &window, theme);
        hits.push(self.region(grid, &window));
        if let Some(map) = map {
            self.draw_minimap(buffer, map, &window, hits, theme);
        }
        Drawn {
            pool: window.pool(),
            bottom: offset(grid.y, window.lines()).min(grid.bottom()),
            rows: (window.rows, self.rows),
            columns: (window.columns, self.columns),
        }
    }
}
