//! Attribution patching of the features of dictionaries (Marks et al., "Sparse Feature Circuits", 2024): what a feature is in the
//! contrast prompt less what it is in the prompt, times the gradient with respect to it. What a dictionary leaves out is one more
//! node, its error term.

use std::{collections::BTreeMap, fmt};

use candle_core::{DType, Tensor};

use super::{
    Attributed, AttributionError, Control, Engine, Method, Run, Spec,
    compared::Compared,
    dictionaries::{Dictionaries, rows},
};
use crate::{
    analysis::Objective,
    hooks::{Backward, Capture, Edit, HookPoint, Op},
    model::Dictionary,
};

/// A feature of the dictionary at a hook, or what the dictionary leaves out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureNode {
    pub hook: HookPoint,
    /// None for the error term.
    pub feature: Option<u32>,
}

/// `f3.17` in block 3, `e3` for the error term; `embed` and `final` in place of a block's number.
impl fmt::Display for FeatureNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.feature.is_some() { "f" } else { "e" })?;
        match self.hook {
            HookPoint::Block(block, _) => write!(f, "{block}")?,
            HookPoint::Tokens | HookPoint::Embed => f.write_str("embed")?,
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => f.write_str("final")?,
        }
        self.feature.map_or(Ok(()), |feature| write!(f, ".{feature}"))
    }
}

/// The edit that takes a feature from the contrast prompt; None for an error term, which no edit is of.
#[must_use]
pub fn patch_feature(node: FeatureNode) -> Option<Edit> {
    node.feature.map(|feature| Edit::of_feature(node.hook, feature as usize, &[], Op::Patch))
}

impl Engine {
    /// The score of every feature that is not 0 in both prompts, and of each dictionary's error term, summed over positions; by
    /// dictionary. Exact scores have no error terms.
    ///
    /// Where a dictionary does not normalise what it reads, its scores add up to what patching its whole hook does, to first order.
    ///
    /// # Errors
    /// There is no dictionary; as [`Self::attribute_nodes`].
    pub fn attribute_features(
        &mut self,
        spec: &Spec,
        objective: Objective,
        method: Method,
        control: Control<'_>,
    ) -> Result<Attributed<FeatureNode>, AttributionError> {
        if self.dictionaries.is_empty() {
            return Err(AttributionError::NoDictionary);
        }
        if let Some(contrast) = &spec.contrast {
            // all of it, which unprocessed activations are made of
            self.unedited(contrast, &Capture::All, contrast.len().saturating_sub(1), control)?;
        }
        let compared = self.compared(spec, objective, method, control)?;
        let hooks: Vec<HookPoint> = self.dictionaries.keys().copied().collect();
        let mut scores = match method {
            Method::Exact => self.active_features(&compared, &hooks)?,
            Method::Eap | Method::EapIg { .. } => {
                let mut sums = BTreeMap::<HookPoint, Tensor>::new();
                let capture = Capture::Only(hooks.iter().copied().collect());
                let mut each = |run: &Run, baseline: &Run, dictionaries: &Dictionaries<'_>| {
                    let references = compared.base.references();
                    let mut back = Backward::new(&compared.plan, capture.clone(), references, control.cancel)
                        .through(dictionaries, &run.cache, &run.arrived)
                        .leaving_out(true);
                    self.back(objective, run, baseline, &compared.plan, &mut back)?;
                    for hook in &hooks {
                        let missing = || candle_core::Error::Msg(format!("there is no gradient at {hook}"));
                        let gradient = back.cache.get(*hook).ok_or_else(missing)?.clone();
                        let sum = match sums.remove(hook) {
                            Some(sum) => (sum + gradient)?,
                            None => gradient,
                        };
                        sums.insert(*hook, sum);
                    }
                    Ok(())
                };
                let runs = self.each_input(&compared, method, control, &mut each)?;
                let mut scores = vec![];
                for (hook, sum) in sums {
                    scores.extend(self.along_features(&compared, hook, &(sum / runs)?)?);
                }
                scores
            }
        };
        if method == Method::Exact {
            let cells: Vec<_> = scores.iter().map(|(node, _)| patch_feature(*node)).collect();
            let effects = self.differences(spec, &cells, objective, compared.value, control)?;
            scores.iter_mut().zip(effects).for_each(|((_, score), effect)| *score = effect);
        }
        let Compared { value, contrast_value, .. } = compared;
        Ok(Attributed { value, contrast_value, scores })
    }

    /// The features that are not 0 in one of the prompts.
    fn active_features(
        &self,
        compared: &Compared,
        hooks: &[HookPoint],
    ) -> Result<Vec<(FeatureNode, f64)>, AttributionError> {
        let mut nodes = vec![];
        for hook in hooks {
            let no_gradient = self.raw(&compared.run, *hook)?.1.zeros_like()?;
            let all = self.along(compared, *hook, &no_gradient)?;
            nodes.extend(all.into_iter().filter(|(node, _)| node.feature.is_some()));
        }
        Ok(nodes)
    }

    /// The scores at a hook, from the gradient there, `[1, axes of the hook]`.
    fn along_features(
        &self,
        compared: &Compared,
        hook: HookPoint,
        gradient: &Tensor,
    ) -> Result<Vec<(FeatureNode, f64)>, AttributionError> {
        let run = &compared.run;
        let gradient = self.loaded.model.unprocessed(&run.tokens, &run.cache)?.change_back(hook, gradient)?;
        self.along(compared, hook, &rows(&gradient)?)
    }

    /// The same from the gradient with respect to the unprocessed activation, `[pos, d_in]`.
    fn along(
        &self,
        compared: &Compared,
        hook: HookPoint,
        gradient: &Tensor,
    ) -> Result<Vec<(FeatureNode, f64)>, AttributionError> {
        let (dictionary, here) = self.raw(&compared.run, hook)?;
        let (_, there) = self.raw(&compared.contrast, hook)?;
        let scores = dictionary.first_order(&here, &there, gradient)?;
        Ok(scores.into_iter().map(|(feature, score)| (FeatureNode { hook, feature }, score)).collect())
    }

    /// The dictionary at a hook, and the unprocessed activation of a run, `[pos, d_in]`.
    fn raw(&self, run: &Run, hook: HookPoint) -> Result<(&Dictionary, Tensor), AttributionError> {
        let dictionary = self.dictionaries.get(&hook).ok_or(AttributionError::NoDictionary)?;
        let missing = || candle_core::Error::Msg(format!("the run kept no {hook}"));
        let value = self.activation(run, hook)?.ok_or_else(missing)?;
        let raw = self.loaded.model.unprocessed(&run.tokens, &run.cache)?.at(hook, &value)?;
        Ok((dictionary, rows(&raw)?.to_dtype(DType::F32)?))
    }
}
