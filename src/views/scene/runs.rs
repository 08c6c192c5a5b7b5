use std::{collections::BTreeMap, sync::Arc};

use super::ModelInfo;
use crate::{
    engine::{Answer, Hold, Request, Spec, Stopped, Summary},
    hooks::HookPoint,
};

/// The wanted run, and the run on the screen.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Number of the run that is wanted.
    pub number: u64,
    pub phase: Phase,
    /// The latest finished run. While a newer one is in progress, everything on the screen still belongs to this one.
    pub shown: Option<Shown>,
    /// The latest answers, one for each request on the screen.
    pub seen: Vec<Seen>,
    /// The answer on the screen was stopped before it was complete.
    pub stopped: bool,
    /// The last wanted run: a run is due if the current specification, or how it is held, differs.
    wanted: Option<(ModelInfo, Spec, Option<Hold>)>,
}

/// The progress of the wanted run.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Blocks entered, and blocks in all (0 before the first report).
    Running {
        block: usize,
        blocks: usize,
    },
    Done,
    Failed(String),
    Cancelled,
}

/// A finished run, or one that is held.
#[derive(Clone, Debug)]
pub struct Shown {
    pub run: u64,
    /// The model of the run; another checkpoint may be explored by now.
    pub model: ModelInfo,
    pub spec: Spec,
    pub summary: Arc<Summary>,
    /// Relative change by hook.
    pub changes: BTreeMap<HookPoint, f64>,
    /// How it was to be held.
    pub hold: Option<Hold>,
    /// Where it is held; the summary then ends there, and has no prediction.
    pub held: Option<Stopped>,
}

/// An answer with its request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub run: u64,
    pub request: Request,
    /// The answer, or why there is nothing to see.
    pub answer: Result<Answer, String>,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            number: 0,
            phase: Phase::Running { block: 0, blocks: 0 },
            shown: None,
            seen: Vec::new(),
            stopped: false,
            wanted: None,
        }
    }
}

impl Runs {
    /// Want this run; it gets a new number if it differs from the last wanted one.
    pub fn want(&mut self, model: &ModelInfo, spec: &Spec, hold: Option<&Hold>) {
        let same = |(of, before, held): &(ModelInfo, Spec, Option<Hold>)| {
            of == model && before == spec && held.as_ref() == hold
        };
        if !self.wanted.as_ref().is_some_and(same) {
            self.take(model, spec, hold);
            self.number += 1;
            self.phase = Phase::Running { block: 0, blocks: 0 };
        }
    }

    /// Make the next [`Self::want`] run again, even if nothing changed.
    pub fn forget_wanted(&mut self) {
        self.wanted = None;
    }

    /// Count this run as wanted already, so that no new one is due.
    pub fn take(&mut self, model: &ModelInfo, spec: &Spec, hold: Option<&Hold>) {
        self.wanted = Some((model.clone(), spec.clone(), hold.cloned()));
    }

    /// Whether this was wanted last, held or not.
    #[must_use]
    pub fn wants(&self, model: &ModelInfo, spec: &Spec) -> bool {
        self.wanted.as_ref().is_some_and(|(of, wanted, _)| of == model && wanted == spec)
    }

    /// Where the run on the screen is held.
    #[must_use]
    pub fn held(&self) -> Option<&Stopped> {
        self.shown.as_ref()?.held.as_ref()
    }

    /// Whether a request was answered for the run on the screen.
    #[must_use]
    pub fn is_answered(&self, request: &Request) -> bool {
        let of_shown = |run| self.shown.as_ref().is_some_and(|shown| shown.run == run);
        self.seen.iter().any(|seen| of_shown(seen.run) && seen.request == *request)
    }

    /// Replace the earlier answer to a request, and drop answers that nothing on the screen requests.
    pub fn see(&mut self, answer: Seen, asked: &[Request]) {
        self.seen.retain(|seen| seen.request != answer.request && asked.contains(&seen.request));
        self.seen.push(answer);
    }

    /// Nothing of the previous prompt or model may stay on the screen.
    pub fn clear(&mut self) {
        self.shown = None;
        self.seen.clear();
    }
}
