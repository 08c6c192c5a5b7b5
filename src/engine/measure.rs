//! A few numbers that say how a run is at a glance, so that runs on many checkpoints can be held beside each other.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::{Engine, Outcome, Run, changes::go_on, effects::with_values};
use crate::{
    analysis::HeadScores,
    hooks::{HookPoint, RunError},
};

/// The numbers of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// The L2 norm of each activation that was kept; what is not finite, such as masked scores, left out.
    pub norms: BTreeMap<HookPoint, f64>,
    /// The scores of every head, `[layer][head]`.
    pub heads: Vec<Vec<HeadScores>>,
}

/// The numbers of a run and, where it has edits, of the run without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    pub run: Measures,
    pub baseline: Option<Measures>,
}

impl Engine {
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn measure(&self, outcome: &Outcome, cancel: &AtomicBool) -> Result<Measured, RunError> {
        let of = |run: &Run| -> Result<Measures, RunError> {
            let norms = self.norms(run, cancel)?;
            go_on(cancel)?;
            Ok(Measures { norms, heads: self.head_map(run)? })
        };
        let baseline = if outcome.spec.edits.is_empty() { None } else { Some(of(&outcome.baseline)?) };
        Ok(Measured { run: of(&outcome.run)?, baseline })
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
        // what is made for this alone, one after the other
        for point in left_out {
            go_on(cancel)?;
            norms.extend(of(&[point])?);
        }
        Ok(norms)
    }
}

/// The sum of the squares of all finite values, where they lie.
pub(super) fn finite_square(value: &Tensor) -> candle_core::Result<Tensor> {
    let value = value.to_dtype(DType::F32)?.contiguous()?;
    value.abs()?.le(f32::MAX)?.where_cond(&value, &value.zeros_like()?)?.sqr()?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_no_part_of_a_norm() {
        let device = candle_core::Device::Cpu;
        let value = Tensor::new(&[3.0f32, f32::NEG_INFINITY, 4.0, f32::NAN], &device).unwrap();
        let square = finite_square(&value).unwrap().to_scalar::<f32>().unwrap();
        assert!((square - 25.0).abs() < 1e-6);
    }
}
