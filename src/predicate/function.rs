//! The functions of predicates, one row each.

use std::fmt;

use crate::{analysis::Score, hooks::Axis};

/// What is made of values before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Abs,
    Norm,
    Max,
    Min,
    Mean,
    Std,
    Entropy,
    Delta,
    Induction,
    PreviousToken,
    DuplicateToken,
    FirstToken,
}

impl Function {
    pub const ALL: [Self; 12] = [
        Self::Abs,
        Self::Norm,
        Self::Max,
        Self::Min,
        Self::Mean,
        Self::Std,
        Self::Entropy,
        Self::Delta,
        Self::Induction,
        Self::PreviousToken,
        Self::DuplicateToken,
        Self::FirstToken,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it makes of the values along an axis or, for a score, of a head's pattern.
    #[must_use]
    pub fn doc(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Abs => ("abs", "the absolute value of each value; no axis is reduced"),
            Self::Norm => ("norm", "the L2 norm"),
            Self::Max => ("max", "the largest value; NaN if one is NaN"),
            Self::Min => ("min", "the smallest value; NaN if one is NaN"),
            Self::Mean => ("mean", "the mean"),
            Self::Std => ("std", "the standard deviation (divided by n, as NumPy's `std`)"),
            Self::Entropy => ("entropy", "`-sum(x ln x)` in nats, with `0 ln 0 = 0`; for rows of a pattern"),
            Self::Delta => ("delta", "the relative change from the unedited run, `‖x - x₀‖ / ‖x₀‖`; 0 without edits"),
            Self::Induction => ("induction", "attention to the token after an earlier occurrence of the same token"),
            Self::PreviousToken => ("previous_token", "attention to the position before"),
            Self::DuplicateToken => ("duplicate_token", "attention to earlier occurrences of the same token"),
            Self::FirstToken => ("first_token", "attention to the first position"),
        }
    }

    /// The score of a head that it is, if it is one.
    #[must_use]
    pub fn score(self) -> Option<Score> {
        match self {
            Self::Induction => Some(Score::Induction),
            Self::PreviousToken => Some(Score::PreviousToken),
            Self::DuplicateToken => Some(Score::DuplicateToken),
            Self::FirstToken => Some(Score::FirstToken),
            Self::Abs | Self::Norm | Self::Max | Self::Min | Self::Mean | Self::Std | Self::Entropy | Self::Delta => {
                None
            }
        }
    }

    /// Whether it goes along one axis, which is gone afterwards.
    #[must_use]
    pub fn reduces(self) -> bool {
        self != Self::Abs && self.score().is_none()
    }
}

/// What a function goes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// The last axis that is left.
    #[default]
    Last,
    Axis(Axis),
    /// Every axis that is left.
    All,
}

/// A function, and what it goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub function: Function,
    pub over: Over,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => Ok(()),
            Self::Axis(axis) => write!(f, " over {axis}"),
            Self::All => f.write_str(" over all"),
        }
    }
}
