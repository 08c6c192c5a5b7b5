//! The results over all prompts.

use serde_json::{Value, json};

use super::{
    super::corpus_args::CorpusArgs,
    rows::{Pair, Rows},
};
use crate::analysis::{MeanEffect, mean};

/// The metric over all prompts.
pub(super) struct Summary {
    /// Prompts with a finite metric, with and without the edits.
    pub n: usize,
    pub not_finite: usize,
    pub baseline: Option<MeanEffect>,
    pub value: Option<MeanEffect>,
    /// None without edits.
    pub effect: Option<MeanEffect>,
}

impl Summary {
    pub fn of(args: &CorpusArgs, rows: &Rows, edited: bool) -> Self {
        let all: Vec<Pair> = rows.values().collect();
        let finite: Vec<Pair> = all.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite()).collect();
        let of = |value: fn(&Pair) -> f64| {
            let values: Vec<f64> = finite.iter().map(value).collect();
            mean(&values).and_then(|_| MeanEffect::of(&values, args.seed))
        };
        Self {
            n: finite.len(),
            not_finite: all.len() - finite.len(),
            baseline: of(|pair| pair.0),
            value: of(|pair| pair.1),
            effect: edited.then(|| of(|pair| pair.1 - pair.0)).flatten(),
        }
    }
}

/// A mean with its interval, as JSON.
pub(super) fn interval(effect: &MeanEffect) -> Value {
    json!({"mean": effect.mean, "low": effect.interval.0, "high": effect.interval.1})
}
