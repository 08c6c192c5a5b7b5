//! Means over the training, for each seed.

use std::collections::{BTreeMap, BTreeSet};

/// A number of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measured {
    /// The metric with the edits less that without.
    #[default]
    Effect,
    /// The metric with the edits.
    Value,
    /// The metric without the edits.
    Baseline,
}

impl Measured {
    pub const ALL: [Self; 3] = [Self::Effect, Self::Value, Self::Baseline];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Effect => "effect",
            Self::Value => "edited",
            Self::Baseline => "baseline",
        }
    }
}

/// The training of a model, over its seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The model's name without the seed.
    pub family: String,
    /// By step.
    pub points: Vec<CurvePoint>,
}

/// A step of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CurvePoint {
    pub step: u64,
    pub seeds: Vec<SeedMean>,
}

/// The mean of a seed over the prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedMean {
    pub model: String,
    pub baseline: f64,
    pub value: f64,
    /// Whether a later step has the same weights, so that this one tells nothing about its own step.
    pub is_copy: bool,
}

impl SeedMean {
    #[must_use]
    pub fn of(&self, measured: Measured) -> f64 {
        match measured {
            Measured::Effect => self.value - self.baseline,
            Measured::Value => self.value,
            Measured::Baseline => self.baseline,
        }
    }
}

/// A number of several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub least: f64,
    pub greatest: f64,
}

impl CurvePoint {
    /// Over the seeds that are no copies; None if all are.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of seeds")]
    pub fn spread(&self, measured: Measured) -> Option<Spread> {
        let values: Vec<f64> = self.seeds.iter().filter(|seed| !seed.is_copy).map(|seed| seed.of(measured)).collect();
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, greatest) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        Some(Spread { mean, least, greatest })
    }
}

/// Sums of the rows of a model at a step.
#[derive(Clone, Debug, Default)]
struct OfModel {
    n: usize,
    baseline: f64,
    value: f64,
    /// The hash of the weights, where it is known.
    weights: Option<String>,
}

/// Rows by model and step.
#[derive(Default)]
pub(super) struct Sums(BTreeMap<(String, u64), OfModel>);

impl Sums {
    pub fn add(&mut self, model: &str, step: u64, (baseline, value): (f64, f64), weights: Option<&str>) {
        let sum = self.0.entry((model.into(), step)).or_default();
        sum.n += 1;
        sum.baseline += baseline;
        sum.value += value;
        if sum.weights.is_none() {
            sum.weights = weights.map(String::from);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a number of rows")]
    pub fn curves(self) -> Vec<Curve> {
        let mut families: BTreeMap<String, BTreeMap<u64, CurvePoint>> = BTreeMap::new();
        let mut later: BTreeSet<(String, String)> = BTreeSet::new();
        // from the last step on
        for ((model, step), OfModel { n, baseline, value, weights }) in self.0.into_iter().rev() {
            let is_copy = weights.is_some_and(|weights| !later.insert((model.clone(), weights)));
            let points = families.entry(family(&model).into()).or_default();
            let point = points.entry(step).or_insert_with(|| CurvePoint { step, seeds: vec![] });
            let (baseline, value) = (baseline / n as f64, value / n as f64);
            point.seeds.insert(0, SeedMean { model, baseline, value, is_copy });
        }
        let curve = |(family, points): (String, BTreeMap<u64, CurvePoint>)| Curve {
            family,
            points: points.into_values().collect(),
        };
        families.into_iter().map(curve).collect()
    }
}

/// A model's name without its seed and its owner.
fn family(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    match name.rsplit_once("-seed") {
        Some((family, seed)) if seed.parse::<u64>().is_ok() => family,
        _ => name,
    }
}
