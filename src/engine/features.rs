//! The features of a run by a dictionary.

use std::{collections::BTreeMap, sync::Arc};

use candle_core::{DType, Tensor};

use super::{Engine, Finished, Run, WithBaseline, weights::Promoted};
use crate::{
    hooks::{HookPoint, RunError},
    model::Dictionary,
};

/// The features at one position, and how well they reconstruct the activation.
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturesAt {
    pub pos: usize,
    /// How many features are not 0.
    pub l0: usize,
    /// The mean squared error of the reconstruction.
    pub mse: f64,
    /// 1 minus the squared error over the squared distance from the mean over the prompt's positions; NaN for one position.
    pub variance_explained: f64,
    /// The features that are not 0, the strongest first.
    pub features: Vec<(u32, f32)>,
}

/// A feature of another dictionary, and the weight of the connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    pub feature: u32,
    pub weight: f32,
    pub label: Option<String>,
}

/// The features of an earlier dictionary that write to a feature most, or those of a later one that read it most.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    pub hook: HookPoint,
    pub features: Vec<Linked>,
}

/// What the weights and the labels say about a feature.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AboutFeature {
    pub label: Option<String>,
    /// None unless the dictionary reads vectors of the residual stream.
    pub tokens: Option<Promoted>,
    /// Of the last dictionary before this one: by its decoder and this one's encoder.
    pub written_by: Option<Links>,
    /// Of the next dictionary: by this one's decoder and its encoder.
    pub read_by: Option<Links>,
}

impl Engine {
    /// A feature's label, the tokens that it promotes, and the features before and after it, `count` of each.
    ///
    /// # Errors
    /// There is no such dictionary or feature; tensor errors.
    pub fn about_feature(&self, hook: HookPoint, feature: u32, count: usize) -> Result<AboutFeature, RunError> {
        let Some(dictionary) = self.dictionaries.get(&hook).filter(|dictionary| (feature as usize) < dictionary.d_sae)
        else {
            return Err(candle_core::Error::Msg(format!("there is no feature {feature} at {hook}")).into());
        };
        let device = &self.loaded.model.device;
        let same_size = |(_, other): &(&HookPoint, &Arc<Dictionary>)| other.d_in == dictionary.d_in;
        let linked = |at: Option<(&HookPoint, &Arc<Dictionary>)>, weights: Vec<f32>| {
            at.map(|(hook, other)| Links { hook: *hook, features: strongest(&weights, &other.labels, count) })
        };
        let earlier = self.dictionaries.range(..hook).rev().find(same_size);
        let later = self.dictionaries.range(hook..).filter(|(at, _)| **at != hook).find(same_size);
        let before = match earlier {
            Some((_, other)) => other.written_along(&dictionary.read_by(feature as usize)?),
            None => vec![],
        };
        let after = match later {
            Some((_, other)) => other.read_of(dictionary.direction(feature as usize), device)?,
            None => vec![],
        };
        Ok(AboutFeature {
            label: dictionary.labels.get(&feature).cloned(),
            tokens: self.feature_tokens(dictionary, &[feature], count)?.and_then(|mut all| all.pop()),
            written_by: linked(earlier, before),
            read_by: linked(later, after),
        })
    }

