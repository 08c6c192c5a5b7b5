//! What views show of an activation: its value, or how an objective depends on it.

use std::{fmt, str::FromStr};

use super::{reads::Reads, request::Needs};
use crate::{analysis::Objective, hooks::HookPoint, suggest};

/// What is shown of an activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    #[default]
    Value,
    /// The gradient of an objective with respect to it.
    Gradient,
    /// Gradient times value.
    TimesValue,
    /// Gradient times (contrast prompt's value - prompt's value): to first order, the effect of patching it.
    TimesChange,
}

impl Reading {
    pub const ALL: [Self; 4] = [Self::Value, Self::Gradient, Self::TimesValue, Self::TimesChange];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Gradient => "gradient",
            Self::TimesValue => "gradient-times-value",
            Self::TimesChange => "gradient-times-change",
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Reading {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("reading", name, &Self::ALL, Self::name)
    }
}

/// The numbers that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    Values,
    /// Gradients of an objective, times a factor.
    Gradients {
        of: Objective,
        times: Factor,
    },
}

/// What a gradient is multiplied by, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    One,
    Value,
    /// The contrast prompt's value minus the run's.
    Change,
}

impl Numbers {
    /// The numbers of a reading; None for a gradient without an objective.
    #[must_use]
    pub fn of(reading: Reading, number: Option<Objective>) -> Option<Self> {
        let times = match reading {
            Reading::Value => return Some(Self::Values),
            Reading::Gradient => Factor::One,
            Reading::TimesValue => Factor::Value,
            Reading::TimesChange => Factor::Change,
        };
        number.map(|of| Self::Gradients { of, times })
    }

    /// What these numbers of a hook are made from.
    #[must_use]
    pub fn needs(self, point: HookPoint) -> Needs {
        match self {
            Self::Values => Needs::Hook(point),
            Self::Gradients { .. } => Needs::Pass,
        }
    }

    /// What these numbers of some hooks are made from.
    #[must_use]
    pub fn reads(self, hooks: Reads) -> Reads {
        match self {
            Self::Values => hooks,
            Self::Gradients { .. } => Reads::Weights,
        }
    }

    #[must_use]
    pub fn is_gradient(self) -> bool {
        match self {
            Self::Values => false,
            Self::Gradients { .. } => true,
        }
    }
}

/// Why a run's activations can't be compared, position by position, with the contrast prompt's; None if they can.
#[must_use]
pub fn no_change(prompt: usize, contrast: Option<usize>) -> Option<String> {
    match contrast {
        None => Some("there is no contrast prompt".into()),
        Some(contrast) if contrast == prompt => None,
        Some(contrast) => {
            Some(format!("the contrast prompt has {contrast} tokens and the prompt {prompt}; expected the same number"))
        }
    }
}
