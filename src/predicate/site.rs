//! A quantity at a hook: the values there, reduced as its functions say.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;

use super::{
    Call, Condition, Function, Over, Place, PredicateError, Quantity, Subject,
    fold::{Input, deltas},
    rows::{Along, Rows},
    scan::{Asked, Scan},
};
use crate::{
    analysis::Score,
    hooks::{Axis, Blocks, EditError, HookPoint, Schema},
};

/// An activation of a run.
///
/// # Shapes
/// `values` and `baseline`: row-major, without the batch axis; `tokens`: `[pos]`.
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    pub values: &'a [f32],
    /// The unedited run's; without it, nothing has changed.
    pub baseline: Option<&'a [f32]>,
    pub tokens: &'a [u32],
}

/// A quantity at one hook of a model, for a prompt.
pub struct Site {
    pub point: HookPoint,
    rows: Rows,
    stages: Vec<Stage>,
    /// The absolute value is taken last.
    abs: bool,
    /// What no function has reduced.
    pub(super) left: Vec<Left>,
}

/// An axis that is left, and the indices that are selected along it.
pub(super) struct Left {
    pub axis: Axis,
    pub along: Option<Vec<usize>>,
    pub n: usize,
}

impl Left {
    /// The index of number `at` among the selected ones.
    pub(super) fn index(&self, at: usize) -> usize {
        self.along.as_ref().map_or(at, |along| along[at])
    }

    /// The number of `index` among the selected ones.
    pub(super) fn number(&self, index: usize) -> Option<usize> {
        match &self.along {
            Some(along) => along.binary_search(&index).ok(),
            None => Some(index).filter(|index| *index < self.n),
        }
    }
}

/// One reduction.
struct Stage {
    function: Function,
    along: Along,
    /// Of the absolute values.
    abs: bool,
    /// The shape of its input, where that is the result of the stage before.
    shape: Vec<usize>,
}

impl Quantity {
    /// The hooks that it is of, in execution order, each with what is computed there. `text` is quoted in messages.
    ///
    /// # Errors
    /// A hook that this model does not compute, an axis or index that does not exist.
    pub fn sites(&self, text: &str, schema: &Schema, n_pos: usize) -> Result<Vec<Site>, PredicateError> {
        let hook = |reason| PredicateError::Hook { predicate: text.to_string(), reason };
        let checked = |point| schema.check(point).map_err(|reason| PredicateError::unseen(text, point, reason));
        match &self.of {
            Subject::Hook(region) => {
                let points = region.target.points(&schema.dims).map_err(hook)?;
                let site = |point| checked(point).and_then(|()| self.site(text, point, schema, n_pos));
                points.into_iter().map(site).collect()
            }
            Subject::Blocks(blocks, _) => {
                let named = blocks.numbers(&schema.dims).map_err(hook)?;
                let all = *blocks == Blocks::All;
                let is_meant = |point: &HookPoint| point.block().map_or(all, |block| named.contains(&block));
                let mut sites = vec![];
                for point in schema.points().into_iter().filter(is_meant) {
                    match self.site(text, point, schema, n_pos) {
                        Ok(site) => sites.push(site),
                        // hooks without an axis that is named are not meant
                        Err(PredicateError::Selection(EditError::NoAxis { .. })) => {}
                        Err(other) => return Err(other),
                    }
                }
                if sites.is_empty() {
                    return Err(PredicateError::NoHook { predicate: text.to_string() });
                }
                Ok(sites)
            }
        }
    }

    fn site(&self, text: &str, point: HookPoint, schema: &Schema, n_pos: usize) -> Result<Site, PredicateError> {
        let (axes, shape) = (schema.axes(point), schema.shape(point, n_pos));
        let indices = self.of.selection().resolve(text, point, &axes, &shape)?;
        let left = |i: usize| Left { axis: axes[i], along: indices.along[i].clone(), n: indices.count(i) };
        let mut left: Vec<Left> = (0..axes.len()).map(left).collect();
        let (mut stages, mut abs) = (vec![], false);
        for Call { function, over } in &self.calls {
            if *function == Function::Abs {
                abs = true;
                continue;
            }
            if function.score().is_some() {
                // of a head's whole pattern, as the grammar has it
                left.truncate(1);
                stages.push(Stage { function: *function, along: Along::Last, abs: false, shape: vec![] });
                continue;
            }
            let shape = left.iter().map(|axis| axis.n).collect();
            let along = match over {
                _ if left.is_empty() => {
                    return Err(PredicateError::NothingLeft { predicate: text.to_string(), function: function.name() });
                }
                Over::All => Along::All,
                Over::Last => Along::Last,
                Over::Axis(axis) => {
                    let Some(at) = left.iter().position(|left| left.axis == *axis) else {
                        let axes = left.iter().map(|left| left.axis).collect();
                        return Err(EditError::NoAxis { edit: text.to_string(), hook: point, axis: *axis, axes }.into());
                    };
                    if at + 1 == left.len() { Along::Last } else { Along::Outer(at) }
                }
            };
            match along {
                Along::Last => drop(left.pop()),
                Along::Outer(at) => drop(left.remove(at)),
                Along::All => left.clear(),
            }
            stages.push(Stage { function: *function, along, abs: std::mem::take(&mut abs), shape });
        }
        Ok(Site { point, rows: Rows::of(&indices), stages, abs, left })
    }
}

