//! The gradients of an objective with respect to every activation of a run.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::{Control, Engine, Run, Spec, base::Base, control::go_on, host::rows};
use crate::{
    analysis::Objective,
    hooks::{ActivationCache, Backward, BlockHook, Capture, HookPoint, Plan, RunError},
};

/// The number of positions whose logits are differentiated together.
const AT_ONCE: usize = 64;

/// A run with the edits of a specification, and the gradients of an objective with respect to its activations.
pub struct Gradients {
    /// The number.
    pub value: f64,
    pub run: Arc<Run>,
    /// With respect to the value at each hook after its edits, in f32. The gradients of a long prompt's scores and
    /// patterns are left out; [`Engine::gradient`] recomputes them.
    pub cache: ActivationCache,
    pub(super) plan: Plan,
    pub(super) base: Base,
}

impl Engine {
    /// Run `spec`, and run the backward pass from `objective` to every hook in `keep`.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, a prompt of one token whose loss is asked for, cancellation, tensor
    /// errors.
    pub fn gradients(
        &mut self,
        spec: &Spec,
        objective: Objective,
        keep: &Capture,
        control: Control<'_>,
    ) -> Result<Gradients, RunError> {
        let ran = self.run_whole(spec, objective, control)?;
        self.gradients_of(ran, objective, keep, control)
    }

    /// The backward pass from `objective` in a run that kept every activation, with its plan and base.
    pub(super) fn gradients_of(
        &self,
        (plan, base, run): (Plan, Base, Arc<Run>),
        objective: Objective,
        keep: &Capture,
        control: Control<'_>,
    ) -> Result<Gradients, RunError> {
        let value = self.objective(objective, &run, &base.baseline)?;
        let dictionaries = self.dictionaries(&run.tokens, &base.features);
        let hooks = Backward::new(&plan, keep.clone(), base.references(), control.cancel).through(
            &dictionaries,
            &run.cache,
            &run.arrived,
        );
        let mut hooks = hooks.leaving_out(self.leaves_out_scores(run.tokens.len()));
        self.back(objective, &run, &base.baseline, &plan, &mut hooks)?;
        let cache = hooks.cache;
        Ok(Gradients { value, run, cache, plan, base })
    }

    /// Whether scores and patterns of a prompt of `n_pos` tokens are left out.
    pub(super) fn leaves_out_scores(&self, n_pos: usize) -> bool {
        self.schema.dims.n_heads * n_pos * n_pos > self.most_scores
    }

    /// The run of `spec` with every activation kept, and its base.
    pub(super) fn run_whole(
        &mut self,
        spec: &Spec,
        objective: Objective,
        control: Control<'_>,
    ) -> Result<(Plan, Base, Arc<Run>), RunError> {
        self.ready(spec, control)?;
        let first = objective.positions(spec.tokens.len()).start.min(spec.tokens.len().saturating_sub(1));
        let plan = self.plan(&spec.edits, spec)?;
        let base = self.base(spec, &Capture::All, first, &[&plan], control)?;
        let run = match spec.edits.is_empty() {
            true => base.baseline.clone(),
            false => Arc::new(self.edited(&spec.edits, &plan, &Capture::All, first, &base, control)?.0),
        };
        Ok((plan, base, run))
    }

