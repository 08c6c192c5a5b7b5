//! The objective: the number, computed from a run's logits, that gradients, attributions and circuits are about.

use std::{fmt, ops::Range, str::FromStr};

use super::{kl_divergence, log_normaliser};
use crate::suggest;

/// The kind of an objective, without its position and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectiveKind {
    #[default]
    LogitDiff,
    Prob,
    Kl,
    Loss,
}

impl ObjectiveKind {
    pub const ALL: [Self; 4] = [Self::LogitDiff, Self::Prob, Self::Kl, Self::Loss];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogitDiff => "logit-diff",
            Self::Prob => "prob",
            Self::Kl => "kl",
            Self::Loss => "loss",
        }
    }

    /// The objective of this kind; None if it needs a target and there is none.
    #[must_use]
    pub fn of(self, pos: usize, target: Option<u32>, distractor: Option<u32>) -> Option<Objective> {
        Some(match self {
            Self::LogitDiff => Objective::LogitDiff { pos, target: target?, distractor },
            Self::Prob => Objective::Prob { pos, target: target? },
            Self::Kl => Objective::Kl { pos },
            Self::Loss => Objective::Loss,
        })
    }
}

impl fmt::Display for ObjectiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ObjectiveKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("metric", name, &Self::ALL, Self::name)
    }
}

/// A number of a run that has a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The target's logit at a position, minus the distractor's if there is one.
    LogitDiff { pos: usize, target: u32, distractor: Option<u32> },
    /// The target's probability at a position.
    Prob { pos: usize, target: u32 },
    /// KL(baseline || run) at a position, in nats.
    Kl { pos: usize },
    /// Mean cross-entropy of each next token of the prompt, in nats.
    Loss,
}

impl Objective {
    #[must_use]
    pub fn kind(self) -> ObjectiveKind {
        match self {
            Self::LogitDiff { .. } => ObjectiveKind::LogitDiff,
            Self::Prob { .. } => ObjectiveKind::Prob,
            Self::Kl { .. } => ObjectiveKind::Kl,
            Self::Loss => ObjectiveKind::Loss,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        self.kind().name()
    }

    /// The positions whose logits the objective depends on, in a prompt of `n_pos` tokens.
    #[must_use]
    pub fn positions(self, n_pos: usize) -> Range<usize> {
        match self {
            Self::LogitDiff { pos, .. } | Self::Prob { pos, .. } | Self::Kl { pos } => pos..pos + 1,
            Self::Loss => 0..n_pos.saturating_sub(1),
        }
    }

    /// What a position contributes, from its logits `[vocab]` in the run and in the baseline. `next` is the prompt's
    /// next token, and `n_pos` the prompt's length.
    #[must_use]
    pub fn at(self, logits: &[f32], before: &[f32], next: u32, n_pos: usize) -> f64 {
        let logit = |token: u32| logits.get(token as usize).map_or(f64::NAN, |x| f64::from(*x));
        match self {
            Self::LogitDiff { target, distractor, .. } => logit(target) - distractor.map_or(0.0, logit),
            Self::Prob { target, .. } => (logit(target) - log_normaliser(logits)).exp(),
            Self::Kl { .. } => kl_divergence(before, logits),
            Self::Loss => (log_normaliser(logits) - logit(next)) / predicted(n_pos),
        }
    }

    /// The gradient with respect to the logits at a position, `[vocab]`; the arguments are those of [`Self::at`].
    #[must_use]
    pub fn slope(self, logits: &[f32], before: &[f32], next: u32, n_pos: usize) -> Vec<f32> {
        match self {
            Self::LogitDiff { target, distractor, .. } => {
                let mut slope = vec![0.0; logits.len()];
                for (token, sign) in [(Some(target), 1.0), (distractor, -1.0)] {
                    if let Some(at) = token.and_then(|token| slope.get_mut(token as usize)) {
                        *at += sign;
                    }
                }
                slope
            }
            Self::Prob { target, .. } => {
                let shares = probabilities(logits);
                let own = shares.get(target as usize).copied().unwrap_or(f64::NAN);
                shares.iter().enumerate().map(|(id, p)| narrow(own * (one_at(id, target) - p))).collect()
            }
            Self::Kl { .. } => {
                probabilities(logits).iter().zip(probabilities(before)).map(|(q, p)| narrow(q - p)).collect()
            }
            Self::Loss => {
                let slope = |(id, p): (usize, f64)| narrow((p - one_at(id, next)) / predicted(n_pos));
                probabilities(logits).into_iter().enumerate().map(slope).collect()
            }
        }
    }
}

/// The number of positions that predict a token of the prompt.
#[allow(clippy::cast_precision_loss, reason = "a number of positions")]
fn predicted(n_pos: usize) -> f64 {
    n_pos.saturating_sub(1) as f64
}

fn one_at(id: usize, token: u32) -> f64 {
    if id == token as usize { 1.0 } else { 0.0 }
}

#[allow(clippy::cast_possible_truncation, reason = "gradients are f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let norm = log_normaliser(logits);
    logits.iter().map(|x| (f64::from(*x) - norm).exp()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with finite differences, in f64, of the value's definition.
        #[test]
        fn the_slope_is_the_derivative_of_the_value(
            logits in proptest::collection::vec(-4.0f32..4.0, 8), before in proptest::collection::vec(-4.0f32..4.0, 8), next in 0u32..8,
        ) {
            const STEP: f32 = 1.0 / 64.0;
            let all = [
                Objective::LogitDiff { pos: 3, target: 2, distractor: Some(5) },
                Objective::LogitDiff { pos: 3, target: 2, distractor: None },
                Objective::Prob { pos: 3, target: 2 },
                Objective::Kl { pos: 3 },
                Objective::Loss,
            ];
            for objective in all {
                let slope = objective.slope(&logits, &before, next, 5);
                for (i, slope) in slope.iter().enumerate() {
                    let value = |by: f32| {
                        let mut moved = logits.clone();
                        moved[i] += by;
                        (objective.at(&moved, &before, next, 5), f64::from(moved[i]))
                    };
                    let ((up, x_up), (down, x_down)) = (value(STEP), value(-STEP));
                    // a third derivative of at most 1 times the step squared over 6
                    let off = (f64::from(*slope) - (up - down) / (x_up - x_down)).abs();
                    prop_assert!(off < 1e-4, "{}: {off} at {i}", objective.name());
                }
            }
        }
    }
}
