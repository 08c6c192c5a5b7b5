//! The metric of each prompt of a batch.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::{
    super::{Engine, host::with_values},
    CorpusPrompt,
};
use crate::{
    analysis::{Objective, ObjectiveKind, log_normaliser, top_k},
    hooks::RunError,
};

/// What is measured of every prompt, and of which tokens where the prompt names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorpusQuestion {
    pub metric: ObjectiveKind,
    /// None: the likeliest next token of the prompt's unedited run.
    pub target: Option<u32>,
    /// None: the likeliest other one.
    pub distractor: Option<u32>,
    /// The logit difference is the target's logit, unless a distractor is given.
    pub alone: bool,
}

/// The metric of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// With the edits.
    pub value: f64,
    /// Without them.
    pub baseline: f64,
    /// The tokens that the metric is of, if it is of any.
    pub target: Option<u32>,
    pub distractor: Option<u32>,
}

/// Positions whose logits are computed together.
const AT_ONCE: usize = 1024;

impl CorpusQuestion {
    /// The target and the distractor for a prompt, from its unedited logits `[vocab]`.
    #[must_use]
    pub fn tokens(self, prompt: &CorpusPrompt, before: &[f32]) -> (Option<u32>, Option<u32>) {
        let (names, differs) = match self.metric {
            ObjectiveKind::LogitDiff => (true, true),
            ObjectiveKind::Prob => (true, false),
            ObjectiveKind::Kl | ObjectiveKind::Loss => (false, false),
        };
        if !names {
            return (None, None);
        }
        let (target, distractor) = match prompt.target {
            Some(target) => (Some(target), prompt.distractor),
            None => (self.target, self.distractor),
        };
        // a prompt that names its target alone, or a question that does
        let alone = !differs || distractor.is_none() && (self.alone || prompt.target.is_some());
        let likely = if target.is_some() && (alone || distractor.is_some()) { vec![] } else { top_k(before, 3) };
        let mut likely = likely.into_iter().map(|ranked| ranked.id);
        let target = target.or_else(|| likely.next());
        let other = || likely.find(|id| Some(*id) != target);
        (target, if alone { distractor.filter(|_| differs) } else { distractor.or_else(other) })
    }

    /// The metric of a prompt, from the logits after its last position with and without the edits; of `kl`, `prob` and
    /// `logit-diff`.
    pub(super) fn measure(self, prompt: &CorpusPrompt, logits: &[f32], before: &[f32]) -> Measured {
        let (target, distractor) = self.tokens(prompt, before);
        let at = |logits: &[f32]| match self.metric.of(0, target, distractor) {
            Some(objective) => objective.at(logits, before, 0, prompt.tokens.len()),
            // no token is the likeliest: the logits are NaN
            None => f64::NAN,
        };
        Measured { value: at(logits), baseline: at(before), target, distractor }
    }
}

impl Engine {
    /// The loss of each prompt; NaN for a prompt of one token.
    ///
    /// # Shapes
    /// `normalized`: `[prompt, pos, d_model]`.
    pub(super) fn losses(&self, normalized: &Tensor, prompts: &[&CorpusPrompt]) -> Result<Vec<f64>, RunError> {
        let (rows, n_pos, _) = normalized.dims3()?;
        let predicting = n_pos.saturating_sub(1);
        if predicting == 0 {
            return Ok(vec![f64::NAN; rows]);
        }
        let next: Vec<u32> = prompts.iter().flat_map(|prompt| prompt.tokens[1..].iter().copied()).collect();
        let flat = normalized.narrow(1, 0, predicting)?.contiguous()?.flatten_to(1)?;
        let mut losses = Vec::with_capacity(next.len());
        for (number, next) in next.chunks(AT_ONCE).enumerate() {
            losses.extend(self.cross_entropies(&flat.narrow(0, number * AT_ONCE, next.len())?, next)?);
        }
        #[allow(clippy::cast_precision_loss, reason = "a number of positions")]
        Ok(losses.chunks(predicting).map(|losses| losses.iter().sum::<f64>() / predicting as f64).collect())
    }

    /// The cross-entropy of each row's next token.
    ///
    /// # Shapes
    /// `normalized`: `[rows, d_model]`.
    fn cross_entropies(&self, normalized: &Tensor, next: &[u32]) -> Result<Vec<f64>, RunError> {
        let model = &self.loaded.model;
        if let Some(found) = model.cross_entropy(normalized, next)? {
            return Ok(found);
        }
        let logits = model.unembed(normalized)?;
        if !logits.device().is_cpu() {
            return Ok(cross_entropies_in_f32(&logits, next)?);
        }
        let width = logits.dim(1)?;
        let loss = |(next, logits): (&u32, &[f32])| {
            log_normaliser(logits) - logits.get(*next as usize).map_or(f64::NAN, |x| f64::from(*x))
        };
        with_values(&logits, |all| next.par_iter().zip(all.par_chunks(width)).map(loss).collect())
    }

    /// The logits after the last position, `[prompt][vocab]`.
    ///
    /// # Shapes
    /// `normalized`: `[prompt, pos, d_model]`.
    pub(super) fn last_logits(&self, normalized: &Tensor) -> Result<Vec<Vec<f32>>, RunError> {
        let last = normalized.dim(1)?.saturating_sub(1);
        let logits = self.loaded.model.unembed(&normalized.narrow(1, last, 1)?)?;
        Ok(logits.squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?)
    }
}

/// The objective of a single run that measures the same as a batch did of a prompt of `n_pos` tokens.
#[must_use]
pub fn measured_objective(question: CorpusQuestion, measured: &Measured, n_pos: usize) -> Option<Objective> {
    question.metric.of(n_pos.saturating_sub(1), measured.target, measured.distractor)
}

/// The cross-entropy of each row's next token, computed on the device of the logits `[rows, vocab]`: copying them from a GPU would take longer than the whole pass.
fn cross_entropies_in_f32(logits: &Tensor, next: &[u32]) -> candle_core::Result<Vec<f64>> {
    let logits = logits.to_dtype(DType::F32)?;
    let own = logits.gather(&Tensor::new(next, logits.device())?.unsqueeze(1)?, 1)?;
    let most = logits.max_keepdim(1)?;
    let sums = logits.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?;
    let losses = (sums.log()? + (most - own)?)?;
    Ok(losses.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn losses_in_f32_are_those_in_f64(rows in proptest::collection::vec((proptest::collection::vec(-20.0f32..20.0, 50), 0u32..50), 1..5)) {
            let (logits, next): (Vec<Vec<f32>>, Vec<u32>) = rows.into_iter().unzip();
            let found = cross_entropies_in_f32(&Tensor::new(logits.clone(), &Device::Cpu).unwrap(), &next).unwrap();
            for ((logits, next), found) in logits.iter().zip(next).zip(found) {
                let expected = log_normaliser(logits) - f64::from(logits[next as usize]);
                prop_assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn a_loss_without_a_softmax_is_nan() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for logits in [[-inf, -inf], [inf, 0.0], [nan, 0.0]] {
            let logits = Tensor::new(&[logits], &Device::Cpu).unwrap();
            assert!(cross_entropies_in_f32(&logits, &[1]).unwrap()[0].is_nan(), "{logits}");
        }
    }
}
