//! Holding a pass: where it is to stop, and the breakpoints and watches.

use crate::{
    engine::Hold,
    hooks::HookPoint,
    predicate::{Match, Predicate, Quantity},
};

/// Whether passes are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holding {
    /// They run to the end, or to a breakpoint.
    #[default]
    Off,
    /// At a hook.
    At(HookPoint),
    /// One that was held goes on from a hook to the end, or to a breakpoint.
    Going { after: HookPoint },
}

/// A predicate that holds a pass where it is true, or counts where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakpoint {
    pub predicate: Predicate,
    pub on: bool,
    /// It counts the places, and lets the pass go on.
    pub logs: bool,
    /// How often it held a pass; of one that logs, the places in the run on the screen.
    pub hits: u64,
    /// The place of the latest hit.
    pub last: Option<Match>,
}

impl Breakpoint {
    #[must_use]
    pub fn new(predicate: Predicate) -> Self {
        Self { predicate, on: true, logs: false, hits: 0, last: None }
    }

    /// Whether it holds passes.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.on && !self.logs
    }
}

/// Breakpoints and watches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stops {
    pub holding: Holding,
    pub breakpoints: Vec<Breakpoint>,
    pub watches: Vec<Quantity>,
}

impl Stops {
    /// How a pass is to be held; None where nothing holds it.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        let breakpoints = || {
            let holding = self.breakpoints.iter().filter(|breakpoint| breakpoint.holds());
            holding.map(|breakpoint| breakpoint.predicate.clone()).collect::<Vec<_>>()
        };
        match self.holding {
            Holding::At(point) => Some(Hold { until: Some(point), ..Hold::default() }),
            Holding::Going { after } => Some(Hold { until: None, breakpoints: breakpoints(), after: Some(after) }),
            Holding::Off => {
                let breakpoints = breakpoints();
                (!breakpoints.is_empty()).then(|| Hold { breakpoints, ..Hold::default() })
            }
        }
    }

    /// The breakpoints that only count.
    pub fn logging(&self) -> impl Iterator<Item = &Breakpoint> {
        self.breakpoints.iter().filter(|breakpoint| breakpoint.on && breakpoint.logs)
    }

    /// Lines of the list: breakpoints, then watches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.breakpoints.len() + self.watches.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
