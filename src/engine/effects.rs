use std::ops::Range;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use rayon::prelude::*;

use super::{Engine, Idle, Outcome, Run, measure::finite_square, run::rows};
use crate::{
    analysis::{Ranked, log_normaliser, relative_change, top_k},
    hooks::{ActivationCache, BlockHook, EditError, Effect, HookPoint},
};

/// What one edit did: at its hook points, and by itself to the output.
#[derive(Clone, Debug, PartialEq)]
pub struct EditEffect {
    pub effect: Effect,
    /// KL(baseline || run with this edit alone) in nats, at each position from the first that was asked for.
    pub kl: Vec<f64>,
    /// Why it makes no difference, if it makes none.
    pub idle: Option<Idle>,
}

/// How far an activation moved from the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HookChange {
    pub point: HookPoint,
    /// `‖edited − baseline‖ / ‖baseline‖`
    pub relative: f64,
}

/// A likely next token at one position, with the probability that the baseline gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    pub id: u32,
    pub text: String,
    pub logit: f32,
    pub prob: f64,
    pub baseline_prob: f64,
}

/// Next tokens at some positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// The run's likeliest next tokens.
    pub top: Vec<Vec<Prediction>>,
    /// The baseline's likeliest next tokens, with what the run makes of them.
    pub was: Vec<Vec<Prediction>>,
}

/// Everything about an outcome that a person sees at once; plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub elapsed_ms: f64,
    /// KL(baseline || edited) in nats, at each position from the first that was asked for; empty without edits.
    pub kl: Vec<f64>,
    /// The likeliest next tokens of the run, at each position that was asked for.
    pub top: Vec<Vec<Prediction>>,
    /// The baseline's likeliest next tokens there.
    pub was: Vec<Vec<Prediction>>,
    pub effects: Vec<EditEffect>,
    /// Relative change at each captured hook point; empty without edits.
    pub changes: Vec<HookChange>,
    pub undefined_rows: usize,
    /// Every logit after the last position.
    pub logits: Vec<f32>,
    /// The baseline's; empty without edits.
    pub baseline_logits: Vec<f32>,
}

