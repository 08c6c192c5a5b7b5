//! Hooks of the backward pass, and gradients on their way back through edits.

mod features;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use candle_core::Tensor;

use super::{
    ActivationCache, BlockHook, Capture, EditError, FeatureEdits, HookPoint, Plan, Received, References, RunError,
    Sent, Step,
    apply::{apply, pull},
    path_deltas::{Written, heads, received, to_readers, to_sender},
};

/// How the backward pass sees its observer.
pub trait GradientHooks {
    /// The gradient with respect to the value at `point` after its edits; returns the gradient with respect to the
    /// value before them.
    ///
    /// # Shapes
    /// `gradient`: `[batch, axes of the hook]`; the result has the same shape.
    ///
    /// # Errors
    /// Tensor errors.
    fn at(&mut self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError>;

    /// The same for a gradient that is not shown.
    ///
    /// # Errors
    /// Tensor errors.
    fn pull(&self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError>;

    /// Apply the edits at `point` again to the value that arrived there.
    ///
    /// # Errors
    /// Tensor errors.
    fn again(&self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError>;

    /// Whether [`GradientHooks::at`] does anything there. If not, a pass may skip what nothing else needs.
    fn watches(&self, point: HookPoint) -> bool;

    /// Whether there are edits at `point`.
    fn edits(&self, point: HookPoint) -> bool;

    /// Called instead of [`GradientHooks::at`] if a pass did not compute the gradient.
    fn skipped(&mut self, point: HookPoint) {
        let _ = point;
    }

    /// Whether the pass should report the gradients of each reader's own input copies whose hooks are off.
    fn asks_for_inputs(&self) -> bool {
        false
    }

    /// The gradient with respect to each reader's own input, such as `hook_q_input`, whose hook is off.
    ///
    /// # Shapes
    /// `gradient`: `[reader, pos, d_model]`; the readers are the heads, or the MLP alone.
    ///
    /// # Errors
    /// Tensor errors.
    fn input(&mut self, point: HookPoint, gradient: &Tensor) -> Result<(), RunError> {
        let _ = (point, gradient);
        Ok(())
    }

    /// As [`super::Hooks::received`]: the inputs that paths gave to readers whose hooks are off.
    ///
    /// # Shapes
    /// `stream`: `[1, pos, d_model]`.
    ///
    /// # Errors
    /// Tensor errors.
    fn received(&self, point: HookPoint, stream: &Tensor) -> Result<Vec<Received>, RunError> {
        let _ = (point, stream);
        Ok(vec![])
    }

    /// The gradient with respect to such an input, `[1, pos, d_model]`, which continues to the senders of the paths.
    ///
    /// # Errors
    /// Tensor errors.
    fn send_back(&mut self, point: HookPoint, head: Option<usize>, gradient: &Tensor) -> Result<(), RunError> {
        let _ = (point, head, gradient);
        Ok(())
    }

    /// The gradient that paths brought back to a sender whose hook is off.
    fn brought_back(&mut self, point: HookPoint) -> Option<Tensor> {
        let _ = point;
        None
    }

    /// Called before each block, from the last to the first.
    ///
    /// # Errors
    /// [`RunError::Cancelled`] stops the pass.
    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        let _ = block;
        Ok(())
    }
}

/// Takes gradients back through the edits of a run, and keeps the requested ones.
pub struct Backward<'a> {
    plan: &'a Plan,
    references: References<'a>,
    capture: Capture,
    leaving_out: bool,
    inputs: bool,
    /// What the senders of paths wrote in the run.
    written: Written,
    through: Option<Through<'a>>,
    /// Gradients with respect to those, through the paths, and with respect to what dictionaries read beside their hook.
    brought: BTreeMap<HookPoint, Tensor>,
    cancel: &'a AtomicBool,
    /// Gradients with respect to the values after the edits.
    pub cache: ActivationCache,
}

/// What gradients need of a run whose features were edited.
#[derive(Clone, Copy)]
struct Through<'a> {
    dictionaries: &'a dyn FeatureEdits,
    run: &'a ActivationCache,
    arrived: &'a ActivationCache,
}

impl<'a> Backward<'a> {
    /// For a run with the edits of `plan`.
    #[must_use]
    pub fn new(plan: &'a Plan, capture: Capture, references: References<'a>, cancel: &'a AtomicBool) -> Self {
        let cache = ActivationCache::default();
        let (written, brought) = (Written::default(), BTreeMap::new());
        let (leaving_out, inputs, through) = (false, false, None);
        Self { plan, references, capture, leaving_out, inputs, written, through, brought, cancel, cache }
    }

    /// What the sender of a path wrote in the run.
    pub fn wrote(&mut self, point: HookPoint, value: Tensor) {
        self.written.insert(point, value);
    }

