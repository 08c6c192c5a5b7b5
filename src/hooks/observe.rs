//! The interface between a forward pass and what watches or edits it.

use candle_core::Tensor;

use super::{HookPoint, Received, RunError};

/// A value of an earlier part of the same pass.
#[derive(Clone, Debug)]
pub enum Known {
    /// As [`Hooks::at`] returned it: the pass goes on with it.
    Returned(Tensor),
    /// As it was computed, still to be shown to [`Hooks::at`].
    Computed(Tensor),
}

/// The value at a hook point to go on with: as known, or as `$compute` gives it and the hooks return it.
macro_rules! reach {
    ($hooks:expr, $point:expr, $compute:expr) => {{
        let point = $point;
        match $hooks.known(point) {
            Some($crate::hooks::Known::Returned(value)) => value,
            Some($crate::hooks::Known::Computed(value)) => $hooks.at(point, value)?,
            None => {
                let value = $compute;
                $hooks.at(point, value)?
            }
        }
    }};
}

pub(crate) use reach;

/// How the forward pass sees its observer.
pub trait Hooks {
    /// The value computed at `point`; returns the value to continue with.
    ///
    /// # Shapes
    /// `value`: `[batch, axes of the hook]`; the result has the same shape.
    ///
    /// # Errors
    /// Whatever makes an edit impossible.
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError>;

    /// What is known already of the value at `point`, so that a pass need not compute it.
    fn known(&mut self, point: HookPoint) -> Option<Known> {
        let _ = point;
        None
    }

    /// Whether [`Hooks::at`] does anything there. If not, a pass may skip what nothing else needs.
    fn watches(&self, point: HookPoint) -> bool {
        let _ = point;
        true
    }

    /// Called instead of [`Hooks::at`] if a pass did not compute the value, since nothing watches it.
    fn skipped(&mut self, point: HookPoint) {
        let _ = point;
    }

    /// Whether paths start at `point` although its hook is off: a pass then computes it anyway, for [`Hooks::sent`].
    fn sends(&self, point: HookPoint) -> bool {
        let _ = point;
        false
    }

    /// What a sender whose hook is off writes.
    fn sent(&mut self, point: HookPoint, value: Tensor) {
        let _ = (point, value);
    }

    /// The inputs that readers get in place of the stream, if paths end at `point` and its hook is off.
    ///
    /// # Shapes
    /// `stream`: `[batch, pos, d_model]`, the readers' usual input.
    ///
    /// # Errors
    /// Whatever makes an edit impossible.
    fn received(&mut self, point: HookPoint, stream: &Tensor) -> Result<Vec<Received>, RunError> {
        let _ = (point, stream);
        Ok(vec![])
    }

    /// Apply the edits at `point` to a value that is computed beside the pass, for one row of the batch.
    ///
    /// # Shapes
    /// `value`: `[1, axes of the hook]`.
    ///
    /// # Errors
    /// Whatever makes an edit impossible.
    fn aside(&self, point: HookPoint, row: usize, value: Tensor) -> Result<Tensor, RunError> {
        let _ = (point, row);
        Ok(value)
    }

    /// Called before each block.
    ///
    /// # Errors
    /// [`RunError::Cancelled`] stops the pass.
    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        let _ = block;
        Ok(())
    }

    /// `rows` rows of a block's pattern had no finite score, so their softmax is undefined; they were set to 0.
    fn undefined_rows(&mut self, block: usize, rows: usize) {
        let _ = (block, rows);
    }
}

/// Sees activations as a pass computes them, after the edits.
pub trait Observer {
    /// Whether the observer wants the activation at `point`.
    fn wants(&self, point: HookPoint) -> bool;

    /// The activation at `point`, for all rows of the batch; `row_of_plan` gives the row of each plan.
    ///
    /// # Shapes
    /// `value`: `[batch, axes of the hook]`.
    ///
    /// # Errors
    /// Whatever should stop the pass.
    fn see(&self, point: HookPoint, value: &Tensor, row_of_plan: &[usize]) -> Result<(), RunError>;
}
