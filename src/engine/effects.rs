use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::{CpuStorage, DType, Storage, Tensor};
use rayon::prelude::*;

use super::{Engine, HookChange, Idle, Outcome, Run, run::rows};
use crate::{
    analysis::{Ranked, log_normaliser, top_k},
    hooks::{Effect, RunError},
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

/// A likely next token at one position, with the probability that the baseline gave it; NaN where there is no softmax.
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

impl Summary {
    /// KL(baseline || edited) in nats at a position, counted from the first that was asked for. A run without edits is its own
    /// baseline: 0, or NaN where it has no probabilities.
    #[must_use]
    pub fn kl_at(&self, at: usize) -> f64 {
        let defined = || self.top.get(at).and_then(|top| top.first()).is_some_and(|likeliest| !likeliest.prob.is_nan());
        self.kl.get(at).copied().unwrap_or(if defined() { 0.0 } else { f64::NAN })
    }

    /// The same at the last position.
    #[must_use]
    pub fn kl_at_end(&self) -> f64 {
        self.kl_at(self.top.len().saturating_sub(1))
    }
}

impl EditEffect {
    /// KL at the last position.
    #[must_use]
    pub fn kl_at_end(&self) -> f64 {
        self.kl.last().copied().unwrap_or(f64::NAN)
    }
}

impl Outcome {
    /// KL and the `k` likeliest next tokens at the positions that were asked for, and what the edits did.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn summary(&self, k: usize, engine: &Engine, cancel: &AtomicBool) -> Result<Summary, RunError> {
        let n_pos = self.spec.tokens.len();
        let logits = self.logits(self.first..n_pos, engine)?;
        let Predictions { top, was } = logits.predictions(k, engine);
        let last = |rows: &[Vec<f32>]| rows.last().cloned().unwrap_or_default();
        Ok(Summary {
            elapsed_ms: self.run.elapsed.as_secs_f64() * 1e3,
            kl: self.kl.clone(),
            top,
            was,
            effects: self.effects.clone(),
            changes: if self.spec.edits.is_empty() { Vec::new() } else { self.changes(engine, cancel)? },
            undefined_rows: self.run.undefined_rows,
            logits: last(logits.now()),
            baseline_logits: if logits.edited.is_some() { last(&logits.baseline) } else { Vec::new() },
        })
    }

    /// The logits of both runs at some positions.
    ///
    /// # Errors
    /// Tensor errors.
    pub(super) fn logits(&self, at: Range<usize>, engine: &Engine) -> Result<Logits, RunError> {
        let of = |run: &Run| rows(&engine.logits(run, at.clone())?);
        Ok(Logits { baseline: of(&self.baseline)?, edited: self.unedited().map(|_| of(&self.run)).transpose()? })
    }
}

/// Logits at some positions, `[pos][vocab]`.
pub(super) struct Logits {
    pub baseline: Vec<Vec<f32>>,
    /// With the edits; None where there are none.
    pub edited: Option<Vec<Vec<f32>>>,
}

impl Logits {
    /// Of the run that is shown.
    pub fn now(&self) -> &[Vec<f32>] {
        self.edited.as_ref().unwrap_or(&self.baseline)
    }

    /// The `k` likeliest next tokens of the run and of the baseline.
    pub fn predictions(&self, k: usize, engine: &Engine) -> Predictions {
        let pairs = self.baseline.par_iter().zip(self.now());
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
        Predictions {
            top: pairs.clone().map(|(before, after)| of(after, before, after)).collect(),
            was: pairs.map(|(before, after)| of(before, before, after)).collect(),
        }
    }
}

/// `work` on the values of an activation, row-major; they are copied only if they lie elsewhere or otherwise.
pub(super) fn with_values<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T, RunError> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) = (&*storage, layout.contiguous_offsets()) {
        return Ok(work(&all[from..to]));
    }
    drop(storage);
    Ok(work(&values(tensor)?))
}

/// The values of an activation, row-major, on the host.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, RunError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}