    /// The features at every position of a run, of unprocessed activations whatever processing the run has.
    ///
    /// # Errors
    /// A run that did not keep the hook, tensor errors.
    pub fn features(&self, run: &Run, hook: HookPoint, dictionary: &Dictionary) -> Result<Vec<FeaturesAt>, RunError> {
        let value = self.activation(run, hook)?;
        let value = value.ok_or_else(|| candle_core::Error::Msg(format!("the run kept no {hook}")))?;
        let raw = self.loaded.model.unprocessed(&run.tokens, &run.cache)?.at(hook, &value)?;
        let x = raw.get(0)?.to_dtype(DType::F32)?.flatten_from(1)?.contiguous()?;
        let encoded = dictionary.encode(&x)?;
        let (rows, back) = (x.to_vec2::<f32>()?, dictionary.decode(&encoded));
        let means = means(&rows);
        let at = |pos: usize, mut features: Vec<(u32, f32)>, (row, back): (&[f32], &[f32])| {
            let missed: f64 = row.iter().zip(back).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            let varied: f64 = row.iter().zip(&means).map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum();
            features.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            #[allow(clippy::cast_precision_loss, reason = "sizes of activations")]
            let (n, several) = (row.len() as f64, rows.len() > 1);
            let explained = if several { 1.0 - missed / varied } else { f64::NAN };
            FeaturesAt { pos, l0: features.len(), mse: missed / n, variance_explained: explained, features }
        };
        let each = encoded.features.into_iter().enumerate().zip(rows.iter().zip(&back));
        Ok(each.map(|((pos, features), (row, back))| at(pos, features, (row, back))).collect())
    }

    /// The tokens that features promote and suppress, by the decoder through the unembedding. None unless the dictionary
    /// reads vectors of the residual stream.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn feature_tokens(
        &self,
        dictionary: &Dictionary,
        features: &[u32],
        count: usize,
    ) -> Result<Option<Vec<Promoted>>, RunError> {
        let d_model = self.schema.dims.d_model;
        if dictionary.d_in != d_model || features.is_empty() {
            return Ok(None);
        }
        let rows: Vec<f32> = features.iter().flat_map(|f| dictionary.direction(*f as usize)).copied().collect();
        let rows = Tensor::from_vec(rows, (features.len(), d_model), &self.loaded.model.device)?;
        let logits = self.loaded.model.promoted(&rows)?.to_vec2::<f32>()?;
        Ok(Some(logits.iter().map(|row| Promoted::new(row, count)).collect()))
    }
}

impl Finished<'_> {
    /// What `of` takes from the features of the run, and of the unedited one, at every position, by the dictionary at a hook. The
    /// features are computed once.
    ///
    /// # Errors
    /// There is no dictionary at the hook, or `of` finds nothing; a run that did not keep the hook, tensor errors.
    pub fn features<T>(
        &mut self,
        hook: HookPoint,
        of: impl Fn(&[FeaturesAt]) -> Option<T>,
    ) -> Result<(WithBaseline<T>, Arc<Dictionary>), RunError> {
        let nothing = || candle_core::Error::Msg(format!("there are no features at {hook}"));
        let dictionary = self.engine.dictionaries.get(&hook).cloned().ok_or_else(nothing)?;
        let kept: Option<WithBaseline<Vec<FeaturesAt>>> = self.take(&OfHook(hook));
        let all = if let Some(kept) = kept {
            kept
        } else {
            let of = |run: &Run| self.engine.features(run, hook, &dictionary);
            let baseline = self.outcome.unedited().map(of).transpose()?;
            WithBaseline { run: of(&self.outcome.run)?, baseline }
        };
        let run = of(&all.run);
        let baseline = all.baseline.as_deref().map(|before| of(before).ok_or_else(nothing)).transpose();
        self.keep(OfHook(hook), all);
        Ok((WithBaseline { run: run.ok_or_else(nothing)?, baseline: baseline? }, dictionary))
    }
}

/// What features are kept under.
#[derive(PartialEq)]
struct OfHook(HookPoint);

/// The features with the largest weights, the largest first.
fn strongest(weights: &[f32], labels: &BTreeMap<u32, String>, count: usize) -> Vec<Linked> {
    Promoted::new(weights, count)
        .promoted
        .into_iter()
        .map(|(feature, weight)| Linked { feature, weight, label: labels.get(&feature).cloned() })
        .collect()
}

/// The mean over the rows.
fn means(rows: &[Vec<f32>]) -> Vec<f64> {
    let mut sums = vec![0.0f64; rows.first().map_or(0, Vec::len)];
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    #[allow(clippy::cast_precision_loss, reason = "a number of positions")]
    sums.into_iter().map(|sum| sum / rows.len() as f64).collect()
}
