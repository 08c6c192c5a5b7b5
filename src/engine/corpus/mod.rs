//! Many prompts, in batches of equal length: a metric with and without edits, and what is collected on the way.
//!
//! A row of a batch is computed as if it were alone, so each result equals the single run to rounding.

mod ablation;
mod batch;
mod groups;
mod head_sums;
mod means;
mod metric;
mod passes;
mod top_contexts;

pub use ablation::HeadEffects;
pub use batch::{BatchOutcome, PromptEffect};
pub use groups::{Group, groups};
pub use head_sums::{HeadSums, WatchHeads};
pub use means::CorpusMeans;
pub use metric::{CorpusQuestion, Measured, measured_objective};
pub use passes::{Batch, Watch};
pub use top_contexts::{Context, TopContexts, TopQuestion};

use super::Spec;
use crate::hooks::{Dims, Edit, Op};

/// A prompt of a corpus, with what the corpus says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorpusPrompt {
    pub tokens: Vec<u32>,
    /// The corrupted prompt, which `= patch` takes values from.
    pub contrast: Option<Vec<u32>>,
    pub target: Option<u32>,
    pub distractor: Option<u32>,
}

/// What is done with every prompt of a corpus.
#[derive(Clone, Debug)]
pub struct CorpusTask {
    /// The edits, opt-in hooks and vectors; the contrast prompt of prompts without their own. Its tokens are not used.
    pub spec: Spec,
    pub question: CorpusQuestion,
    /// What is done to each head by itself, beside the edits.
    pub ablation: Option<Op>,
}

impl CorpusTask {
    /// Every edit that is made in some run: those of `spec`, and those that ablate each head.
    #[must_use]
    pub fn edits(&self, dims: &Dims) -> Vec<Edit> {
        let heads = self.ablation.map(|op| ablation::heads(dims, op)).unwrap_or_default();
        self.spec.edits.iter().cloned().chain(heads).collect()
    }
}
