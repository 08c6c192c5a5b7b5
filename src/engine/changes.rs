//! How far the edits moved every activation.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{Engine, Outcome, effects::with_values, measure::finite_square};
use crate::{
    analysis::Change,
    hooks::{ActivationCache, BlockHook, EditError, HookPoint},
};

/// How far an activation moved from the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HookChange {
    pub point: HookPoint,
    /// `‖edited − baseline‖ / ‖baseline‖`
    pub relative: f64,
}

/// Queries whose scores are computed at once where they were left out.
const QUERIES: usize = 256;

impl Outcome {
    /// The relative change at every hook point that both runs kept, or left out.
    pub(super) fn changes(&self, engine: &Engine) -> Result<Vec<HookChange>, EditError> {
        let (before, after) = (&self.baseline.cache, &self.run.cache);
        let both: Vec<HookPoint> = before.points().intersection(&after.points()).copied().collect();
        let change = |point: &HookPoint| -> Result<HookChange, EditError> {
            let left_out = before.is_left_out(*point) || after.is_left_out(*point);
            let change = match point {
                _ if unmoved(before, after, *point) => Change::default(),
                HookPoint::Block(block, hook) if left_out => self.change_of_square(engine, *block, *hook)?,
                _ => match (before.get(*point), after.get(*point)) {
                    (Some(before), Some(after)) => change(before, after)?,
                    _ => Change::default(),
                },
            };
            Ok(HookChange { point: *point, relative: change.relative() })
        };
        each(both.len(), self.is_here(), |at| change(&both[at]))
    }

    /// The change of scores or a pattern that a run left out: some queries of one head at a time, and the keys they see.
    fn change_of_square(&self, engine: &Engine, block: usize, hook: BlockHook) -> Result<Change, EditError> {
        let (n_pos, heads) = (self.spec.tokens.len(), engine.schema.dims.n_heads);
        let left_out = |hook| {
            let point = HookPoint::Block(block, hook);
            self.baseline.cache.is_left_out(point) && self.run.cache.is_left_out(point)
        };
        // an edit may have opened what comes after a query: then all keys are looked at
        let masked = left_out(hook) && left_out(BlockHook::AttnScores);
        let together = if masked { QUERIES } else { n_pos };
        let parts: Vec<(usize, Range<usize>)> = (0..heads)
            .flat_map(|head| {
                (0..n_pos).step_by(together).map(move |first| (head, first..(first + together).min(n_pos)))
            })
            .collect();
        let part = |at: usize| -> Result<Change, EditError> {
            let of = |run| engine.attention(run, block, hook, Some(parts[at].clone()));
            let pair = of(&self.baseline)?.zip(of(&self.run)?);
            pair.map_or_else(|| Ok(Change::default()), |(before, after)| change(&before, &after))
        };
        Ok(each(parts.len(), self.is_here(), part)?.into_iter().fold(Change::default(), |a, b| a + b))
    }

    fn is_here(&self) -> bool {
        self.run.logits.device().is_cpu()
    }
}

/// `work` on each of `n` numbers, in parallel if so.
fn each<T: Send>(
    n: usize,
    parallel: bool,
    work: impl Fn(usize) -> Result<T, EditError> + Sync + Send,
) -> Result<Vec<T>, EditError> {
    if parallel { (0..n).into_par_iter().map(work).collect() } else { (0..n).map(work).collect() }
}

/// The change from one activation to another.
fn change(before: &Tensor, after: &Tensor) -> Result<Change, EditError> {
    match before.device() {
        Device::Cpu => with_values(before, |b| with_values(after, |a| Change::between(b, a)))?,
        _ => Ok(change_there(before, after)?),
    }
}

/// The same where the activations lie: two numbers are copied.
fn change_there(before: &Tensor, after: &Tensor) -> candle_core::Result<Change> {
    let (before, after) = (before.to_dtype(DType::F32)?.contiguous()?, after.to_dtype(DType::F32)?.contiguous()?);
    let moved = before.ne(&after)?.where_cond(&(&after - &before)?, &before.zeros_like()?)?;
    let sums = Tensor::stack(&[moved.sqr()?.sum_all()?, finite_square(&before)?], 0)?.to_vec1::<f32>()?;
    Ok(Change { moved: sums[0].into(), norm: sums[1].into() })
}

/// Whether two runs share the very same tensor at a hook point, or if both left it out, what it is made of.
fn unmoved(a: &ActivationCache, b: &ActivationCache, point: HookPoint) -> bool {
    let same = |point| a.get(point).zip(b.get(point)).is_some_and(|(a, b)| a.id() == b.id());
    let HookPoint::Block(block, hook) = point else { return same(point) };
    let at = |hook| HookPoint::Block(block, hook);
    match hook {
        BlockHook::AttnScores | BlockHook::Pattern if a.is_left_out(point) && b.is_left_out(point) => match hook {
            BlockHook::Pattern => unmoved(a, b, at(BlockHook::AttnScores)),
            _ => same(at(BlockHook::RotQ)) && same(at(BlockHook::RotK)),
        },
        _ => same(point),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_the_same_where_the_activations_lie() {
        let inf = f32::INFINITY;
        let befores = [
            vec![1.0, -2.0, 3.0, 0.5],
            vec![-inf, 1.0, -inf, 2.0],
            vec![0.0; 4],
            vec![1.0, inf, 2.0, 0.0],
            vec![3.0; 4],
        ];
        let afters = [
            vec![1.0, -2.5, 3.0, 9.5],
            vec![-inf, 1.5, -inf, 2.0],
            vec![1.0; 4],
            vec![1.0, inf, 2.5, 0.0],
            vec![3.0; 4],
        ];
        let tensor = |values: &Vec<f32>| Tensor::new(values.as_slice(), &Device::Cpu).unwrap();
        let (b, a): (Vec<_>, Vec<_>) = (befores.iter().map(tensor).collect(), afters.iter().map(tensor).collect());
        let found = b.iter().zip(&a).map(|(b, a)| change_there(b, a).unwrap().relative());
        for ((before, after), found) in befores.iter().zip(&afters).zip(found) {
            let expected = Change::between(before, after).relative();
            let close = (expected - found).abs() < 1e-6 * expected;
            assert!(expected.to_bits() == found.to_bits() || close, "{expected} {found}");
        }
    }
}
