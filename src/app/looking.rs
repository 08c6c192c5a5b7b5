//! What is looked at, and what of the answer is on the screen: questions to the state.

use std::ops::Range;

use super::{
    Component, Extent, State, Tab,
    views::{LENS, pairs},
};
use crate::{
    analysis::descending,
    engine::{Compare, Look, Prediction, Question, Slice, View, left_out},
    experiment::{Distractor, Token},
    hooks::Edit,
};

/// Positions that the lens is asked for at once.
const CHUNK: usize = 8;

/// Rows and columns that a head is shown with at least where several are.
const LEAST: usize = 2;

/// Columns that the names of blocks take beside the heads of the whole model.
pub const HEAD_NAMES: usize = 4;

/// How heads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Columns to a value, and half rows.
    pub zoom: usize,
    /// Heads beside each other.
    pub across: usize,
    /// Columns and rows of a head.
    pub width: usize,
    pub height: usize,
    /// Rows between heads, for their names.
    pub gap: usize,
}

impl State {
    /// The rows and columns that the selected hook's values are shown along.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let axes = self.schema.axes(self.point());
        let pairs = pairs(&axes);
        let (rows, columns) = pairs[self.looks.pair % pairs.len()];
        let rest = axes.into_iter().find(|axis| *axis != rows && *axis != columns);
        Slice { rows, columns, fixed: rest.map(|axis| (axis, self.index(axis))) }
    }

    /// The tokens of the logit difference: the target and, unless its logit is looked at alone, the distractor. Where they
    /// were not chosen they are the baseline's likeliest after the last position.
    #[must_use]
    pub fn answer(&self) -> Option<(Token, Option<Token>)> {
        let likely = self.shown.as_ref().and_then(|shown| shown.summary.was.last());
        let likely = likely.map_or(&[][..], |row| row.as_slice());
        let token = |p: &Prediction| Token { id: p.id, text: p.text.clone() };
        let target = self.target.clone().or_else(|| likely.first().map(token))?;
        let distractor = match &self.distractor {
            Distractor::None => None,
            Distractor::Chosen(token) => Some(token.clone()),
            Distractor::Likeliest => likely.iter().find(|p| p.id != target.id).map(token),
        };
        Some((target, distractor))
    }

    /// What the current view needs from the worker.
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        let (block, which) = (self.block(), self.looks.which);
        match self.tab {
            Tab::Shape => Some(Look::Hook(self.point())),
            Tab::Values => Some(Look::Values { point: self.point(), slice: self.slice() }),
            Tab::Attention => Some(match self.looks.extent {
                Extent::Head => Look::Attention { block, head: self.head, which },
                extent => Look::Patterns {
                    block: (extent == Extent::Block).then_some(block),
                    which,
                    compare: self.looks.compare,
                    side: self.thumbnail(),
                },
            }),
            Tab::Logits => Some(Look::Logits { pos: self.cell.0 }),
            Tab::Lens => {
                // in whole chunks, so that not every step asks anew
                let visible = self.lens_positions();
                let first = visible.start / CHUNK * CHUNK;
                let end = visible.end.next_multiple_of(CHUNK).min(self.tokens.len());
                Some(Look::Lens { first, count: end - first })
            }
            Tab::Attribution => self.answer().map(|(target, distractor)| Look::Attribution {
                pos: self.cell.0,
                target: target.id,
                distractor: distractor.map(|token| token.id),
            }),
            Tab::Heads => Some(Look::Heads),
            Tab::Sweep => self.answer().map(|(target, distractor)| Look::Sweep {
                map: self.looks.map,
                question: Question { target: target.id, distractor: distractor.map(|token| token.id) },
            }),
            // measured with the runs, not looked at
            Tab::Training => None,
        }
    }

    /// The positions that the lens has room for, around the cursor.
    #[must_use]
    pub fn lens_positions(&self) -> Range<usize> {
        let room = (self.areas().inside_view().0.saturating_sub(LENS.0 + 1) / LENS.1).max(1);
        let (at, n) = (self.cell.0, self.tokens.len());
        let first = at.saturating_sub(room / 2).min(n.saturating_sub(room));
        first..(first + room).min(n)
    }

    /// The edits of the run that have no part in the lens on the screen.
    #[must_use]
    pub fn left_out_of_lens(&self) -> Vec<&Edit> {
        let of_run = self.shown.iter().filter(|_| self.compare() != Compare::Baseline).flat_map(|s| &s.spec.edits);
        of_run.filter(|edit| left_out(edit)).collect()
    }

    /// Columns and rows that several heads are drawn in.
    fn room_for_heads(&self) -> (usize, usize) {
        let (columns, rows) = self.areas().inside_view();
        // a title above, a legend below; names beside or above them
        let model = self.looks.extent == Extent::Model;
        (columns.saturating_sub(if model { HEAD_NAMES } else { 0 }), rows.saturating_sub(if model { 3 } else { 2 }))
    }

    /// Values that share a row of the screen: two, where colours can halve it.
    fn rows_of(&self, values: usize) -> usize {
        if self.halves { values.div_ceil(2) } else { values }
    }

    /// Rows and columns of values that a head has room for where several are shown.
    #[must_use]
    pub fn thumbnail(&self) -> usize {
        let (columns, rows) = self.room_for_heads();
        let (heads, layers) = (self.schema.dims.n_heads.max(1), self.schema.dims.n_layers.max(1));
        // a column between heads, and a row for a name or a gap
        let fits = |side: usize, across: usize, down: usize| {
            across * (side + 1) <= columns + 1 && down * (self.rows_of(side) + 1) <= rows + 1
        };
        let largest = |across: usize, down: usize| {
            (LEAST..=self.tokens.len().min(columns.max(LEAST))).rev().find(|side| fits(*side, across, down))
        };
        match self.looks.extent {
            // rather scrolled than too small to see anything in
            Extent::Model => largest(heads, 1).map_or(LEAST, |side| side.min(largest(1, layers).unwrap_or(0).max(6))),
            _ => (1..=heads).filter_map(|across| largest(across, heads.div_ceil(across))).max().unwrap_or(LEAST),
        }
    }

    /// How heads of `side` rows and columns are laid out: as large as lets all be seen, else as small as they are.
    #[must_use]
    pub fn tiles(&self, side: usize) -> Tiles {
        let (room, heads) = (self.room_for_heads(), self.schema.dims.n_heads.max(1));
        let model = self.looks.extent == Extent::Model;
        let (down, gap) = if model { (self.schema.dims.n_layers, usize::from(side > 4)) } else { (1, 1) };
        let tiles = |zoom: usize, across: usize| Tiles {
            zoom,
            across,
            width: side * zoom,
            height: self.rows_of(side * zoom),
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

    /// The matrix on the screen, row-major, with the number of its columns: of the values, or of one head's attention.
    #[must_use]
    pub fn matrix(&self) -> Option<(usize, Vec<f32>)> {
        match self.compared()?.into_owned() {
            View::Values { columns, values, .. } => Some((columns, values)),
            View::Attention { values, .. } => Some((self.tokens.len(), values)),
            _ => None,
        }
    }

    /// The order that the columns of the values are shown in, largest value of the chosen row first and NaN last; None as they
    /// are.
    #[must_use]
    pub fn column_order(&self) -> Option<Vec<usize>> {
        let row = self.looks.order?;
        let shown = self.compared()?;
        let View::Values { columns, values, .. } = &*shown else { return None };
        let values = values.get(row * columns..(row + 1) * columns)?;
        let mut order: Vec<usize> = (0..*columns).collect();
        order.sort_by(|a, b| descending(values[*a].into(), values[*b].into()));
        Some(order)
    }

    /// What is shown of a component of the attribution, the comparison applied.
    #[must_use]
    pub fn attributed(&self, component: Component) -> f64 {
        match self.compared().as_deref() {
            Some(View::Attribution { parts, .. }) => component.of(parts),
            _ => f64::NAN,
        }
    }

    /// The components of the attribution on the screen, the largest first.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let Some(View::Attribution { parts: edited, .. }) = self.view() else { return vec![] };
        let Some(shown) = self.compared() else { return vec![] };
        let View::Attribution { parts, .. } = &*shown else { return vec![] };
        let all = Component::all(edited).into_iter().map(|c| (c, c.of(parts).abs()));
        let mut all: Vec<(Component, f64)> = all.collect();
        all.sort_by(|a, b| descending(a.1, b.1));
        all.into_iter().map(|(component, _)| component).collect()
    }

    /// The component under the cursor.
    #[must_use]
    pub fn chosen_component(&self) -> Option<Component> {
        self.component.or_else(|| self.components().first().copied())
    }

    /// The intervention under the cursor of the sweep's map.
    #[must_use]
    pub fn swept_edit(&self) -> Option<Edit> {
        let grid = self.looks.map.grid(&self.schema, self.tokens.len());
        grid.edit(self.swept.0 * grid.columns.len() + self.swept.1)
    }

    /// The token under the cursor of the logits or the lens.
    #[must_use]
    pub fn token_under_cursor(&self) -> Option<Token> {
        let shown = self.compared()?;
        let prediction = match &*shown {
            View::Logits { top, .. } => top.get(self.logits_row),
            View::Lens { first, cells, .. } => {
                cells.get(self.lens_layer)?.get(self.cell.0.checked_sub(*first)?)?.top.first()
            }
            _ => None,
        }?;
        Some(Token { id: prediction.id, text: prediction.text.clone() })
    }
}
