//! The rows of a table that `grid` or `corpus` wrote, to be looked at.

mod curves;
mod read;

pub use curves::{Curve, CurvePoint, Measured, SeedMean, Spread};

use std::{path::PathBuf, sync::Arc};

use crate::analysis::MeanEffect;

/// A table of effects: every row is a prompt on a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    pub path: PathBuf,
    pub metric: String,
    pub models: Vec<String>,
    pub prompts: Vec<ResultPrompt>,
    /// By effect, the most negative first. Rows without a finite effect are left out.
    pub rows: Vec<ResultRow>,
    /// The rows that could not be computed, or whose numbers are not finite.
    pub failed: usize,
    /// The mean effect, of one checkpoint and so few rows that its uncertainty is computed quickly.
    pub mean: Option<MeanEffect>,
    /// Means over the training of each model, over its seeds; empty without training steps.
    pub curves: Vec<Curve>,
}

/// A prompt of a table, and what was done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResultPrompt {
    pub text: String,
    /// Token ids, the beginning-of-sequence token included; None where the table has only the text.
    pub tokens: Option<Vec<u32>>,
    pub contrast: Option<String>,
    pub contrast_tokens: Option<Vec<u32>>,
    /// A line each.
    pub edits: Option<String>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// Its model and prompt, by number.
    pub model: usize,
    pub prompt: usize,
    pub revision: Option<Arc<str>>,
    pub baseline: f64,
    pub value: f64,
}

impl ResultRow {
    #[must_use]
    pub fn effect(&self) -> f64 {
        self.value - self.baseline
    }

    /// One of its numbers.
    #[must_use]
    pub fn of(&self, measured: Measured) -> f64 {
        match measured {
            Measured::Effect => self.effect(),
            Measured::Value => self.value,
            Measured::Baseline => self.baseline,
        }
    }
}
