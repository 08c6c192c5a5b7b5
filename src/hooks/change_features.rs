//! A step that edits features.

use candle_core::Tensor;

use super::{
    ActivationCache, FeatureEdits, HookPoint, Needs, RunError, Step,
    apply::{Change, Sources, apply},
};

/// Change the features at a hook as a step does. Returns the value after it, and what the step did to the features.
///
/// # Errors
/// Those of [`FeatureEdits::edit`].
pub(super) fn changed(
    dictionaries: &dyn FeatureEdits,
    step: &Step,
    value: &Tensor,
    before: &ActivationCache,
    past: usize,
) -> Result<(Tensor, Change), RunError> {
    let mut done = Change::default();
    let edited = dictionaries.edit(step.point, value, before, &mut |features| {
        let (features, change) = apply(&features, step, &sources(dictionaries, step.point), past)?;
        done = change;
        Ok(features)
    })?;
    Ok((edited, done))
}

/// The features that operations at a hook can take values from.
pub(super) fn sources(dictionaries: &dyn FeatureEdits, point: HookPoint) -> Sources<'_> {
    Sources {
        baseline: dictionaries.unedited(point, Needs::Baseline).cloned(),
        contrast: dictionaries.unedited(point, Needs::Contrast).cloned(),
        corpus: None,
    }
}
