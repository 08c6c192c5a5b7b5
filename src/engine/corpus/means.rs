//! Means over a corpus, for mean ablation.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::{
    super::{Control, Engine, host::with_values},
    CorpusTask,
};
use crate::hooks::{CorpusValues, HookPoint, Op, RunError};

/// Sums over all positions of all prompts so far, of each unit of some hooks and of each feature of some dictionaries.
#[derive(Clone, Debug, Default)]
pub struct CorpusMeans {
    units: BTreeMap<HookPoint, Vec<f64>>,
    features: BTreeMap<HookPoint, Vec<f64>>,
    positions: u64,
}

impl CorpusMeans {
    /// Sums of nothing yet, at the hooks whose mean over the corpus the edits of a task take; None if they take none.
    #[must_use]
    pub fn of(engine: &Engine, task: &CorpusTask) -> Option<Self> {
        let schema = &engine.schema;
        let mut sums = Self::default();
        for edit in task.edits(&schema.dims).iter().filter(|edit| edit.op == Op::CorpusMean) {
            let target = edit.sender.as_ref().map_or(&edit.target, |sender| &sender.target);
            for point in target.points(&schema.dims).unwrap_or_default() {
                let units: usize = schema.shape(point, 1)[1..].iter().product();
                match (edit.features, schema.dictionaries().get(&point)) {
                    (true, Some(d_sae)) => sums.features.insert(point, vec![0.0; *d_sae]),
                    // an edit that does not fit is reported elsewhere
                    (true, None) => None,
                    (false, _) => sums.units.insert(point, vec![0.0; units]),
                };
            }
        }
        (!sums.units.is_empty() || !sums.features.is_empty()).then_some(sums)
    }

    /// Add a batch of prompts that are equally long, run without edits.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn add(
        &mut self,
        engine: &mut Engine,
        task: &CorpusTask,
        tokens: &[Vec<u32>],
        control: Control<'_>,
    ) -> Result<(), RunError> {
        engine.ready(&task.spec, control)?;
        let points: BTreeSet<HookPoint> = self.units.keys().copied().collect();
        let cache = engine.unedited_batch(tokens, &points, !self.features.is_empty(), control)?;
        for (point, sums) in &mut self.units {
            let missing = || candle_core::Error::Msg(format!("the run kept no {point}"));
            add(sums, cache.get(*point).ok_or_else(missing)?)?;
        }
        if !self.features.is_empty() {
            let at: BTreeSet<HookPoint> = self.features.keys().copied().collect();
            for (row, tokens) in tokens.iter().enumerate() {
                for (point, found) in engine.features_at(tokens, &cache.of_row(row)?, at.clone())? {
                    self.features.get_mut(&point).map_or(Ok(()), |sums| add(sums, &found))?;
                }
            }
        }
        self.positions += tokens.iter().map(|row| row.len() as u64).sum::<u64>();
        Ok(())
    }

    /// The means.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn finish(&self, engine: &Engine) -> Result<CorpusValues, RunError> {
        let mean = |sums: &[f64], rest: &[usize]| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "activations are f32")]
            let means: Vec<f32> = sums.iter().map(|sum| (sum / self.positions as f64) as f32).collect();
            let shape: Vec<usize> = [1, 1].iter().chain(rest).copied().collect();
            Tensor::from_vec(means, shape, &engine.loaded.model.device)
        };
        let mut values = CorpusValues::default();
        for (point, sums) in &self.units {
            values.set_mean(*point, mean(sums, &engine.schema.shape(*point, 1)[1..])?);
        }
        for (point, sums) in &self.features {
            values.set_feature_mean(*point, mean(sums, &[sums.len()])?);
        }
        Ok(values)
    }
}

/// Add every position of a value, `[prompt, pos, units]`.
fn add(sums: &mut [f64], value: &Tensor) -> Result<(), RunError> {
    with_values(value, |all| {
        for position in all.chunks(sums.len().max(1)) {
            sums.iter_mut().zip(position).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    })
}