impl Site {
    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.left.iter().map(|axis| axis.n).product()
    }

    /// Write the indices of place number `at` to `to`.
    pub(super) fn indices(&self, at: usize, to: &mut Vec<(Axis, usize)>) {
        to.clear();
        let mut rest = at;
        for axis in self.left.iter().rev() {
            to.push((axis.axis, axis.index(rest % axis.n)));
            rest /= axis.n;
        }
        to.retain(|(axis, _)| *axis != Axis::One);
        to.reverse();
    }

    /// The same where places come in order: `row` has the numbers of the places that differ from the one before in the index along the
    /// last axis alone, which is counted on.
    pub(super) fn next(&self, at: usize, row: &mut Range<usize>, to: &mut Vec<(Axis, usize)>) {
        let last = self.left.last().filter(|axis| axis.axis != Axis::One);
        if let (true, Some(axis), Some((_, index))) = (row.contains(&at), last, to.last_mut()) {
            *index = axis.index(at - row.start);
            return;
        }
        self.indices(at, to);
        if let Some(axis) = last {
            let first = at / axis.n * axis.n;
            *row = first..first + axis.n;
        }
    }

    /// The number of place number `at` along each axis that is left.
    pub(super) fn numbers(&self, at: usize) -> Vec<usize> {
        let mut rest = at;
        let mut numbers: Vec<usize> = self
            .left
            .iter()
            .rev()
            .map(|axis| {
                let number = rest % axis.n;
                rest /= axis.n;
                number
            })
            .collect();
        numbers.reverse();
        numbers
    }

    /// Place number `at`, in row-major order.
    #[must_use]
    pub fn place(&self, at: usize) -> Place {
        let mut place = Place { point: self.point, at: vec![] };
        self.indices(at, &mut place.at);
        place
    }

    /// The value at every place.
    #[must_use]
    pub fn values(&self, seen: &Activation<'_>) -> Vec<f64> {
        if self.stages.is_empty() {
            let (mut all, mut scratch) = (Vec::with_capacity(self.places()), vec![]);
            for k in 0..self.rows.count {
                let row = self.rows.row(seen.values, k, &mut scratch).iter().map(|x| f64::from(*x));
                if self.abs { all.extend(row.map(f64::abs)) } else { all.extend(row) }
            }
            return all;
        }
        let mut all = self.reduced(seen);
        if self.abs {
            for x in &mut all {
                *x = x.abs();
            }
        }
        all
    }

    /// What the reductions leave.
    fn reduced(&self, seen: &Activation<'_>) -> Vec<f64> {
        let Some((first, others)) = self.stages.split_first() else { return vec![] };
        let Activation { values, baseline, tokens } = *seen;
        let mut all = match (first.function, baseline) {
            (Function::Delta, None) => vec![0.0; self.rows.left(first.along)],
            (Function::Delta, Some(before)) => deltas(&self.rows, before, values, first.along),
            (function, _) => match function.score() {
                Some(score) => self.scores(score, values, tokens),
                None => Input { rows: &self.rows, values, abs: first.abs }.reduced(function, first.along),
            },
        };
        for Stage { function, along, abs, shape } in others {
            let rows = Rows::whole(shape);
            all = Input { rows: &rows, values: &all, abs: *abs }.reduced(*function, *along);
        }
        all
    }

    /// A score of each selected head.
    fn scores(&self, score: Score, values: &[f32], tokens: &[u32]) -> Vec<f64> {
        let heads = self.rows.count / tokens.len().max(1);
        // the rows of a head lie one behind the other
        let of = |head: usize| score.of_pattern(self.rows.block(values, head * tokens.len(), tokens.len()), tokens);
        (0..heads).into_par_iter().map(of).collect()
    }

    /// Call `found` with the number and the value of every wanted place, in order, until it breaks.
    pub(super) fn scan(
        &self,
        seen: &Activation<'_>,
        condition: Condition,
        asked: Asked,
        found: &mut dyn FnMut(usize, f64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.stages.is_empty() {
            return Scan { rows: &self.rows, values: seen.values, abs: self.abs, condition, asked }.each(found);
        }
        for (at, x) in self.reduced(seen).into_iter().enumerate() {
            let x = if self.abs { x.abs() } else { x };
            if asked.lists(condition.holds(x)) {
                found(at, x)?;
            }
        }
        ControlFlow::Continue(())
    }
}
