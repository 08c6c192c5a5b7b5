//! A step that edits features.

use candle_core::Tensor;

use super::{
    ActivationCache, CorpusValues, FeatureEdits, HookPoint, Needs, RunError, Step,
    apply::{Change, Sources, apply},
};

/// What a corpus gives, and the row of its batch.
type OfCorpus<'a> = Option<(&'a CorpusValues, usize)>;

/// Change the features at a hook as a step does. Returns the value after it, and what the step did to the features.
///
/// # Errors
/// Those of [`FeatureEdits::edit`].
pub(super) fn changed(
    dictionaries: &dyn FeatureEdits,
    step: &Step,
    value: &Tensor,
    before: &ActivationCache,
    (corpus, past): (OfCorpus<'_>, usize),
) -> Result<(Tensor, Change), RunError> {
    let mut done = Change::default();
    let edited = dictionaries.edit(step.point, value, before, &mut |features| {
        let (features, change) = apply(&features, step, &sources(dictionaries, step.point, corpus), past)?;
        done = change;
        Ok(features)
    })?;
    Ok((edited, done))
}

/// The features that operations at a hook can take values from.
pub(super) fn sources<'a>(dictionaries: &'a dyn FeatureEdits, point: HookPoint, corpus: OfCorpus<'a>) -> Sources<'a> {
    Sources {
        baseline: dictionaries.unedited(point, Needs::Baseline).cloned(),
        contrast: dictionaries.unedited(point, Needs::Contrast).cloned(),
        corpus,
    }
}
