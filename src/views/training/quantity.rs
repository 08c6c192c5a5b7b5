//! A number over the visited checkpoints.

use std::{fmt, str::FromStr};

use crate::{
    analysis::Score,
    engine::RunMetrics,
    suggest,
    views::{Scene, cycle},
};

/// A number that is charted over the visited steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantity {
    /// The target's probability after the last position.
    #[default]
    Probability,
    /// The target's logit minus the distractor's, after the last position.
    LogitDifference,
    /// KL(baseline || edited) or, beside another model, KL(that || this), after the last position.
    Kl,
    /// A score of the selected head.
    Head(Score),
    /// The L2 norm of the selected hook's activation.
    Norm,
}

impl Quantity {
    pub const ALL: [Self; 4 + Score::ALL.len()] = {
        let mut all = [Self::Norm; 4 + Score::ALL.len()];
        (all[0], all[1], all[2]) = (Self::Probability, Self::LogitDifference, Self::Kl);
        let mut i = 0;
        while i < Score::ALL.len() {
            all[3 + i] = Self::Head(Score::ALL[i]);
            i += 1;
        }
        all
    };

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::LogitDifference => "logit-diff",
            Self::Kl => "kl",
            Self::Head(score) => score.name(),
            Self::Norm => "norm",
        }
    }
}

/// Its name in files.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("number", name, &Self::ALL, Self::name)
    }
}

/// The quantity at a step: for the run and, if there is one, for the run that stands beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Its number in the list of steps.
    pub at: usize,
    pub value: f64,
    pub baseline: Option<f64>,
}

impl Quantity {
    /// The name of the quantity, with its token, head or hook.
    pub(super) fn title_of(self, scene: &Scene) -> String {
        let answer = scene.answer();
        let likeliest = if scene.target.is_none() { ", likeliest here" } else { "" };
        let target = || answer.as_ref().map(|(target, _)| format!("{:?}", target.text)).unwrap_or_default();
        match self {
            Quantity::Probability => format!("probability of {}{likeliest}", target()),
            Quantity::LogitDifference => {
                let distractor = answer.as_ref().and_then(|(_, d)| d.as_ref()).map(|d| format!(" less {:?}", d.text));
                format!("logit of {}{}", target(), distractor.unwrap_or_default())
            }
            Quantity::Kl => format!("{}, nats", scene.kl_title()),
            Quantity::Head(score) => format!("L{}H{}: {}", scene.block(), scene.cursor.head, score.title()),
            Quantity::Norm => format!("L2 norm of {}", scene.point()),
        }
    }

    /// The quantity over the steps that were visited with this prompt and these edits, by step.
    pub(super) fn over_training(self, scene: &Scene) -> Vec<Point> {
        let Some(spec) = scene.runs.shown.as_ref().map(|shown| &shown.spec) else { return vec![] };
        let answer = scene.answer();
        let visits = scene.checkpoints.visits.iter().filter(|visit| visit.spec == *spec);
        let mut points: Vec<Point> = visits
            .filter_map(|visit| {
                let at = scene.checkpoints.steps.iter().position(|step| step.step == visit.step)?;
                let compared = scene.is_compared();
                let summary = &visit.summary;
                let (norm, baseline_norm) = visit.normalisers;
                let of_logits = |of: &dyn Fn(&[f32], f64) -> f64| {
                    let baseline = compared.then(|| of(&summary.baseline_logits, baseline_norm));
                    Some((of(&summary.logits, norm), baseline))
                };
                let of_measures = |of: &dyn Fn(&RunMetrics) -> Option<f64>| {
                    let measured = &visit.measured;
                    Some((of(&measured.run)?, measured.baseline.as_ref().and_then(of)))
                };
                let logit = |row: &[f32], id: u32| row.get(id as usize).map_or(f64::NAN, |x| f64::from(*x));
                let (block, head, point) = (scene.block(), scene.cursor.head, scene.point());
                let (value, baseline) = match self {
                    Quantity::Probability => {
                        let target = answer.as_ref()?.0.id;
                        of_logits(&|row: &[f32], norm: f64| (logit(row, target) - norm).exp())
                    }
                    Quantity::LogitDifference => {
                        let (target, distractor) = answer.as_ref()?;
                        let other = |row: &[f32]| distractor.as_ref().map_or(0.0, |d| logit(row, d.id));
                        of_logits(&|row: &[f32], _| logit(row, target.id) - other(row))
                    }
                    Quantity::Kl => summary.kl.last().map(|kl| (*kl, None)),
                    Quantity::Head(score) => of_measures(&|m| Some(score.of(m.heads.get(block)?.get(head)?))),
                    Quantity::Norm => of_measures(&|m| m.norms.get(&point).copied()),
                }?;
                Some(Point { at, value, baseline })
            })
            .collect();
        points.sort_by_key(|point| point.at);
        points
    }
}

impl Quantity {
    /// The next quantity; KL only if there is one.
    pub(super) fn next(self, scene: &Scene) -> Self {
        let next = cycle(&Self::ALL, self, 1);
        if next == Self::Kl && !scene.is_compared() { cycle(&Self::ALL, next, 1) } else { next }
    }
}
