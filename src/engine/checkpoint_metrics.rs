//! A few numbers of a run, for comparing runs on many checkpoints.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Engine, Outcome, Run,
    control::go_on,
    host::{finite_square, with_values},
};
use crate::{
    analysis::HeadScores,
    hooks::{HookPoint, RunError},
};

/// The numbers of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunMetrics {
    /// The L2 norm of each activation that was kept, without non-finite values such as masked scores.
    pub norms: BTreeMap<HookPoint, f64>,
    /// The scores of every head, `[layer][head]`.
    pub heads: Vec<Vec<HeadScores>>,
}

/// The numbers of a run and of the one that stands beside it: of another model, else its baseline if it has edits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointMetrics {
    pub run: RunMetrics,
    pub baseline: Option<RunMetrics>,
}

impl Engine {
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn measure(&self, outcome: &Outcome, cancel: &AtomicBool) -> Result<CheckpointMetrics, RunError> {
        let of = |run: &Run| -> Result<RunMetrics, RunError> {
            let norms = self.norms(run, cancel)?;
            go_on(cancel)?;
            Ok(RunMetrics { norms, heads: self.head_map(run)? })
        };
        let baseline = if outcome.spec.edits.is_empty() { None } else { Some(of(&outcome.baseline)?) };
        Ok(CheckpointMetrics { run: of(&outcome.run)?, baseline })
    }

    fn norms(&self, run: &Run, cancel: &AtomicBool) -> Result<BTreeMap<HookPoint, f64>, RunError> {
        let (left_out, kept): (Vec<HookPoint>, Vec<HookPoint>) =
            run.cache.points().into_iter().partition(|point| run.cache.is_left_out(*point));
        let of = |points: &[HookPoint]| -> Result<Vec<(HookPoint, f64)>, RunError> {
            let with = |point: &HookPoint| Ok(self.activation(run, *point)?.map(|value| (*point, value)));
            let values = points.iter().map(with).collect::<Result<Vec<_>, RunError>>()?;
            let values: Vec<(HookPoint, Tensor)> = values.into_iter().flatten().collect();
            if values.is_empty() {
                return Ok(vec![]);
            }
            if run.logits.device().is_cpu() {
                let norm = |values: &[f32]| {
                    values.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
                };
                return values.par_iter().map(|(point, value)| Ok((*point, with_values(value, norm)?))).collect();
            }
            // one number of each is copied, all at once
            let squares = values.iter().map(|(_, value)| finite_square(value));
            let squares = Tensor::stack(&squares.collect::<candle_core::Result<Vec<_>>>()?, 0)?.to_vec1::<f32>()?;
            Ok(values.iter().zip(squares).map(|((point, _), square)| (*point, f64::from(square).sqrt())).collect())
        };
        let mut norms: BTreeMap<HookPoint, f64> = of(&kept)?.into_iter().collect();
        // those that are recomputed for this, one after the other
        for point in left_out {
            go_on(cancel)?;
            norms.extend(of(&[point])?);
        }
        Ok(norms)
    }
}
