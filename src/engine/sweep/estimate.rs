//! A map's cells by attribution patching: the effect of each to first order, from one backward pass.

use candle_core::{DType, Tensor};

use super::{
    super::{AttributionError, Control, Engine, Spec, control::go_on, host::rows},
    Grid, Map, Measure, Metric, Question,
};
use crate::{
    analysis::Objective,
    hooks::{Capture, HookPoint, Plan, RunError},
};

/// A map with estimates in its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimated {
    pub grid: Grid,
    /// The metric of each cell.
    pub values: Vec<f64>,
    /// The measure without the interventions.
    pub before: Measure,
    /// The measure of the contrast prompt, when patching from it.
    pub contrast: Option<Measure>,
}

impl Engine {
    /// Estimate what a sweep of a map would measure after the last position.
    ///
    /// # Errors
    /// A KL, whose gradient is 0 at the baseline; prompts of different length; whatever a run refuses, cancellation.
    pub fn estimate(
        &mut self,
        spec: &Spec,
        map: Map,
        question: Question,
        metric: Metric,
        control: Control<'_>,
    ) -> Result<Estimated, AttributionError> {
        let last = spec.tokens.len().saturating_sub(1);
        let objective = match metric {
            Metric::Kl => return Err(AttributionError::FlatKl),
            Metric::LogitDiff => {
                Objective::LogitDiff { pos: last, target: question.target, distractor: question.distractor }
            }
            Metric::Prob => Objective::Prob { pos: last, target: question.target },
        };
        self.ready(spec, control)?;
        let grid = map.grid(&self.schema, spec.tokens.len());
        if map.patches() {
            let contrast = spec.contrast.as_ref().ok_or(AttributionError::NoContrast)?.len();
            if contrast != spec.tokens.len() {
                return Err(AttributionError::Lengths { prompt: spec.tokens.len(), contrast });
            }
        }
        let cells: Vec<_> = (0..grid.cells()).filter_map(|cell| grid.edit(cell)).collect();
        let plans = cells.iter().map(|edit| self.plan(std::slice::from_ref(edit), spec)).collect::<Result<Vec<_>, _>>();
        let plans: Vec<Plan> = plans.map_err(|error| AttributionError::Run(error.into()))?;
        let base = self.base(spec, &Capture::All, last, &plans.iter().collect::<Vec<_>>(), control)?;
        let gradients = self.gradients(spec, objective, &Capture::All, control)?;

        let row = |run| -> Result<Vec<f32>, RunError> {
            Ok(rows(&self.logits(run, last..last + 1)?)?.into_iter().next().unwrap_or_default())
        };
        let own = row(&gradients.run)?;
        let before = question.measure(&own, &own);
        let contrast = match &base.contrast {
            Some(run) if map.is_patch() => Some(question.measure(&own, &row(run)?)),
            Some(_) | None => None,
        };
        let mut values = Vec::with_capacity(cells.len());
        let mut here: Option<(HookPoint, Tensor, Tensor)> = None;
        for step in plans.iter().flat_map(|plan| &plan.steps) {
            if here.as_ref().is_none_or(|(point, ..)| *point != step.point) {
                go_on(control.cancel)?;
                let missing = || candle_core::Error::Msg(format!("the run kept no {}", step.point));
                let value = self.activation(&gradients.run, step.point)?.ok_or_else(missing)?.to_dtype(DType::F32)?;
                let gradient = self.gradient(&gradients, step.point, control)?.ok_or_else(missing)?;
                here = Some((step.point, value, gradient));
            }
            let Some((_, value, gradient)) = &here else { continue };
            values.push(base.references().first_order(step, value, gradient)?);
        }
        if let (Metric::LogitDiff, Some(contrast)) = (metric, &contrast) {
            let gap = contrast.logit_diff - before.logit_diff;
            for value in &mut values {
                *value /= gap;
            }
        }
        Ok(Estimated { grid, values, before, contrast })
    }
}
