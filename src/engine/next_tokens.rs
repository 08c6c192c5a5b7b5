//! The next tokens after one position.

use super::{Engine, Outcome, Prediction};
use crate::{
    analysis::{kl_divergence, log_normaliser},
    hooks::RunError,
};

/// The most next tokens in the list of one position.
pub const LISTED: usize = 100;

/// The next tokens after one position.
#[derive(Clone, Debug, PartialEq)]
pub struct NextTokens {
    /// The likeliest, at most [`LISTED`].
    pub top: Vec<Prediction>,
    /// The likeliest tokens of the baseline.
    pub was: Vec<Prediction>,
    /// KL(baseline || edited) in nats; None without edits.
    pub kl: Option<f64>,
    /// The logits of the whole vocabulary.
    pub logits: Vec<f32>,
    /// The baseline's logits, if there are edits.
    pub baseline: Option<Vec<f32>>,
}

impl NextTokens {
    /// Those of a run of this model beside those of another.
    #[must_use]
    pub fn of_two(this: Self, that: Self) -> Self {
        let (top, was) = beside((this.top, &this.logits), (that.top, &that.logits));
        let kl = Some(kl_divergence(&that.logits, &this.logits));
        Self { top, was, kl, logits: this.logits, baseline: Some(that.logits) }
    }
}

/// The likeliest tokens of two models, each with this model's numbers and, as the baseline's, that one's.
pub(super) fn beside(
    (this_top, this): (Vec<Prediction>, &[f32]),
    (that_top, that): (Vec<Prediction>, &[f32]),
) -> (Vec<Prediction>, Vec<Prediction>) {
    let (this_norm, that_norm) = (log_normaliser(this), log_normaliser(that));
    let logit = |row: &[f32], id: u32| row.get(id as usize).copied().unwrap_or(f32::NAN);
    let prob = |row: &[f32], norm: f64, id: u32| (f64::from(logit(row, id)) - norm).exp();
    let numbers = |p: Prediction| Prediction {
        logit: logit(this, p.id),
        prob: prob(this, this_norm, p.id),
        baseline_prob: prob(that, that_norm, p.id),
        ..p
    };
    (this_top.into_iter().map(numbers).collect(), that_top.into_iter().map(numbers).collect())
}

impl Outcome {
    /// The next tokens after a position.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn next_tokens(&self, pos: usize, engine: &Engine) -> Result<NextTokens, RunError> {
        let rows = self.logits(pos..pos + 1, engine)?;
        let found = rows.predictions(LISTED, engine);
        let first = |mut rows: Vec<Vec<Prediction>>| rows.pop().unwrap_or_default();
        let one = |mut rows: Vec<Vec<f32>>| rows.pop().unwrap_or_default();
        let (before, edited) = (one(rows.baseline), rows.edited.map(one));
        let kl = edited.as_ref().map(|after| kl_divergence(&before, after));
        let (logits, baseline) = match edited {
            Some(after) => (after, Some(before)),
            None => (before, None),
        };
        Ok(NextTokens { top: first(found.top), was: first(found.was), kl, logits, baseline })
    }
}
