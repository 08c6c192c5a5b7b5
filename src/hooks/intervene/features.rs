use candle_core::Tensor;

use super::Interventions;
use crate::hooks::{
    EditError, FeatureEdits, HookPoint, Plan, RunError, Step, apply::Change, change_features::changed, features::reads,
};

impl<'a> Interventions<'a> {
    /// The dictionaries whose features are edited.
    #[must_use]
    pub fn with_dictionaries(mut self, dictionaries: &'a dyn FeatureEdits) -> Self {
        self.dictionaries = Some(dictionaries);
        self
    }

    /// Edit the features of the dictionary at a hook. Returns the value and the change of the features.
    pub(super) fn edit_features(&self, value: &Tensor, step: &Step, row: usize) -> Result<(Tensor, Change), RunError> {
        let none = || EditError::NoDictionary { edit: self.line(step), hook: step.point };
        let dictionaries = self.dictionaries.ok_or_else(none)?;
        let corpus = self.references.corpus.map(|corpus| (corpus, row));
        changed(dictionaries, step, value, &self.before.of_row(row)?, (corpus, self.past))
    }

    pub(super) fn line(&self, step: &Step) -> String {
        self.lines.get(step.edit).map(ToString::to_string).unwrap_or_default()
    }

    /// Whether dictionaries read the value at a hook.
    pub(super) fn notes(&self, point: HookPoint) -> bool {
        reads(point) && self.plans.iter().any(Plan::has_features)
    }

    /// Keep the value that arrives at a hook whose features are edited, which gradients need.
    pub(super) fn note_arrival(&mut self, point: HookPoint, value: &Tensor) {
        if let [plan] = self.plans
            && plan.steps.iter().any(|step| step.point == point && step.features)
        {
            self.arrived.insert(point, value.clone());
        }
    }
}
