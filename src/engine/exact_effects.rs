//! The exact effects of edits on an objective, each made in addition to those of a run.

use super::{AttributionError, Control, Engine, Method, Metric, Question, Spec, Swept, control::go_on};
use crate::{
    analysis::Objective,
    hooks::{Capture, Edit, Plan},
};

impl Engine {
    /// How much each of `edits`, made in addition to those of `spec`, adds to the objective.
    ///
    /// # Errors
    /// Prompts that can't be compared, whatever a run refuses, cancellation.
    pub fn effects_of(
        &mut self,
        spec: &Spec,
        edits: &[Option<Edit>],
        objective: Objective,
        control: Control<'_>,
    ) -> Result<Vec<f64>, AttributionError> {
        let compared = self.compared(spec, objective, Method::Exact, control)?;
        self.differences(spec, edits, objective, compared.value, control)
    }

    /// How much each of `cells`, an edit made in addition to those of `spec`, adds to the objective, which is `value`
    /// without it. An empty cell adds 0.
    pub(super) fn differences(
        &mut self,
        spec: &Spec,
        cells: &[Option<Edit>],
        objective: Objective,
        value: f64,
        control: Control<'_>,
    ) -> Result<Vec<f64>, AttributionError> {
        let cells: Vec<Vec<Edit>> = cells.iter().map(|edit| edit.iter().cloned().collect()).collect();
        let values = match swept(spec, objective) {
            Some((question, metric)) => {
                let mut values = vec![f64::NAN; cells.len()];
                self.sweep(spec, &cells, question, control, &mut |swept| match swept {
                    Swept::Begun { .. } | Swept::Hits(_) => {}
                    Swept::Cells(measures) => {
                        for (number, measure) in measures {
                            values[number] = match metric {
                                Metric::Kl => measure.kl,
                                Metric::LogitDiff => measure.logit_diff,
                                Metric::Prob => measure.prob,
                            };
                        }
                    }
                })?;
                values
            }
            None => self.one_by_one(spec, &cells, objective, control)?,
        };
        Ok(values.into_iter().map(|cell| cell - value).collect())
    }

    /// The objective with each of `cells`, in a run of its own.
    fn one_by_one(
        &mut self,
        spec: &Spec,
        cells: &[Vec<Edit>],
        objective: Objective,
        control: Control<'_>,
    ) -> Result<Vec<f64>, AttributionError> {
        let edits: Vec<Vec<Edit>> = cells.iter().map(|cell| [spec.edits.as_slice(), cell].concat()).collect();
        let plans: Vec<Plan> = edits
            .iter()
            .map(|edits| self.plan(edits, spec))
            .collect::<Result<_, _>>()
            .map_err(|error| AttributionError::Run(error.into()))?;
        let needed = self.resumable(plans.iter(), spec.tokens.len());
        let first = objective.positions(spec.tokens.len()).start;
        let all: Vec<&Plan> = plans.iter().collect();
        let base = self.base(spec, &Capture::Only(needed), first, &all, control)?;
        let mut values = vec![];
        for (edits, plan) in edits.iter().zip(&plans) {
            go_on(control.cancel)?;
            let (run, _) = self.edited(edits, plan, &Capture::None, first, &base, control)?;
            values.push(self.objective(objective, &run, &base.baseline)?);
        }
        Ok(values)
    }
}

/// The sweep that measures the same number, if there is one: after the last position only, and a KL only in a run
/// without edits.
fn swept(spec: &Spec, objective: Objective) -> Option<(Question, Metric)> {
    let last = spec.tokens.len().checked_sub(1)?;
    match objective {
        Objective::LogitDiff { pos, target, distractor } if pos == last => {
            Some((Question { target, distractor }, Metric::LogitDiff))
        }
        Objective::Prob { pos, target } if pos == last => Some((Question { target, distractor: None }, Metric::Prob)),
        Objective::Kl { pos } if pos == last && spec.edits.is_empty() => {
            Some((Question { target: 0, distractor: None }, Metric::Kl))
        }
        Objective::LogitDiff { .. } | Objective::Prob { .. } | Objective::Kl { .. } | Objective::Loss => None,
    }
}
