//! The layout of several heads in the view.

use super::state::{Attention, HeadScope};
use crate::views::{Room, Scene};

/// The fewest rows and columns of each head if there are several.
const LEAST: usize = 2;

/// The columns that block names take beside the heads of the whole model.
pub(super) const HEAD_NAMES: usize = 4;

/// The layout of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    /// The columns, and half rows, of a value.
    pub zoom: usize,
    /// Heads side by side.
    pub across: usize,
    /// Columns and rows of a head.
    pub width: usize,
    pub height: usize,
    /// Rows between heads, for their names.
    pub gap: usize,
}

/// The rows of the screen for `values` rows of values: half as many, if colours can halve a row.
fn rows_of(scene: &Scene, values: usize) -> usize {
    if scene.layout.halves { values.div_ceil(2) } else { values }
}

impl Attention {
    /// The columns and rows for several heads.
    fn room_for_heads(&self, (columns, rows): Room) -> (usize, usize) {
        // a title above, a legend below; names beside or above them
        let model = self.heads == HeadScope::Model;
        (columns.saturating_sub(if model { HEAD_NAMES } else { 0 }), rows.saturating_sub(if model { 3 } else { 2 }))
    }

    /// The rows and columns of values that each of several heads has room for.
    pub(super) fn thumbnail(&self, scene: &Scene, room: Room) -> usize {
        let (columns, rows) = self.room_for_heads(room);
        let (heads, layers) = (scene.schema.dims.n_heads.max(1), scene.schema.dims.n_layers.max(1));
        // a column between heads, and a row for a name or a gap
        let fits = |side: usize, across: usize, down: usize| {
            across * (side + 1) <= columns + 1 && down * (rows_of(scene, side) + 1) <= rows + 1
        };
        let largest = |across: usize, down: usize| {
            (LEAST..=scene.tokens().len().min(columns.max(LEAST))).rev().find(|side| fits(*side, across, down))
        };
        match self.heads {
            // rather scroll than make heads too small to read
            HeadScope::Model => {
                largest(heads, 1).map_or(LEAST, |side| side.min(largest(1, layers).unwrap_or(0).max(6)))
            }
            HeadScope::One | HeadScope::Block => {
                (1..=heads).filter_map(|across| largest(across, heads.div_ceil(across))).max().unwrap_or(LEAST)
            }
        }
    }

    /// The layout of heads of `side` rows and columns: as large as possible with all of them visible, else at their
    /// smallest.
    pub(super) fn tiles(&self, side: usize, scene: &Scene, room: Room) -> Tiles {
        let (room, heads) = (self.room_for_heads(room), scene.schema.dims.n_heads.max(1));
        let model = self.heads == HeadScope::Model;
        let (down, gap) = if model { (scene.schema.dims.n_layers, usize::from(side > 4)) } else { (1, 1) };
        let tiles = |zoom: usize, across: usize| Tiles {
            zoom,
            across,
            width: side * zoom,
            height: rows_of(scene, side * zoom),
            gap,
        };
        let fits = |t: &Tiles| {
            let rows = down * heads.div_ceil(t.across);
            t.across * (t.width + 1) <= room.0 + 1 && rows * (t.height + t.gap) <= room.1 + usize::from(model)
        };
        let ways = if model { heads..=heads } else { 1..=heads };
        let mut all = (1..=6).rev().flat_map(|zoom| ways.clone().map(move |across| (zoom, across)));
        let best = all.find_map(|(zoom, across)| Some(tiles(zoom, across)).filter(fits));
        best.unwrap_or_else(|| tiles(1, if model { heads } else { ((room.0 + 1) / (side + 1)).clamp(1, heads) }))
    }
}
