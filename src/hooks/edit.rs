use std::fmt;

use super::{Axis, AxisSelection, HookPoint, Op, Selection, Slot, Target, features::FEATURES};

/// One line of the edit grammar: `TARGET [ '[' SELECTION ']' ] OP`, where `TARGET` may be the features of a dictionary
/// (`blocks.0.hook_resid_post.hook_sae_acts_post`); or a path, `SENDER -> RECEIVER OP`, whose parts are targets with
/// selections.
///
/// Parsing checks the names; whether blocks, axes and indices exist is checked against a model and a prompt.
/// `Display` writes the canonical form, which parses to an equal edit.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The sender of a path; the target is then the receiver.
    pub sender: Option<Region>,
    /// It is of the features of the dictionary at the target.
    pub features: bool,
    pub target: Target,
    pub selection: Selection,
    pub op: Op,
}

/// One hook, or the same hook in several blocks, with a selection: `TARGET [ '[' SELECTION ']' ]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    pub target: Target,
    pub selection: Selection,
}

impl Edit {
    /// An edit of one hook, at one index along each of the given axes.
    #[must_use]
    pub fn at(point: HookPoint, places: &[(Axis, usize)], op: Op) -> Self {
        let slot = |at: usize| Slot::Index(i64::try_from(at).unwrap_or(i64::MAX));
        let along = |(axis, at): &(Axis, usize)| AxisSelection { axis: *axis, slots: vec![slot(*at)] };
        Self {
            sender: None,
            features: false,
            target: point.into(),
            selection: Selection(places.iter().map(along).collect()),
            op,
        }
    }

    /// An edit of a feature of the dictionary at a hook, at one index along each of the other axes that are given.
    #[must_use]
    pub fn of_feature(point: HookPoint, feature: usize, places: &[(Axis, usize)], op: Op) -> Self {
        let places: Vec<(Axis, usize)> = places.iter().copied().chain([(Axis::DSae, feature)]).collect();
        Self { features: true, ..Self::at(point, &places, op) }
    }
}

impl From<HookPoint> for Edit {
    /// Zero-ablation of a whole hook.
    fn from(point: HookPoint) -> Self {
        Edit { sender: None, features: false, target: point.into(), selection: Selection::default(), op: Op::Set(0.0) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Part(&self.target, false, &self.selection).fmt(f)
    }
}

/// A target with its selection.
struct Part<'a>(&'a Target, bool, &'a Selection);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, if self.1 { FEATURES } else { "" })?;
        if self.2.0.is_empty() { Ok(()) } else { write!(f, "[{}]", self.2) }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Region { target, selection }) = &self.sender {
            write!(f, "{} -> ", Part(target, false, selection))?;
        }
        write!(f, "{} {}", Part(&self.target, self.features, &self.selection), self.op)
    }
}