    /// The objective of a run.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn objective(&self, objective: Objective, run: &Run, baseline: &Run) -> Result<f64, RunError> {
        self.objective_on(&run.tokens, objective, run, baseline)
    }

    /// The objective of a run, where a loss is measured on `tokens` instead of the run's own tokens.
    pub(super) fn objective_on(
        &self,
        tokens: &[u32],
        objective: Objective,
        run: &Run,
        baseline: &Run,
    ) -> Result<f64, RunError> {
        let mut value = 0.0;
        self.over_logits(tokens, objective, run, baseline, &mut |_, logits, before, next, n_pos| {
            for ((logits, before), next) in logits.iter().zip(before).zip(next) {
                value += objective.at(logits, before, *next, n_pos);
            }
            Ok(())
        })?;
        Ok(value)
    }

    /// The backward pass from a run's objective; `hooks` have the run's plan.
    pub(super) fn back(
        &self,
        objective: Objective,
        run: &Run,
        baseline: &Run,
        plan: &Plan,
        hooks: &mut Backward<'_>,
    ) -> Result<(), RunError> {
        for point in plan.steps.iter().filter_map(|step| step.sent.as_ref()).map(|sent| sent.point) {
            if let Some(value) = self.activation(run, point)? {
                hooks.wrote(point, value.to_dtype(DType::F32)?);
            }
        }
        let gradient = self.of_normalized(objective, run, baseline)?;
        self.loaded.model.backward(gradient, &run.cache, &self.schema, hooks)
    }

    /// The gradient with respect to what the unembedding reads, `[1, pos, d_model]`.
    pub(super) fn of_normalized(&self, objective: Objective, run: &Run, baseline: &Run) -> Result<Tensor, RunError> {
        let (n_pos, model) = (run.tokens.len(), &self.loaded.model);
        let positions = objective.positions(n_pos);
        let mut parts = vec![];
        let zeros = |n: usize| Tensor::zeros((1, n, self.schema.dims.d_model), DType::F32, &model.device);
        if positions.start > 0 {
            parts.push(zeros(positions.start)?);
        }
        if let Objective::LogitDiff { target, distractor, .. } = objective {
            // only two rows of the unembedding are needed; the product would read all
            let mut direction = model.unembedding_of(target)?;
            if let Some(distractor) = distractor {
                direction = (direction - model.unembedding_of(distractor)?)?;
            }
            parts.push(direction.reshape((1, 1, ()))?);
        } else {
            self.over_logits(&run.tokens, objective, run, baseline, &mut |vocab, logits, before, next, n_pos| {
                let each = logits.iter().zip(before).zip(next);
                let slopes: Vec<f32> =
                    each.flat_map(|((logits, before), next)| objective.slope(logits, before, *next, n_pos)).collect();
                let slopes = Tensor::from_vec(slopes, (1, logits.len(), vocab), &model.device)?;
                parts.push(model.unembed_backward(&slopes)?);
                Ok(())
            })?;
        }
        if positions.end < n_pos {
            parts.push(zeros(n_pos - positions.end)?);
        }
        Ok(Tensor::cat(&parts, 1)?)
    }

    /// Call `work` with the logits that an objective depends on, some positions at a time: the vocabulary's size, rows
    /// of the run and of the baseline, the next ones of `tokens`, the prompt's length.
    #[allow(clippy::type_complexity, reason = "named in the sentence above")]
    fn over_logits(
        &self,
        tokens: &[u32],
        objective: Objective,
        run: &Run,
        baseline: &Run,
        work: &mut dyn FnMut(usize, &[Vec<f32>], &[Vec<f32>], &[u32], usize) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let n_pos = run.tokens.len();
        let positions = objective.positions(n_pos);
        if positions.is_empty() {
            return Err(RunError::NoNextToken);
        }
        for from in positions.clone().step_by(AT_ONCE) {
            let at = from..(from + AT_ONCE).min(positions.end);
            let logits = rows(&self.logits(run, at.clone())?)?;
            let before = match objective {
                Objective::Kl { .. } => rows(&self.logits(baseline, at.clone())?)?,
                Objective::LogitDiff { .. } | Objective::Prob { .. } | Objective::Loss => vec![vec![]; at.len()],
            };
            // nothing follows the last position
            let next: Vec<u32> = at.map(|pos| tokens.get(pos + 1).copied().unwrap_or(0)).collect();
            work(logits.first().map_or(0, Vec::len), &logits, &before, &next, n_pos)?;
        }
        Ok(())
    }

    /// A gradient, kept or recomputed; None if there is none.
    ///
    /// # Shapes
    /// Returns `[1, axes of the hook]`.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn gradient(
        &self,
        gradients: &Gradients,
        point: HookPoint,
        control: Control<'_>,
    ) -> Result<Option<Tensor>, RunError> {
        if let Some(kept) = gradients.cache.get(point) {
            return Ok(Some(kept.clone()));
        }
        let Some(block) = point.block().filter(|_| gradients.cache.is_left_out(point)) else { return Ok(None) };
        let Some(of_z) = gradients.cache.get(HookPoint::Block(block, BlockHook::Z)) else { return Ok(None) };
        go_on(control.cancel)?;
        let capture = Capture::Only([point].into());
        let mut hooks = Backward::new(&gradients.plan, capture, gradients.base.references(), control.cancel);
        self.loaded.model.squares_backward(block, of_z, &gradients.run.cache, &mut hooks)?;
        Ok(hooks.cache.get(point).cloned())
    }
}
