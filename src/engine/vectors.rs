//! Vectors at the hooks where edits use them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

use candle_core::Tensor;

use super::{Control, Engine, Run, Spec, control::go_on, host::values};
use crate::{
    hooks::{
        Axis, BlockHook, Capture, HookPoint, Interventions, Plan, References, RunError, Values, VectorName,
        VectorSource,
    },
    model::Start,
};

/// A vector at a hook where an edit uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Steered {
    pub name: VectorName,
    pub point: HookPoint,
    /// The vector's L2 norm.
    pub norm: f64,
    /// Of that of the unedited values there, mean over positions (and heads, where each head has the vector).
    pub share: f64,
}

impl Engine {
    /// Turn on what `spec` says, and compute its edits' vectors at the hooks where they are used.
    ///
    /// # Errors
    /// Cancellation, tensor errors. An edit that can't be carried out is an error only of its plan.
    pub(super) fn ready(&mut self, spec: &Spec, control: Control<'_>) -> Result<(), RunError> {
        self.enable(spec);
        for (name, points) in self.used(spec) {
            let missing: BTreeSet<HookPoint> =
                points.into_iter().filter(|point| self.schema.vectors().at(name, *point).is_none()).collect();
            let Some(definition) = self.schema.vectors().defined().get(&name).filter(|_| !missing.is_empty()) else {
                continue;
            };
            let source = definition.source.clone();
            for (point, values) in self.vector(&source, &missing, control.cancel)? {
                self.schema.vectors_mut().set(name, point, values);
            }
        }
        Ok(())
    }

    /// Each vector that edits name, and the hooks where they use it.
    fn used(&self, spec: &Spec) -> BTreeMap<VectorName, BTreeSet<HookPoint>> {
        let mut used: BTreeMap<VectorName, BTreeSet<HookPoint>> = BTreeMap::new();
        for edit in &spec.edits {
            let Some(name) = edit.op.vector() else { continue };
            let target = edit.sender.as_ref().map_or(&edit.target, |sender| &sender.target);
            let points = target.points(&self.schema.dims).unwrap_or_default().into_iter();
            let fits = |point: &HookPoint| {
                let fires = self.schema.check(*point).is_ok() || edit.sender.is_some() && point.sends();
                fires && self.schema.axes(*point).first() == Some(&Axis::Pos)
            };
            used.entry(name).or_default().extend(points.filter(fits));
        }
        used
    }

    fn vector(
        &self,
        source: &VectorSource,
        points: &BTreeSet<HookPoint>,
        cancel: &AtomicBool,
    ) -> Result<Vec<(HookPoint, Values)>, RunError> {
        let everywhere = |vector: &Tensor| -> Result<Vec<(HookPoint, Values)>, RunError> {
            let found = Values::from(values(vector)?);
            Ok(points.iter().map(|point| (*point, found.clone())).collect())
        };
        let model = &self.loaded.model;
        match source {
            VectorSource::Fixed(values) => Ok(points.iter().map(|point| (*point, values.clone())).collect()),
            VectorSource::Unembedding(token) => everywhere(&model.token_unembedding(*token)?),
            VectorSource::Embedding(token) => everywhere(&model.token_embedding(*token)?),
            VectorSource::Feature { hook, feature } => {
                let none = || candle_core::Error::Msg(format!("there is no dictionary at {hook}: give --sae"));
                let dictionary = self.dictionaries.get(hook).ok_or_else(none)?;
                let found = Values::from(dictionary.direction(*feature as usize).to_vec());
                Ok(points.iter().map(|point| (*point, found.clone())).collect())
            }
            VectorSource::Prompts { positive, negative } => {
                let mut sums: BTreeMap<HookPoint, Vec<f64>> = BTreeMap::new();
                for (prompts, sign) in [(positive, 1.0), (negative, -1.0)] {
                    #[allow(clippy::cast_precision_loss, reason = "a number of prompts")]
                    let share = sign / prompts.len() as f64;
                    for tokens in prompts {
                        go_on(cancel)?;
                        for (point, last) in self.at_last_position(tokens, points, cancel)? {
                            let sum = sums.entry(point).or_insert_with(|| vec![0.0; last.len()]);
                            sum.iter_mut().zip(last).for_each(|(sum, x)| *sum += share * f64::from(x));
                        }
                    }
                }
                #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
                let values = |sum: Vec<f64>| sum.into_iter().map(|x| x as f32).collect::<Vec<_>>().into();
                Ok(sums.into_iter().map(|(point, sum)| (point, values(sum))).collect())
            }
        }
    }

    /// What hooks hold at the last position of a prompt without edits.
    fn at_last_position(
        &self,
        tokens: &[u32],
        points: &BTreeSet<HookPoint>,
        cancel: &AtomicBool,
    ) -> Result<Vec<(HookPoint, Vec<f32>)>, RunError> {
        let (plans, rows, model) = ([Plan::default()], [tokens.to_vec()], &self.loaded.model);
        let kept = Capture::Only(points.iter().map(|point| self.kept_for(*point)).collect());
        let hooks = Interventions::new(&plans, &[], kept, References::default(), self.schema.dims.d_vocab);
        let mut hooks = hooks.cancelled_by(cancel);
        model.normalized(Start::Tokens(&rows), &self.schema, &mut hooks)?;
        let last = |point: &HookPoint| -> Result<(HookPoint, Vec<f32>), RunError> {
            let kept = self.kept_for(*point);
            let missing = || candle_core::Error::Msg(format!("the run kept no {kept}"));
            let value = hooks.cache.get(kept).ok_or_else(missing)?;
            let value = value.narrow(1, tokens.len() - 1, 1)?.contiguous()?;
            let value = match *point {
                HookPoint::Block(block, BlockHook::Result) if kept != *point => model.head_results(block, &value)?,
                _ => value,
            };
            Ok((*point, values(&value)?))
        };
        points.iter().map(last).collect()
    }

    /// The hooks whose unedited values [`Self::steered`] reads.
    #[must_use]
    pub fn steered_points(&self, spec: &Spec) -> BTreeSet<HookPoint> {
        self.used(spec).into_values().flatten().map(|point| self.kept_for(point)).collect()
    }

    /// The vectors of a run's edits beside the unedited values where they are used.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn steered(&self, spec: &Spec, baseline: &Run) -> Result<Vec<Steered>, RunError> {
        let mut all = vec![];
        for (name, points) in self.used(spec) {
            for point in points {
                let vector = self.schema.vectors().at(name, point);
                let Some((vector, value)) = vector.zip(self.activation(baseline, point)?) else { continue };
                let found = values(&value)?;
                let width = vector.get().len().max(1);
                let norm = |part: &[f32]| part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                #[allow(clippy::cast_precision_loss, reason = "a number of positions")]
                let mean = found.chunks(width).map(norm).sum::<f64>() / (found.len() / width).max(1) as f64;
                all.push(Steered { name, point, norm: vector.norm(), share: vector.norm() / mean });
            }
        }
        Ok(all)
    }
}
