//! The places of a corpus where a neuron, a head or a feature is most active.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    super::{Engine, host::with_values},
    CorpusPrompt,
};
use crate::hooks::{
    ActivationCache, Axis, BlockHook, Edit, EditError, HookError, HookPoint, ParseError, RunError, Selection,
};

/// Units whose activation is asked for: at a hook, or a feature of the dictionary there.
#[derive(Clone, Debug, PartialEq)]
pub struct TopQuestion {
    pub point: HookPoint,
    units: Units,
}

#[derive(Clone, Debug, PartialEq)]
enum Units {
    /// The value of one unit, or the L2 norm of several.
    Selected(Selection),
    Feature(u32),
}

impl TopQuestion {
    /// The questions of `HOOK[SELECTION]`, one for each hook that it names.
    ///
    /// # Errors
    /// There is no such hook, axis or index, or no value for each position.
    pub fn parse(text: &str, engine: &Engine) -> Result<Vec<Self>, TopError> {
        // an edit has the same target and selection
        let Edit { sender, features, target, selection, .. } =
            format!("{text} = 0").parse::<Edit>().map_err(|error| TopError::Parse(quoted(error, text)))?;
        if sender.is_some() {
            return Err(TopError::Path);
        }
        let schema = &engine.schema;
        let mut all = vec![];
        for point in target.points(&schema.dims)? {
            schema.check(point)?;
            let axes = schema.axes(point);
            if axes.first() != Some(&Axis::Pos) || point == HookPoint::Tokens {
                return Err(TopError::NoPositions(point));
            }
            let units = if features {
                let d_sae = *schema.dictionaries().get(&point).ok_or(TopError::NoDictionary(point))?;
                let found = selection.resolve(text, point, &[Axis::Pos, Axis::DSae], &[1, d_sae])?;
                match (found.along.as_slice(), selection.0.as_slice()) {
                    ([_, Some(one)], [only]) if one.len() == 1 && only.axis == Axis::DSae => {
                        Units::Feature(u32::try_from(one[0]).unwrap_or(u32::MAX))
                    }
                    _ => return Err(TopError::OneFeature),
                }
            } else {
                if selection.0.iter().any(|selected| selected.axis == Axis::Pos) {
                    return Err(TopError::AnyPosition);
                }
                selection.resolve(text, point, &axes, &schema.shape(point, 1))?;
                Units::Selected(selection.clone())
            };
            all.push(Self { point, units });
        }
        Ok(all)
    }

    /// What a run has to keep for it.
    #[must_use]
    pub fn keeps(&self, engine: &Engine) -> Vec<HookPoint> {
        match self.units {
            Units::Selected(_) => vec![self.point],
            // unprocessed activations are made of what was written before
            Units::Feature(_) => {
                let read = |point: &HookPoint| matches!(point.block_hook(), Some(BlockHook::Z | BlockHook::MlpPost));
                let before = engine.schema.points().into_iter().filter(|point| *point <= self.point && read(point));
                before.chain([self.point]).collect()
            }
        }
    }

    /// The activation at each position of a prompt, in a row of what a batch kept.
    ///
    /// # Errors
    /// The batch did not keep what [`Self::keeps`] names; tensor errors.
    pub fn activations(
        &self,
        engine: &Engine,
        prompt: &CorpusPrompt,
        cache: &ActivationCache,
        row: usize,
    ) -> Result<Vec<f32>, RunError> {
        let missing = || candle_core::Error::Msg(format!("the run kept no {}", self.point));
        match &self.units {
            Units::Feature(feature) => {
                let own = cache.of_row(row)?;
                let value = own.get(self.point).ok_or_else(missing)?;
                let raw = engine.loaded.model.unprocessed(&prompt.tokens, &own)?.at(self.point, value)?;
                let dictionary = engine.dictionaries.get(&self.point).ok_or_else(missing)?;
                let found = dictionary.encode(&raw.get(0)?.to_dtype(DType::F32)?.flatten_from(1)?.contiguous()?)?;
                let of =
                    |features: &Vec<(u32, f32)>| features.iter().find(|(id, _)| id == feature).map_or(0.0, |f| f.1);
                Ok(found.features.iter().map(of).collect())
            }
            Units::Selected(selection) => {
                let value = cache.get(self.point).ok_or_else(missing)?.get(row)?;
                let (axes, shape) = (engine.schema.axes(self.point), value.dims().to_vec());
                let indices = selection.resolve("", self.point, &axes, &shape)?;
                let mut units: Tensor = value;
                for (axis, along) in indices.along.iter().enumerate() {
                    let Some(along) = along else { continue };
                    let ids: Vec<u32> = along.iter().map(|at| u32::try_from(*at).unwrap_or(u32::MAX)).collect();
                    let ids = Tensor::new(ids, units.device())?;
                    units = units.contiguous()?.index_select(&ids, axis)?;
                }
                let width: usize = units.dims()[1..].iter().product();
                #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
                let of = |units: &[f32]| match units {
                    [one] => *one,
                    several => several.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32,
                };
                with_values(&units.contiguous()?, |all| all.chunks(width.max(1)).map(of).collect())
            }
        }
    }
}

