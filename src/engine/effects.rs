use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::Outcome;
use crate::{
    analysis::{log_normaliser, relative_change, top_k},
    hooks::{EditError, Effect, HookPoint},
    model::Tokenizer,
};

/// What one edit did: at its hook points, and by itself to the output.
#[derive(Clone, Debug, PartialEq)]
pub struct EditEffect {
    pub effect: Effect,
    /// KL(baseline || run with this edit alone) in nats, at each position.
    pub kl: Vec<f64>,
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

/// Everything about an outcome that a person sees at once; plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub elapsed_ms: f64,
    /// KL(baseline || edited) in nats, at each position; empty without edits.
    pub kl: Vec<f64>,
    /// The likeliest next tokens of the run, at each position that was asked for.
    pub top: Vec<Vec<Prediction>>,
    pub effects: Vec<EditEffect>,
    /// Relative change at each captured hook point; empty without edits.
    pub changes: Vec<HookChange>,
    pub undefined_rows: usize,
}

impl Outcome {
    /// KL at each position, and the `k` likeliest next tokens at the positions from `first` on.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn summary(&self, k: usize, first: usize, tokenizer: &Tokenizer) -> Result<Summary, EditError> {
        let edited = !self.spec.edits.is_empty();
        let before = self.baseline.logit_rows()?;
        let after = if edited { self.run.logit_rows()? } else { Vec::new() };
        let after = if edited { &after } else { &before };
        let kl = match edited {
            true => before.par_iter().zip(after).map(|(b, a)| crate::analysis::kl_divergence(b, a)).collect(),
            false => Vec::new(),
        };
        let predictions = |(before, after): (&Vec<f32>, &Vec<f32>)| {
            let norm = log_normaliser(before);
            let with_baseline = |ranked: crate::analysis::Ranked| {
                let baseline_prob = (f64::from(before[ranked.id as usize]) - norm).exp();
                let text = tokenizer.token(ranked.id);
                Prediction { id: ranked.id, text, logit: ranked.logit, prob: ranked.prob, baseline_prob }
            };
            top_k(after, k).into_iter().map(with_baseline).collect()
        };
        let top = before[first..].par_iter().zip(&after[first..]).map(predictions).collect();
        Ok(Summary {
            elapsed_ms: self.run.elapsed.as_secs_f64() * 1e3,
            kl,
            top,
            effects: self.effects.clone(),
            changes: if edited { self.changes()? } else { Vec::new() },
            undefined_rows: self.run.undefined_rows,
        })
    }

    /// The relative change at every hook point that both runs kept.
    fn changes(&self) -> Result<Vec<HookChange>, EditError> {
        let pairs: Vec<_> = self
            .run
            .cache
            .iter()
            .filter_map(|(point, after)| Some((point, self.baseline.cache.get(point)?, after)))
            .collect();
        pairs
            .into_par_iter()
            .map(|(point, before, after)| {
                let relative =
                    if same(before, after) { 0.0 } else { relative_change(&values(before)?, &values(after)?) };
                Ok(HookChange { point, relative })
            })
            .collect()
    }
}

/// Whether both are the very same tensor, shared between runs.
fn same(a: &Tensor, b: &Tensor) -> bool {
    a.id() == b.id()
}

/// The values of an activation, row-major, on the host.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, EditError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}
