//! The summary of an outcome, for display.

use std::{ops::Range, sync::atomic::AtomicBool};

use rayon::prelude::*;

use super::{EditEffect, Engine, HookChange, Outcome, Reads, Run, host::rows};
use crate::{
    analysis::{Ranked, log_normaliser, top_k},
    hooks::RunError,
};

/// A likely next token at one position, with the probability that the baseline gave it; NaN if the softmax is undefined.
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
    /// The baseline's likeliest next tokens, with the run's numbers for them.
    pub was: Vec<Vec<Prediction>>,
}

/// Everything about an outcome that is displayed at once; plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub elapsed_ms: f64,
    /// KL(baseline || edited) in nats, at each position from the first requested one; empty without edits.
    pub kl: Vec<f64>,
    /// The likeliest next tokens of the run, at each requested position.
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
    /// KL(baseline || edited) in nats at a position, counted from the first requested one. A run without edits is its
    /// own baseline: 0, or NaN if it has no probabilities.
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

impl Outcome {
    /// KL and the `k` likeliest next tokens at the requested positions, and the effects of the edits.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn summary(&self, k: usize, engine: &Engine, cancel: &AtomicBool) -> Result<Summary, RunError> {
        let n_pos = self.spec.tokens.len();
        if engine.lacks(&Reads::Logits).is_some() {
            return Ok(Summary::default());
        }
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

    /// The summary of a pass that is held: what the edits did as far as it came. There is no prediction yet.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn summary_so_far(&self, engine: &Engine, cancel: &AtomicBool) -> Result<Summary, RunError> {
        Ok(Summary {
            elapsed_ms: self.run.elapsed.as_secs_f64() * 1e3,
            effects: self.effects.clone(),
            changes: if self.spec.edits.is_empty() { Vec::new() } else { self.changes(engine, cancel)? },
            undefined_rows: self.run.undefined_rows,
            ..Summary::default()
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
    /// Those of the edited run; None without edits.
    pub edited: Option<Vec<Vec<f32>>>,
}

impl Logits {
    /// Those of the run that is shown.
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