impl Outcome {
    /// KL and the `k` likeliest next tokens at the positions that were asked for, and what the edits did.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn summary(&self, k: usize, engine: &Engine) -> Result<Summary, EditError> {
        let n_pos = self.spec.tokens.len();
        let logits = |run: &Run| values(&engine.logits(run, n_pos - 1..n_pos)?);
        let first = n_pos - self.run.logits.dim(1)?;
        let Predictions { top, was } = self.predictions(k, first..n_pos, engine)?;
        Ok(Summary {
            elapsed_ms: self.run.elapsed.as_secs_f64() * 1e3,
            kl: self.kl.clone(),
            top,
            was,
            effects: self.effects.clone(),
            changes: if self.spec.edits.is_empty() { Vec::new() } else { self.changes(engine)? },
            undefined_rows: self.run.undefined_rows,
            logits: logits(&self.run)?,
            baseline_logits: if self.spec.edits.is_empty() { Vec::new() } else { logits(&self.baseline)? },
        })
    }

    /// The `k` likeliest next tokens of the run and of the baseline at some positions.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn predictions(&self, k: usize, at: Range<usize>, engine: &Engine) -> Result<Predictions, EditError> {
        let rows = |run: &Run| rows(&engine.logits(run, at.clone())?);
        let before = rows(&self.baseline)?;
        let edited = if self.spec.edits.is_empty() { None } else { Some(rows(&self.run)?) };
        let pairs = before.par_iter().zip(edited.as_ref().unwrap_or(&before));
        let of = |ranked: &[f32], before: &[f32], after: &[f32]| -> Vec<Prediction> {
            let (before_norm, after_norm) = (log_normaliser(before), log_normaliser(after));
            let prediction = |ranked: Ranked| {
                let at = ranked.id as usize;
                Prediction {
                    id: ranked.id,
                    text: engine.loaded.tokenizer.token(ranked.id),
                    logit: after[at],
                    prob: (f64::from(after[at]) - after_norm).exp(),
                    baseline_prob: (f64::from(before[at]) - before_norm).exp(),
                }
            };
            top_k(ranked, k).into_iter().map(prediction).collect()
        };
        Ok(Predictions {
            top: pairs.clone().map(|(before, after)| of(after, before, after)).collect(),
            was: pairs.map(|(before, after)| of(before, before, after)).collect(),
        })
    }

    /// The relative change at every hook point that both runs kept.
    fn changes(&self, engine: &Engine) -> Result<Vec<HookChange>, EditError> {
        let (before, after) = (&self.baseline.cache, &self.run.cache);
        let of = |points: Vec<HookPoint>| -> Result<Vec<f64>, EditError> {
            let pair = |point| Ok(engine.activation(&self.baseline, point)?.zip(engine.activation(&self.run, point)?));
            let pairs = points.into_iter().map(pair).collect::<Result<Vec<_>, EditError>>()?;
            let pairs: Vec<(Tensor, Tensor)> = pairs.into_iter().flatten().collect();
            match self.run.logits.device() {
                Device::Cpu => pairs
                    .par_iter()
                    .map(|(before, after)| with_values(before, |b| with_values(after, |a| relative_change(b, a)))?)
                    .collect(),
                _ => Ok(relative_changes(pairs.iter().map(|(before, after)| (before, after)))?),
            }
        };
        let both: Vec<HookPoint> = before.points().intersection(&after.points()).copied().collect();
        let (still, moved): (Vec<_>, Vec<_>) = both.into_iter().partition(|point| unmoved(before, after, *point));
        let (large, small): (Vec<_>, Vec<_>) =
            moved.into_iter().partition(|point| before.is_left_out(*point) || after.is_left_out(*point));
        let mut changes: Vec<HookChange> = still.into_iter().map(|point| HookChange { point, relative: 0.0 }).collect();
        changes.extend(
            small.iter().zip(of(small.clone())?).map(|(point, relative)| HookChange { point: *point, relative }),
        );
        // what is made for this alone, one after the other
        for point in large {
            changes.extend(of(vec![point])?.into_iter().map(|relative| HookChange { point, relative }));
        }
        changes.sort_by_key(|change| change.point);
        Ok(changes)
    }
}

/// [`relative_change`] of pairs of activations where they lie: two numbers of each are copied, all at once.
fn relative_changes<'a>(pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>) -> candle_core::Result<Vec<f64>> {
    let mut sums = Vec::new();
    for (before, after) in pairs {
        let (before, after) = (before.to_dtype(DType::F32)?.contiguous()?, after.to_dtype(DType::F32)?.contiguous()?);
        let moved = before.ne(&after)?.where_cond(&(&after - &before)?, &before.zeros_like()?)?;
        sums.extend([moved.sqr()?.sum_all()?, finite_square(&before)?]);
    }
    if sums.is_empty() {
        return Ok(vec![]);
    }
    let sums = Tensor::stack(&sums, 0)?.to_vec1::<f32>()?;
    let relative = |change: f64, norm: f64| if change == 0.0 { 0.0 } else { (change / norm).sqrt() };
    Ok(sums.chunks_exact(2).map(|sums| relative(sums[0].into(), sums[1].into())).collect())
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

/// `work` on the values of an activation, row-major; they are copied only if they lie elsewhere or otherwise.
pub(super) fn with_values<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T, EditError> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) = (&*storage, layout.contiguous_offsets()) {
        return Ok(work(&all[from..to]));
    }
    drop(storage);
    Ok(work(&values(tensor)?))
}

/// The values of an activation, row-major, on the host.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, EditError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
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
        let found = relative_changes(b.iter().zip(&a)).unwrap();
        for ((before, after), found) in befores.iter().zip(&afters).zip(found) {
            let expected = relative_change(before, after);
            let close = (expected - found).abs() < 1e-6 * expected;
            assert!(expected.to_bits() == found.to_bits() || close, "{expected} {found}");
        }
    }
}
