//! What edits take from a corpus of prompts.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{ActivationCache, HookPoint, cache::row_of};

/// Means over a corpus, and activations of other prompts of it.
#[derive(Clone, Debug, Default)]
pub struct CorpusValues {
    means: BTreeMap<HookPoint, Tensor>,
    resampled: BTreeMap<u64, ActivationCache>,
}

impl CorpusValues {
    /// Set each unit's mean at a hook.
    ///
    /// # Shapes
    /// `mean`: `[1, 1, axes of the hook after pos]`.
    pub fn set_mean(&mut self, point: HookPoint, mean: Tensor) {
        self.means.insert(point, mean);
    }

    /// Set what a seed chose for each row of a batch: the unedited run of another prompt.
    pub fn set_resampled(&mut self, seed: u64, others: ActivationCache) {
        self.resampled.insert(seed, others);
    }

    pub(super) fn mean(&self, point: HookPoint) -> Option<&Tensor> {
        self.means.get(&point)
    }

    /// The other prompt's value for a row of the batch, `[1, axes of the hook]`.
    pub(super) fn resampled(&self, seed: u64, point: HookPoint, row: usize) -> candle_core::Result<Option<Tensor>> {
        let value = self.resampled.get(&seed).and_then(|cache| cache.get(point));
        value.map(|value| value.narrow(0, row_of(row, value.dim(0)?), 1)).transpose()
    }
}
