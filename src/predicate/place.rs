//! Where a predicate holds.

use std::fmt;

use crate::hooks::{Axis, HookPoint};

/// A hook, with an index along each axis that no function has reduced; LayerNorm's axis of one is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub point: HookPoint,
    pub at: Vec<(Axis, usize)>,
}

/// A place that was found, and the value there of the quantity that is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    pub place: Place,
    pub value: f64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point.fmt(f)?;
        for (i, (axis, index)) in self.at.iter().enumerate() {
            write!(f, "{}{axis}={index}", if i == 0 { "[" } else { " " })?;
        }
        f.write_str(if self.at.is_empty() { "" } else { "]" })
    }
}
