//! What edits take from a corpus of prompts.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{ActivationCache, HookPoint, Step, cache::row_of};

/// Means over a corpus, and activations of other prompts of it; of features of dictionaries too.
#[derive(Clone, Debug, Default)]
pub struct CorpusValues {
    means: BTreeMap<HookPoint, Tensor>,
    feature_means: BTreeMap<HookPoint, Tensor>,
    resampled: BTreeMap<u64, Resampled>,
}

/// What a seed chose for each row of a batch.
#[derive(Clone, Debug, Default)]
struct Resampled {
    others: ActivationCache,
    features: BTreeMap<HookPoint, Tensor>,
}

impl CorpusValues {
    /// Set each unit's mean at a hook.
    ///
    /// # Shapes
    /// `mean`: `[1, 1, axes of the hook after pos]`.
    pub fn set_mean(&mut self, point: HookPoint, mean: Tensor) {
        self.means.insert(point, mean);
    }

    /// Set the mean of each feature of the dictionary at a hook.
    ///
    /// # Shapes
    /// `mean`: `[1, 1, d_sae]`.
    pub fn set_feature_mean(&mut self, point: HookPoint, mean: Tensor) {
        self.feature_means.insert(point, mean);
    }

    /// Set what a seed chose for each row of a batch: the unedited run of another prompt, and its features.
    ///
    /// # Shapes
    /// `features`: `[1, pos, d_sae]`.
    pub fn set_resampled(&mut self, seed: u64, others: ActivationCache, features: BTreeMap<HookPoint, Tensor>) {
        self.resampled.insert(seed, Resampled { others, features });
    }

    /// The means that a step takes, `[1, 1, units]`.
    pub(super) fn mean(&self, step: &Step) -> Option<&Tensor> {
        if step.features { self.feature_means.get(&step.point) } else { self.means.get(&step.source()) }
    }

    /// The other prompt's value that a step takes in a row of the batch: `[1, axes of the hook]` or `[1, pos, d_sae]`.
    pub(super) fn resampled(&self, seed: u64, step: &Step, row: usize) -> candle_core::Result<Option<Tensor>> {
        let of = |chosen: &'_ Resampled| match step.features {
            true => chosen.features.get(&step.point).cloned(),
            false => chosen.others.get(step.source()).cloned(),
        };
        let value = self.resampled.get(&seed).and_then(of);
        value.map(|value| value.narrow(0, row_of(row, value.dim(0)?), 1)).transpose()
    }
}