    fn bring(&mut self, step: &Step, sent: &Sent, gradient: &Tensor) -> Result<(), RunError> {
        self.add_brought(sent.point, to_sender(gradient, step, sent)?)
    }

    fn add_brought(&mut self, point: HookPoint, more: Tensor) -> Result<(), RunError> {
        let sum = match self.brought.remove(&point) {
            Some(before) => (before + more)?,
            None => more,
        };
        self.brought.insert(point, sum);
        Ok(())
    }

    /// Leave out the gradients of scores and patterns if `so` is set.
    #[must_use]
    pub fn leaving_out(mut self, so: bool) -> Self {
        self.leaving_out = so;
        self
    }

    /// Also keep the gradients with respect to each reader's own input, whether or not that hook is on.
    #[must_use]
    pub fn with_inputs(mut self) -> Self {
        self.inputs = true;
        self
    }

    fn keeps(&self, point: HookPoint) -> bool {
        self.capture.wants(point) && !(self.leaving_out && point.is_square())
    }
}

impl GradientHooks for Backward<'_> {
    fn at(&mut self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError> {
        let gradient = match self.brought.remove(&point) {
            Some(brought) => (gradient + brought)?,
            None => gradient,
        };
        if self.keeps(point) {
            self.cache.insert(point, gradient.clone());
        } else {
            self.skipped(point);
        }
        let (plan, mut gradient) = (self.plan, gradient);
        let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.point == point).collect();
        let values = if steps.iter().any(|step| step.features) { self.before_each(&steps)? } else { vec![] };
        for (number, step) in steps.into_iter().enumerate().rev() {
            match &step.sent {
                None if step.features => {
                    let value = values.get(number).ok_or_else(|| aside(step))?;
                    gradient = self.pull_features(step, value, &gradient)?;
                }
                None => gradient = pull(&gradient, step)?,
                // a path adds to its receiver: the gradient continues here, and also back along the path
                Some(sent) => self.bring(step, sent, &to_readers(&gradient, &step.indices)?)?,
            }
        }
        Ok(gradient)
    }

    fn pull(&self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError> {
        let mut gradient = gradient;
        for step in self.plan.steps.iter().rev().filter(|step| step.point == point && step.sent.is_none()) {
            if step.features {
                return Err(aside(step));
            }
            gradient = pull(&gradient, step)?;
        }
        Ok(gradient)
    }

    fn again(&self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let mut value = value;
        for step in self.plan.steps.iter().filter(|step| step.point == point && step.sent.is_none()) {
            if step.features {
                return Err(aside(step));
            }
            (value, _) = apply(&value, step, &self.references.at(point, 0)?, 0)?;
        }
        Ok(value)
    }

    fn watches(&self, point: HookPoint) -> bool {
        self.keeps(point) || self.edits(point)
    }

    fn edits(&self, point: HookPoint) -> bool {
        self.plan.steps.iter().any(|step| step.point == point)
    }

    fn skipped(&mut self, point: HookPoint) {
        if self.capture.wants(point) {
            self.cache.leave_out(point);
        }
    }

    fn asks_for_inputs(&self) -> bool {
        self.inputs
    }

    fn input(&mut self, point: HookPoint, gradient: &Tensor) -> Result<(), RunError> {
        let by_head = point.block_hook() != Some(BlockHook::MlpIn);
        let gradient = if by_head { gradient.transpose(0, 1)?.unsqueeze(0)?.contiguous()? } else { gradient.clone() };
        self.cache.insert(point, gradient);
        Ok(())
    }

    fn received(&self, point: HookPoint, stream: &Tensor) -> Result<Vec<Received>, RunError> {
        received(&self.plan.steps, point, 0, stream, &mut |step| match &step.sent {
            Some(sent) => Ok(self.written.delta(step, sent, &self.references.at(sent.point, 0)?, 0, 0)?.0),
            None => Ok(stream.zeros_like()?),
        })
    }

    fn send_back(&mut self, point: HookPoint, head: Option<usize>, gradient: &Tensor) -> Result<(), RunError> {
        let plan = self.plan;
        let reads = |step: &Step| heads(&step.indices).is_none_or(|heads| head.is_some_and(|own| heads.contains(&own)));
        for step in plan.steps.iter().filter(|step| step.point == point && reads(step)) {
            if let Some(sent) = &step.sent {
                self.bring(step, sent, gradient)?;
            }
        }
        Ok(())
    }

    fn brought_back(&mut self, point: HookPoint) -> Option<Tensor> {
        self.brought.remove(&point)
    }

    fn entering(&mut self, _block: usize) -> Result<(), RunError> {
        if self.cancel.load(Ordering::Relaxed) { Err(RunError::Cancelled) } else { Ok(()) }
    }
}

/// Gradients do not pass through an edit of features that each of several readers makes anew.
fn aside(step: &Step) -> RunError {
    EditError::NoGradient { hook: step.point }.into()
}