/// The parse error in terms of what was written.
fn quoted(error: ParseError, text: &str) -> ParseError {
    let end = text.len();
    let span = error.span.start.min(end)..error.span.end.min(end);
    ParseError { line: text.into(), span, ..error }
}

/// A place of a prompt, with the tokens around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The bits of the activation, since JSON has no infinities.
    bits: u32,
    /// The prompt's number in the corpus, and its line.
    pub prompt: u64,
    pub line: u64,
    pub pos: usize,
    /// The position of the first of the tokens.
    pub first: usize,
    pub tokens: Vec<u32>,
}

impl Context {
    #[must_use]
    pub fn value(&self) -> f32 {
        f32::from_bits(self.bits)
    }
}

/// The strongest first; of equal ones, the earlier.
impl Ord for Context {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |context: &Self| (Reverse(context.prompt), Reverse(context.pos));
        self.value().total_cmp(&other.value()).then(place(self).cmp(&place(other)))
    }
}

impl PartialOrd for Context {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The strongest places so far, at most one of each prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopContexts {
    count: usize,
    /// The weakest on top.
    heap: BinaryHeap<Reverse<Context>>,
}

/// Tokens that are shown before a place and after it.
const AROUND: (usize, usize) = (20, 5);

impl TopContexts {
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { count, heap: BinaryHeap::new() }
    }

    /// Consider the strongest place of a prompt; NaN is none.
    pub fn add(&mut self, tokens: &[u32], activations: &[f32], prompt: u64, line: u64) {
        let places = activations.iter().enumerate().filter(|(_, x)| !x.is_nan());
        // of equal ones the first
        let Some((pos, value)) = places.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))) else { return };
        let weakest = self.heap.peek().map(|Reverse(weakest)| weakest.value());
        if self.heap.len() >= self.count && weakest.is_none_or(|weakest| weakest.total_cmp(value).is_gt()) {
            return;
        }
        let first = pos.saturating_sub(AROUND.0);
        let around = tokens[first..(pos + 1 + AROUND.1).min(tokens.len())].to_vec();
        self.heap.push(Reverse(Context { bits: value.to_bits(), prompt, line, pos, first, tokens: around }));
        if self.heap.len() > self.count {
            self.heap.pop();
        }
    }

    /// The strongest first.
    #[must_use]
    pub fn ranked(&self) -> Vec<Context> {
        let mut all: Vec<Context> = self.heap.iter().map(|Reverse(context)| context.clone()).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }
}

/// Units that can't be asked for.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("expected a hook, such as `blocks.3.mlp.hook_post[d_mlp=17]`, and not a path")]
    Path,
    #[error("{0} has no value for each position; expected a hook whose first axis is pos")]
    NoPositions(HookPoint),
    #[error("there is no dictionary at {0}: give one with --sae")]
    NoDictionary(HookPoint),
    #[error("expected one feature, as in `[d_sae=17]`")]
    OneFeature,
    #[error("every position is looked at; leave `pos` out")]
    AnyPosition,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with sorting everything.
        #[test]
        fn the_strongest_of_each_prompt_are_kept(prompts in proptest::collection::vec(proptest::collection::vec(-3i8..3, 1..8), 0..30), count in 1usize..6) {
            let mut tops = TopContexts::new(count);
            let mut all = vec![];
            for (number, values) in prompts.iter().enumerate() {
                let values: Vec<f32> = values.iter().map(|x| f32::from(*x)).collect();
                tops.add(&vec![0; values.len()], &values, number as u64, 0);
                let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let pos = values.iter().position(|x| x.total_cmp(&most).is_eq()).unwrap();
                all.push((most, number as u64, pos));
            }
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            all.truncate(count);
            let found: Vec<_> = tops.ranked().iter().map(|c| (c.value(), c.prompt, c.pos)).collect();
            prop_assert_eq!(found, all);
            let kept: TopContexts = serde_json::from_str(&serde_json::to_string(&tops).unwrap()).unwrap();
            prop_assert_eq!(kept.ranked(), tops.ranked());
        }
    }

    #[test]
    fn the_tokens_around_a_place_are_kept() {
        let mut tops = TopContexts::new(1);
        let tokens: Vec<u32> = (0..40).collect();
        let mut values = vec![0.0; 40];
        (values[30], values[2]) = (5.0, f32::NAN);
        tops.add(&tokens, &values, 7, 8);
        let found = tops.ranked().remove(0);
        assert_eq!((found.pos, found.first, found.tokens.len()), (30, 10, 26));
        assert_eq!((found.prompt, found.line, found.tokens[20]), (7, 8, 30));
        tops.add(&tokens, &[f32::INFINITY], 8, 9);
        assert!(tops.ranked()[0].value().is_infinite());
    }
}
