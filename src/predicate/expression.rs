//! Predicates as they are written. `Display` writes the canonical form, which parses to an equal predicate.

use std::fmt;

use super::{Call, Function};
use crate::hooks::{Blocks, Region, Selection};

/// A statement about the activations of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    Test(Test),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// A quantity and a condition on it: `norm(blocks.3.hook_mlp_out) > 20`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub quantity: Quantity,
    pub condition: Condition,
}

/// Functions of the values of a hook, such as `norm(blocks.3.hook_mlp_out[pos=-1])`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    pub of: Subject,
    /// The innermost first.
    pub calls: Vec<Call>,
}

impl Quantity {
    /// Whether it needs the unedited run's values.
    #[must_use]
    pub fn needs_baseline(&self) -> bool {
        self.calls.iter().any(|call| call.function == Function::Delta)
    }
}

/// A condition on a number. Comparisons are IEEE 754's: with NaN only `!=` holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    Compare(Comparison, f32),
    IsNan,
    /// Either infinity.
    IsInf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Greater,
    Less,
    AtLeast,
    AtMost,
    Equal,
    NotEqual,
}

impl Comparison {
    /// Longer signs come before those that they begin with.
    pub const ALL: [Self; 6] = [Self::AtLeast, Self::AtMost, Self::Equal, Self::NotEqual, Self::Greater, Self::Less];

    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::Less => "<",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// The activations that a quantity is of.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A hook, or the same one in several blocks.
    Hook(Region),
    /// Every hook of some blocks that has the selected axes; with `blocks.*` also those outside the blocks.
    Blocks(Blocks, Selection),
}

impl Subject {
    #[must_use]
    pub fn selection(&self) -> &Selection {
        match self {
            Self::Hook(region) => &region.selection,
            Self::Blocks(_, selection) => selection,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(region) => region.fmt(f),
            Self::Blocks(blocks, selection) if selection.0.is_empty() => write!(f, "blocks.{blocks}"),
            Self::Blocks(blocks, selection) => write!(f, "blocks.{blocks}[{selection}]"),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calls.iter().rev().try_for_each(|call| write!(f, "{}(", call.function.name()))?;
        self.of.fmt(f)?;
        self.calls.iter().try_for_each(|call| write!(f, "{})", call.over))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(comparison, number) => write!(f, "{} {number}", comparison.sign()),
            Self::IsNan => f.write_str("is nan"),
            Self::IsInf => f.write_str("is inf"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.quantity, self.condition)
    }
}

/// How tightly a predicate binds.
fn rank(predicate: &Predicate) -> u8 {
    match predicate {
        Predicate::Or(..) => 0,
        Predicate::And(..) => 1,
        Predicate::Not(_) | Predicate::Test(_) => 2,
    }
}

/// A part, in parentheses where it binds less tightly than `least`.
struct Part<'a>(&'a Predicate, u8);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(predicate, least) = self;
        if rank(predicate) < *least { write!(f, "({predicate})") } else { predicate.fmt(f) }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(test) => test.fmt(f),
            Self::Not(inner) => write!(f, "not {}", Part(inner, 2)),
            // both group from the left
            Self::And(left, right) => write!(f, "{} and {}", Part(left, 1), Part(right, 2)),
            Self::Or(left, right) => write!(f, "{} or {}", Part(left, 0), Part(right, 1)),
        }
    }
}
