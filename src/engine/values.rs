//! The numbers of one activation: its statistics, and two of its axes as a matrix.

use std::sync::atomic::AtomicBool;

use candle_core::Tensor;

use super::{
    Engine, Numbers, Outcome, Run, Unseen, WithBaseline,
    finished::Finished,
    host::{values, with_values},
};
use crate::{
    analysis::{Stats, stats},
    hooks::{Axis, BlockHook, HookPoint, RunError},
};

/// Two axes of an activation as rows and columns, at one index of the third axis, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub rows: Axis,
    /// [`Axis::One`] if the activation has only one axis.
    pub columns: Axis,
    pub fixed: Option<(Axis, usize)>,
}

/// The statistics of an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Without the batch axis.
    pub shape: Vec<usize>,
    pub dtype: String,
    pub stats: WithBaseline<Stats>,
}

/// A slice of an activation, row-major `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: WithBaseline<Vec<f32>>,
}

/// Bins of the histogram.
const BINS: usize = 64;

impl Outcome {
    /// The statistics of an activation.
    ///
    /// # Errors
    /// The hook is off, tensor errors.
    pub fn statistics(&self, point: HookPoint, engine: &Engine) -> Result<Statistics, Unseen> {
        let now = engine.activation(&self.run, point)?.ok_or_else(|| off(point))?;
        let before = match self.unedited() {
            Some(run) => engine.activation(run, point)?,
            None => None,
        };
        Ok(Statistics::of(&WithBaseline { run: now, baseline: before })?)
    }

    /// Two axes of an activation.
    ///
    /// # Errors
    /// The hook is off, tensor errors.
    pub fn matrix(&self, point: HookPoint, slice: Slice, engine: &Engine) -> Result<Matrix, Unseen> {
        let axes = engine.schema.axes(point);
        let matrix = |run: &Run| -> Result<Option<Tensor>, RunError> {
            if let (HookPoint::Block(block, hook), Some((Axis::Head, head))) = (point, slice.fixed)
                && run.cache.is_left_out(point)
            {
                // only what is shown
                let found = engine.attention(run, block, hook, Some((head, 0..run.tokens.len())))?;
                let slice = Slice { fixed: Some((Axis::Head, 0)), ..slice };
                return Ok(found.map(|t| slice.of(&t, &axes)).transpose()?);
            }
            Ok(engine.activation(run, point)?.map(|t| slice.of(&t, &axes)).transpose()?)
        };
        let now = matrix(&self.run)?.ok_or_else(|| off(point))?;
        let before = self.unedited().map(matrix).transpose()?.flatten();
        Ok(Matrix::of(&WithBaseline { run: now, baseline: before })?)
    }

    /// The baseline, if it is not the run shown.
    #[must_use]
    pub fn unedited(&self) -> Option<&Run> {
        (!self.spec.edits.is_empty()).then_some(&*self.baseline)
    }
}

impl Finished<'_> {
    /// The statistics of an activation, or of gradients with respect to it.
    ///
    /// # Errors
    /// The hook is off, what [`Finished::numbers`] refuses, tensor errors.
    pub fn statistics(
        &mut self,
        point: HookPoint,
        numbers: Numbers,
        cancel: &AtomicBool,
    ) -> Result<Statistics, Unseen> {
        match numbers {
            Numbers::Values => self.outcome.statistics(point, self.engine),
            Numbers::Gradients { .. } => Ok(Statistics::of(&self.numbers(point, numbers, cancel)?)?),
        }
    }

    /// Two axes of an activation, or of gradients with respect to it.
    ///
    /// # Errors
    /// The hook is off, what [`Finished::numbers`] refuses, tensor errors.
    pub fn matrix(
        &mut self,
        point: HookPoint,
        slice: Slice,
        numbers: Numbers,
        cancel: &AtomicBool,
    ) -> Result<Matrix, Unseen> {
        match numbers {
            Numbers::Values => self.outcome.matrix(point, slice, self.engine),
            Numbers::Gradients { .. } => {
                let axes = self.engine.schema.axes(point);
                let WithBaseline { run, baseline } = self.numbers(point, numbers, cancel)?;
                let baseline = baseline.map(|tensor| slice.of(&tensor, &axes)).transpose()?;
                Ok(Matrix::of(&WithBaseline { run: slice.of(&run, &axes)?, baseline })?)
            }
        }
    }
}

impl Statistics {
    /// From activations `[1, axes]`.
    fn of(tensors: &WithBaseline<Tensor>) -> Result<Self, RunError> {
        let of = |tensor: &Tensor| with_values(tensor, |all| stats(all, BINS));
        let (now, before) = (&tensors.run, &tensors.baseline);
        Ok(Self {
            shape: now.dims()[1..].to_vec(),
            dtype: now.dtype().as_str().to_string(),
            stats: WithBaseline { run: of(now)?, baseline: before.as_ref().map(of).transpose()? },
        })
    }
}

impl Matrix {
    /// From slices `[rows, columns]`.
    fn of(tensors: &WithBaseline<Tensor>) -> Result<Self, RunError> {
        let (rows, columns) = tensors.run.dims2()?;
        let baseline = tensors.baseline.as_ref().map(values).transpose()?;
        Ok(Self { rows, columns, values: WithBaseline { run: values(&tensors.run)?, baseline } })
    }
}

/// The reason why an activation can't be shown: its hook is off.
pub(super) fn off(point: HookPoint) -> Unseen {
    Unseen::Nothing(format!("{point} is off, as in TransformerLens"))
}

impl Engine {
    /// An activation of a run: kept, or derived from what was kept; None if it is off.
    ///
    /// # Shapes
    /// `[1, axes of the hook]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn activation(&self, run: &Run, point: HookPoint) -> Result<Option<Tensor>, RunError> {
        if let (HookPoint::Block(block, BlockHook::ResidMid), true) = (point, self.schema.dims.parallel) {
            let part = |hook| run.cache.get(HookPoint::Block(block, hook));
            let parts = part(BlockHook::ResidPre).zip(part(BlockHook::AttnOut));
            return Ok(parts.map(|(pre, out)| pre + out).transpose()?);
        }
        match (run.cache.get(point), point) {
            // off, but one product computes it
            (None, HookPoint::Block(block, BlockHook::Result)) if self.loaded.model.has_weights() => {
                let z = run.cache.get(HookPoint::Block(block, BlockHook::Z));
                z.map(|z| self.loaded.model.head_results(block, z)).transpose()
            }
            (None, HookPoint::Block(block, hook)) if run.cache.is_left_out(point) => {
                self.attention(run, block, hook, None)
            }
            (kept, _) => Ok(kept.cloned()),
        }
    }
}

impl Slice {
    /// The slice `[rows, columns]` of an activation `[1, axes]`.
    fn of(self, tensor: &Tensor, axes: &[Axis]) -> candle_core::Result<Tensor> {
        let mut matrix = tensor.squeeze(0)?;
        let mut axes = axes.to_vec();
        if let Some((axis, at)) = self.fixed
            && let Some(i) = axes.iter().position(|a| *a == axis)
        {
            matrix = matrix.narrow(i, at, 1)?.squeeze(i)?;
            axes.remove(i);
        }
        match axes.len() {
            1 => matrix.unsqueeze(1),
            _ if axes.first() == Some(&self.columns) => matrix.t()?.contiguous(),
            _ => Ok(matrix),
        }
    }
}
