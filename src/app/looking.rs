//! What is looked at, and what of the answer is on the screen: questions to the state.

use std::ops::Range;

use super::{
    Component, Distractor, Extent, State, Tab, Token,
    views::{LENS, pairs},
};
use crate::engine::{Attribution, Compare, Look, Prediction, Slice, View};

/// Positions that the lens is asked for at once.
const CHUNK: usize = 8;

/// Rows and columns that a head is shown with at least where several are.
const LEAST: usize = 2;

impl State {
    /// The rows and columns that the selected hook's values are shown along.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let axes = self.schema.axes(self.point());
        let pairs = pairs(&axes);
        let (rows, columns) = pairs[self.looks.pair % pairs.len().max(1)];
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

    /// Rows and columns of values that a head has room for where several are shown.
    #[must_use]
    pub fn thumbnail(&self) -> usize {
        let (columns, rows) = self.areas().inside_view();
        // what the view writes around them
        let (columns, rows) = (columns.saturating_sub(5), rows.saturating_sub(4));
        let (heads, layers) = (self.schema.dims.n_heads.max(1), self.schema.dims.n_layers.max(1));
        // two values to a row of the screen; a column between heads, and a row for a name or a gap
        let fits = |side: usize, across: usize, down: usize| {
            across * (side + 1) <= columns + 1 && down * (side.div_ceil(2) + 1) <= rows + 1
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

    /// What is compared on the screen: nothing, where the run on it has no edits.
    #[must_use]
    pub fn compare(&self) -> Compare {
        let edited = self.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty());
        if edited { self.looks.compare } else { Compare::Edited }
    }

    /// The matrix of values on the screen, row-major, with its columns: of the values, or of one head's attention; less
    /// the baseline's, or the baseline's, where that is what is looked at.
    #[must_use]
    pub fn matrix(&self) -> Option<(usize, Vec<f32>)> {
        let (columns, values, baseline) = match self.view()? {
            View::Values { columns, values, baseline, .. } => (*columns, values, baseline),
            View::Attention { values, baseline } => (self.tokens.len(), values, baseline),
            _ => return None,
        };
        let compare = self.compare();
        Some(match baseline {
            Some(before) if compare != Compare::Edited => {
                (columns, values.iter().zip(before).map(|(now, before)| compare.of(*now, *before)).collect())
            }
            _ => (columns, values.clone()),
        })
    }

    /// The order that the columns of the values are shown in, largest value of the chosen row first; None as they are.
    #[must_use]
    pub fn column_order(&self) -> Option<Vec<usize>> {
        let row = self.looks.order?;
        let Some(View::Values { columns, values, baseline, .. }) = self.view() else { return None };
        let (from, to) = (row * columns, (row + 1) * columns);
        let (values, before) = (values.get(from..to)?, baseline.as_ref().and_then(|b| b.get(from..to)));
        let compare = self.compare();
        let shown = |i: usize| before.map_or(values[i], |before| compare.of(values[i], before[i]));
        let mut order: Vec<usize> = (0..*columns).collect();
        order.sort_by(|a, b| shown(*b).total_cmp(&shown(*a)));
        Some(order)
    }

    /// The attribution on the screen.
    #[must_use]
    pub fn attribution(&self) -> Option<(&Attribution, Option<&Attribution>)> {
        match self.view()? {
            View::Attribution { parts, baseline } => Some((parts, baseline.as_ref())),
            _ => None,
        }
    }

    /// What is shown of a component of the attribution, the comparison applied.
    #[must_use]
    pub fn attributed(&self, component: Component) -> f64 {
        let Some((parts, baseline)) = self.attribution() else { return 0.0 };
        match (self.compare(), baseline) {
            (Compare::Difference, Some(before)) => component.of(parts) - component.of(before),
            (Compare::Baseline, Some(before)) => component.of(before),
            _ => component.of(parts),
        }
    }

    /// The components of the attribution on the screen, the largest first.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let Some((parts, _)) = self.attribution() else { return vec![] };
        let mut all: Vec<(Component, f64)> =
            Component::all(parts).into_iter().map(|c| (c, self.attributed(c).abs())).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.into_iter().map(|(component, _)| component).collect()
    }

    /// The component under the cursor.
    #[must_use]
    pub fn chosen_component(&self) -> Option<Component> {
        self.component.or_else(|| self.components().first().copied())
    }

    /// The token under the cursor of the logits or the lens.
    #[must_use]
    pub fn token_under_cursor(&self) -> Option<Token> {
        let prediction = match self.view()? {
            View::Logits { top, .. } => top.get(self.logits_row),
            View::Lens { first, cells, .. } => {
                cells.get(self.lens_layer)?.get(self.cell.0.checked_sub(*first)?)?.top.first()
            }
            _ => None,
        }?;
        Some(Token { id: prediction.id, text: prediction.text.clone() })
    }
}
