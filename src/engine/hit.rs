use crate::predicate::Match;

/// A breakpoint that is true at a hook, or in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its number among the breakpoints.
    pub breakpoint: usize,
    /// The first place where it holds.
    pub first: Match,
    /// Places where it holds: of the hook at which a pass stopped, or of the whole run.
    pub places: usize,
}
