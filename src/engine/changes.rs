//! How far the edits moved every activation.

use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::{DType, Tensor};

use super::{
    Engine, Outcome,
    control::{each, go_on},
    host::{finite_square, values, with_values},
};
use crate::{
    analysis::Change,
    hooks::{ActivationCache, BlockHook, HookPoint, RunError},
};

/// How far an activation moved from the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HookChange {
    pub point: HookPoint,
    /// `‖edited − baseline‖ / ‖baseline‖`
    pub relative: f64,
}

/// The number of queries whose left-out scores are recomputed at once.
const QUERIES: usize = 256;

impl Outcome {
    /// The relative change at every hook point that both runs kept, or both left out.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub(super) fn changes(&self, engine: &Engine, cancel: &AtomicBool) -> Result<Vec<HookChange>, RunError> {
        let (before, after) = (&self.baseline.cache, &self.run.cache);
        let both: Vec<HookPoint> = before.points().intersection(&after.points()).copied().collect();
        let (still, moved): (Vec<_>, Vec<_>) = both.into_iter().partition(|point| unmoved(before, after, *point));
        let relative = if self.run.logits.device().is_cpu() {
            each(moved.len(), true, |at| Ok(self.change(engine, moved[at], cancel)?.relative()))?
        } else {
            let pair = |point: &HookPoint| -> Result<Option<Tensor>, RunError> {
                go_on(cancel)?;
                let pair = engine.activation(&self.baseline, *point)?.zip(engine.activation(&self.run, *point)?);
                Ok(pair.map(|(before, after)| sums(&before, &after)).transpose()?)
            };
            let sums = moved.iter().map(pair).collect::<Result<Option<Vec<Tensor>>, RunError>>()?;
            relative_of(&sums.unwrap_or_default())?
        };
        let still = still.into_iter().map(|point| HookChange { point, relative: 0.0 });
        let moved = moved.into_iter().zip(relative).map(|(point, relative)| HookChange { point, relative });
        let mut changes: Vec<HookChange> = still.chain(moved).collect();
        changes.sort_by_key(|change| change.point);
        Ok(changes)
    }

    /// The relative change of an activation with the axes `[pos, ..]` at each position from `first` on: 0 where the edited run resumed
    /// after it. Empty if the baseline did not keep it.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn changes_by_position(&self, engine: &Engine, point: HookPoint, first: usize) -> Result<Vec<f64>, RunError> {
        let (baseline, run) = (engine.activation(&self.baseline, point)?, engine.activation(&self.run, point)?);
        let n = self.spec.tokens.len().saturating_sub(first);
        let (before, after) = match (baseline, run) {
            (Some(before), Some(after)) => (before, after),
            (Some(_), None) => return Ok(vec![0.0; n]),
            (None, _) => return Ok(vec![]),
        };
        relative_by_position(&before, &after, first)
    }

    fn change(&self, engine: &Engine, point: HookPoint, cancel: &AtomicBool) -> Result<Change, RunError> {
        go_on(cancel)?;
        let between = |before: &Tensor, after: &Tensor| -> Result<Change, RunError> {
            with_values(before, |before| with_values(after, |after| Change::between(before, after)))?
        };
        let (baseline, run) = (&self.baseline.cache, &self.run.cache);
        let HookPoint::Block(block, hook) = point else {
            return baseline.get(point).zip(run.get(point)).map_or(Ok(Change::default()), |(b, a)| between(b, a));
        };
        if let Some((before, after)) = baseline.get(point).zip(run.get(point)) {
            return between(before, after);
        }
        // left out: some queries of one head at a time, and the keys they see
        let (n_pos, heads) = (self.spec.tokens.len(), engine.schema.dims.n_heads);
        let left_out = |hook| [baseline, run].iter().all(|cache| cache.is_left_out(HookPoint::Block(block, hook)));
        // an edit may have unmasked later keys, so all keys are compared
        let together = if left_out(hook) && left_out(BlockHook::AttnScores) { QUERIES } else { n_pos };
        let parts: Vec<(usize, Range<usize>)> = (0..heads)
            .flat_map(|head| {
                (0..n_pos).step_by(together).map(move |first| (head, first..(first + together).min(n_pos)))
            })
            .collect();
        let part = |at: usize| -> Result<Change, RunError> {
            go_on(cancel)?;
            let of = |run| engine.attention(run, block, hook, Some(parts[at].clone()));
            let pair = of(&self.baseline)?.zip(of(&self.run)?);
            pair.map_or_else(|| Ok(Change::default()), |(before, after)| between(&before, &after))
        };
        Ok(each(parts.len(), true, part)?.into_iter().fold(Change::default(), |a, b| a + b))
    }
}

/// The relative change of an activation at each position from `first` on.
pub(super) fn relative_by_position(before: &Tensor, after: &Tensor, first: usize) -> Result<Vec<f64>, RunError> {
    let n = before.dim(1)?.saturating_sub(first);
    let (before, after) = (values(&before.narrow(1, first, n)?)?, values(&after.narrow(1, first, n)?)?);
    let width = (before.len() / n.max(1)).max(1);
    let pairs = before.chunks(width).zip(after.chunks(width));
    Ok(pairs.map(|(before, after)| Change::between(before, after).relative()).collect())
}

/// The squared change and the squared norm of an activation, on its device: `[2]`.
fn sums(before: &Tensor, after: &Tensor) -> candle_core::Result<Tensor> {
    let (before, after) = (before.to_dtype(DType::F32)?.contiguous()?, after.to_dtype(DType::F32)?.contiguous()?);
    let moved = before.ne(&after)?.where_cond(&(&after - &before)?, &before.zeros_like()?)?;
    Tensor::stack(&[moved.sqr()?.sum_all()?, finite_square(&before)?], 0)
}

/// The relative change of each of [`sums`], copied all at once.
fn relative_of(sums: &[Tensor]) -> candle_core::Result<Vec<f64>> {
    if sums.is_empty() {
        return Ok(vec![]);
    }
    let sums = Tensor::stack(sums, 0)?.to_vec2::<f32>()?;
    Ok(sums.iter().map(|sums| Change { moved: sums[0].into(), norm: sums[1].into() }.relative()).collect())
}

/// Whether two runs share the same tensor at a hook point or, if both left it out, the tensors it is computed from.
fn unmoved(a: &ActivationCache, b: &ActivationCache, point: HookPoint) -> bool {
    let same = |point| a.get(point).zip(b.get(point)).is_some_and(|(a, b)| a.id() == b.id());
    let HookPoint::Block(block, hook) = point else { return same(point) };
    let at = |hook| HookPoint::Block(block, hook);
    let left_out = a.is_left_out(point) && b.is_left_out(point);
    match hook {
        BlockHook::Pattern if left_out => unmoved(a, b, at(BlockHook::AttnScores)),
        BlockHook::AttnScores if left_out => same(at(BlockHook::RotQ)) && same(at(BlockHook::RotK)),
        _ => same(point),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn changes_are_the_same_on_the_device_and_on_the_host() {
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
        let sums: Vec<Tensor> = b.iter().zip(&a).map(|(b, a)| sums(b, a).unwrap()).collect();
        let found = relative_of(&sums).unwrap();
        for ((before, after), found) in befores.iter().zip(&afters).zip(found) {
            let expected = Change::between(before, after).relative();
            let close = (expected - found).abs() < 1e-6 * expected;
            assert!(expected.to_bits() == found.to_bits() || close, "{expected} {found}");
        }
    }
}
