//! Edits of features: what a dictionary leaves out of an activation stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use candle_core::{DType, Tensor};

use super::{Engine, Run};
use crate::{
    hooks::{ActivationCache, AtFeatures, ChangeFeatures, FeatureEdits, HookPoint, Needs, Plan, Pulled, RunError},
    model::{Dictionary, Model, Unprocessed},
};

/// The dictionaries of a run, as its edits reach them.
pub(super) struct Dictionaries<'a> {
    model: &'a Model,
    tokens: &'a [u32],
    all: &'a BTreeMap<HookPoint, Arc<Dictionary>>,
    unedited: &'a Unedited,
    /// The mean of what the embedding wrote, where that is not what `tokens` give.
    embedded_mean: Option<Tensor>,
}

/// The features of unedited runs that edits read, `[1, pos, d_sae]`.
#[derive(Default)]
pub(super) struct Unedited {
    pub baseline: BTreeMap<HookPoint, Tensor>,
    pub contrast: Arc<BTreeMap<HookPoint, Tensor>>,
}

impl Engine {
    /// Use a dictionary at a hook, instead of the one that is there.
    pub fn use_dictionary(&mut self, hook: HookPoint, dictionary: Arc<Dictionary>) {
        self.dictionaries.insert(hook, dictionary);
        let d_sae = self.dictionaries.iter().map(|(hook, dictionary)| (*hook, dictionary.d_sae)).collect();
        self.schema.set_dictionaries(d_sae);
    }

    pub(super) fn dictionaries<'a>(&'a self, tokens: &'a [u32], unedited: &'a Unedited) -> Dictionaries<'a> {
        Dictionaries { model: &self.loaded.model, tokens, all: &self.dictionaries, unedited, embedded_mean: None }
    }

    /// The features of an unedited run at the hooks where plans read them: of the prompt or of the contrast prompt.
    pub(super) fn unedited_features(
        &self,
        run: &Run,
        plans: &[&Plan],
        of: Needs,
    ) -> Result<BTreeMap<HookPoint, Tensor>, RunError> {
        self.features_of(&run.tokens, &run.cache, plans, of)
    }

    /// The same, of what a run of `tokens` kept.
    pub(super) fn features_of(
        &self,
        tokens: &[u32],
        cache: &ActivationCache,
        plans: &[&Plan],
        of: Needs,
    ) -> Result<BTreeMap<HookPoint, Tensor>, RunError> {
        let steps = plans.iter().flat_map(|plan| &plan.steps);
        let read = steps.filter(|step| step.features && step.op.needs() == Some(of)).map(|step| step.point);
        self.features_at(tokens, cache, read.collect())
    }

    /// The features at some hooks, of what a run of `tokens` kept.
    pub(super) fn features_at(
        &self,
        tokens: &[u32],
        cache: &ActivationCache,
        points: BTreeSet<HookPoint>,
    ) -> Result<BTreeMap<HookPoint, Tensor>, RunError> {
        let mut all = BTreeMap::new();
        for point in points {
            let (Some(dictionary), Some(value)) = (self.dictionaries.get(&point), cache.get(point)) else { continue };
            let raw = self.loaded.model.unprocessed(tokens, cache)?.at(point, value)?;
            all.insert(point, dictionary.dense(&rows(&raw)?)?);
        }
        Ok(all)
    }
}

impl<'a> Dictionaries<'a> {
    /// The same for a run that began with embeddings of this mean, `[1, pos, 1]`.
    pub(super) fn beginning_with(self, embedded_mean: Option<Tensor>) -> Self {
        Self { embedded_mean, ..self }
    }

    fn unprocessed<'b>(&'b self, cache: &'b ActivationCache) -> candle_core::Result<Unprocessed<'b>> {
        match &self.embedded_mean {
            Some(mean) => self.model.unprocessed_from(Some(mean.clone()), cache),
            None => self.model.unprocessed(self.tokens, cache),
        }
    }

    fn dictionary(&self, point: HookPoint) -> candle_core::Result<&'a Dictionary> {
        let none = || candle_core::Error::Msg(format!("there is no dictionary at {point}"));
        self.all.get(&point).map(AsRef::as_ref).ok_or_else(none)
    }
}

/// `[pos, d_in]` of `[1, pos, axes of the hook]`.
pub(super) fn rows(value: &Tensor) -> candle_core::Result<Tensor> {
    value.get(0)?.to_dtype(DType::F32)?.flatten_from(1)?.contiguous()
}

impl FeatureEdits for Dictionaries<'_> {
    fn edit(
        &self,
        point: HookPoint,
        value: &Tensor,
        before: &ActivationCache,
        change: &mut ChangeFeatures<'_>,
    ) -> Result<Tensor, RunError> {
        let dictionary = self.dictionary(point)?;
        let unprocessed = self.unprocessed(before)?;
        let written = dictionary.written(&rows(&unprocessed.at(point, value)?)?, change)?;
        let written = unprocessed.change_back(point, &written.reshape(value.shape())?)?;
        Ok((value.to_dtype(DType::F32)? + written)?.to_dtype(value.dtype())?)
    }

    fn unedited(&self, point: HookPoint, of: Needs) -> Option<&Tensor> {
        match of {
            Needs::Baseline => self.unedited.baseline.get(&point),
            Needs::Contrast => self.unedited.contrast.get(&point),
            Needs::Corpus => None,
        }
    }

    fn pull(
        &self,
        point: HookPoint,
        AtFeatures { value, gradient }: AtFeatures<'_>,
        run: &ActivationCache,
        change: &mut ChangeFeatures<'_>,
        back: &mut ChangeFeatures<'_>,
    ) -> Result<Pulled, RunError> {
        let dictionary = self.dictionary(point)?;
        let unprocessed = self.unprocessed(run)?;
        let x = rows(&unprocessed.at(point, value)?)?;
        // what is written is divided by a norm's weight, as its gradient is
        let of_written = rows(&unprocessed.change_back(point, gradient)?)?;
        let of_x = dictionary.written_backward(&x, &of_written, change, back)?.reshape(value.shape())?;
        let of_run = unprocessed.backward(point, &of_x)?;
        Ok(Pulled { gradient: (gradient.to_dtype(DType::F32)? + of_run.value)?, beside: of_run.made_of })
    }
}
