//! Means over a corpus, for mean ablation.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    super::{Control, Engine, Spec, host::with_values},
    CorpusTask,
};
use crate::hooks::{CorpusValues, HookPoint, Op, RunError};

/// Sums over all positions of all prompts so far, of each unit of some hooks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CorpusMeans {
    sums: BTreeMap<String, Vec<f64>>,
    positions: u64,
}

impl CorpusMeans {
    /// The hooks whose mean over the corpus edits take.
    #[must_use]
    pub fn points(engine: &Engine, spec: &Spec) -> BTreeSet<HookPoint> {
        let of = spec.edits.iter().filter(|edit| edit.op == Op::CorpusMean);
        let target = of.map(|edit| edit.sender.as_ref().map_or(&edit.target, |sender| &sender.target));
        target.flat_map(|target| target.points(&engine.schema.dims).unwrap_or_default()).collect()
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
        let points = Self::points(engine, &task.spec);
        let cache = engine.unedited_batch(tokens, &points, control)?;
        for point in points {
            let missing = || candle_core::Error::Msg(format!("the run kept no {point}"));
            let value = cache.get(point).ok_or_else(missing)?;
            let units: usize = value.dims()[2..].iter().product();
            let sums = self.sums.entry(point.to_string()).or_insert_with(|| vec![0.0; units]);
            with_values(value, |all| {
                for position in all.chunks(units.max(1)) {
                    sums.iter_mut().zip(position).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            })?;
        }
        self.positions += tokens.iter().map(|row| row.len() as u64).sum::<u64>();
        Ok(())
    }

    /// The means.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn finish(&self, engine: &Engine) -> Result<CorpusValues, RunError> {
        let mut values = CorpusValues::default();
        for point in engine.schema.all_points() {
            let Some(sums) = self.sums.get(&point.to_string()) else { continue };
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "activations are f32")]
            let means: Vec<f32> = sums.iter().map(|sum| (sum / self.positions as f64) as f32).collect();
            let shape: Vec<usize> =
                [1, 1].into_iter().chain(engine.schema.shape(point, 1)[1..].iter().copied()).collect();
            values.set_mean(point, Tensor::from_vec(means, shape, &engine.loaded.model.device)?);
        }
        Ok(values)
    }
}
