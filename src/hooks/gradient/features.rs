//! Gradients on their way back through edits of features.

use candle_core::Tensor;

use super::{Backward, Through, aside};
use crate::hooks::{
    ActivationCache, FeatureEdits, HookPoint, RunError, Step,
    apply::{apply, pull},
    change_features::{changed, sources},
    features::At,
    path_deltas::added,
};

impl<'a> Backward<'a> {
    /// The dictionaries whose features were edited in a run, its activations, and those that arrived at the edited hooks.
    #[must_use]
    pub fn through(
        mut self,
        dictionaries: &'a dyn FeatureEdits,
        run: &'a ActivationCache,
        arrived: &'a ActivationCache,
    ) -> Self {
        self.through = Some(Through { dictionaries, run, arrived });
        self
    }

    /// The values before each of the steps at a hook, computed again.
    pub(super) fn before_each(&self, steps: &[&Step]) -> Result<Vec<Tensor>, RunError> {
        let missing = |point: HookPoint| {
            candle_core::Error::Msg(format!("the run kept no value that arrived at {point}, which gradients need"))
        };
        let Some(first) = steps.first() else { return Ok(vec![]) };
        let through = self.through.ok_or_else(|| missing(first.point))?;
        let mut value = through.arrived.get(first.point).ok_or_else(|| missing(first.point))?.clone();
        let mut values = vec![];
        for step in steps {
            values.push(value.clone());
            value = match &step.sent {
                Some(sent) => {
                    let (delta, _) = self.written.delta(step, sent, &self.references.at(sent.point, 0)?, 0, 0)?;
                    added(&value, &delta, &step.indices)?
                }
                None if step.features => changed(through.dictionaries, step, &value, through.run, (None, 0))?.0,
                None => apply(&value, step, &self.references.at(step.point, 0)?, 0)?.0,
            };
        }
        Ok(values)
    }

    /// Take a gradient back through an edit of features, which found `value`.
    pub(super) fn pull_features(&mut self, step: &Step, value: &Tensor, gradient: &Tensor) -> Result<Tensor, RunError> {
        let Some(Through { dictionaries, run, .. }) = self.through else { return Err(aside(step)) };
        let change = &mut |features: Tensor| -> Result<Tensor, RunError> {
            Ok(apply(&features, step, &sources(dictionaries, step.point, None), 0)?.0)
        };
        let back = &mut |gradient: Tensor| -> Result<Tensor, RunError> { Ok(pull(&gradient, step)?) };
        let pulled = dictionaries.pull(step.point, At { value, gradient }, run, change, back)?;
        for (point, more) in pulled.beside {
            self.add_brought(point, more)?;
        }
        Ok(pulled.gradient)
    }
}
