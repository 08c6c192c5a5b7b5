//! The numbers that a map can show.

use std::{fmt, str::FromStr};

use super::Measure;
use crate::{analysis::ObjectiveKind, suggest};

/// The number that a map shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// KL(without || with the intervention), in nats.
    Kl,
    /// The change of the logit difference; when patching, normalised: 0 as without the patch, 1 as in the contrast run
    /// (Wang et al., "Interpretability in the Wild", 2022).
    LogitDiff,
    /// The change of the target's probability.
    Prob,
}

impl Metric {
    pub const ALL: [Self; 3] = [Self::Kl, Self::LogitDiff, Self::Prob];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kl => "kl",
            Self::LogitDiff => "logit-diff",
            Self::Prob => "prob",
        }
    }

    /// The metric of a measure, relative to the one without the intervention and, when patching, to the contrast run's.
    #[must_use]
    pub fn of(self, measure: &Measure, before: &Measure, contrast: Option<&Measure>) -> f64 {
        let diff = measure.logit_diff - before.logit_diff;
        // adding 0 turns -0 into 0
        0.0 + match (self, contrast) {
            (Self::Kl, _) => measure.kl,
            (Self::LogitDiff, Some(clean)) => diff / (clean.logit_diff - before.logit_diff),
            (Self::LogitDiff, None) => diff,
            (Self::Prob, _) => measure.prob - before.prob,
        }
    }
}

impl From<Metric> for ObjectiveKind {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Kl => Self::Kl,
            Metric::LogitDiff => Self::LogitDiff,
            Metric::Prob => Self::Prob,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("metric", name, &Self::ALL, Self::name)
    }
}
