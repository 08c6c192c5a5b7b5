//! What is shown of a run with edits: the edited run, the baseline, or the difference of the two.

use std::{fmt, str::FromStr};

use crate::suggest;

/// What is shown of a run with edits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// The edited run.
    #[default]
    Edited,
    /// The edited run minus the baseline.
    Difference,
    /// The unedited run.
    Baseline,
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl FromStr for Compare {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("comparison", name, &Self::ALL, Self::title)
    }
}

impl Compare {
    pub const ALL: [Self; 3] = [Self::Edited, Self::Difference, Self::Baseline];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Difference => "difference",
            Self::Baseline => "baseline",
        }
    }

    /// What is shown of a value and its baseline.
    #[must_use]
    #[allow(clippy::float_cmp, reason = "equal values do not differ, infinities included")]
    pub fn of(self, now: f32, before: f32) -> f32 {
        match self {
            Self::Edited => now,
            Self::Difference if now == before => 0.0,
            Self::Difference => now - before,
            Self::Baseline => before,
        }
    }
}

/// A result for the run on the screen and, if that run has edits, for its baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WithBaseline<T> {
    pub run: T,
    pub baseline: Option<T>,
}

impl<T> WithBaseline<T> {
    /// The result for a run of this model beside that of another.
    #[must_use]
    pub fn of_two(this: Self, that: Self) -> Self {
        Self { run: this.run, baseline: Some(that.run) }
    }
}

impl WithBaseline<Vec<f32>> {
    /// Each value with the comparison applied.
    #[must_use]
    pub fn compared(&self, compare: Compare) -> Vec<f32> {
        match &self.baseline {
            Some(before) => self.run.iter().zip(before).map(|(now, before)| compare.of(*now, *before)).collect(),
            None => self.run.clone(),
        }
    }
}
