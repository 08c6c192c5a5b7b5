//! The checkpoints of a model's training, and the runs on them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::Stops;
use crate::{
    analysis::log_normaliser,
    engine::{CheckpointMetrics, Spec, Summary},
    hooks::HookPoint,
    model::{Progress, TrainingStep, WeightHashes},
    predicate::{Predicate, Quantity},
};

/// The checkpoints of the model's training, and their state.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// By step; empty if the model's training is unknown.
    pub steps: Vec<TrainingStep>,
    /// The current checkpoint.
    pub at: Option<usize>,
    /// The requested checkpoint, which is not loaded yet.
    pub wanted: Option<usize>,
    /// The checkpoint that could not be loaded last; moving on skips it.
    pub(crate) failed: Option<usize>,
    /// Nothing is downloaded, so only checkpoints on this machine can be visited.
    pub offline: bool,
    /// The row of the list under the cursor.
    pub cursor: usize,
    /// Downloads in progress, by revision.
    pub fetching: BTreeMap<String, Progress>,
    pub(crate) tour: Option<Tour>,
    pub(crate) visits: Vec<Visit>,
    /// The hashes of the weight files of checkpoints that were gone to, and of `main`, by revision.
    hashes: BTreeMap<String, WeightHashes>,
    /// For each of them another with the same weights, if there is one.
    same_weights: BTreeMap<String, String>,
    /// The run whose measurement was requested last.
    pub(crate) asked: Option<u64>,
    /// The user has moved between checkpoints, so runs are measured from now on.
    pub(crate) begun: bool,
}

/// An automatic visit of checkpoints, and the way back.
#[derive(Clone, Debug)]
pub(crate) struct Tour {
    /// The checkpoints still to visit, by number in the list.
    pub left: VecDeque<usize>,
    pub home: Option<usize>,
}

/// A run on a checkpoint.
#[derive(Clone, Debug)]
pub struct Visit {
    pub step: u64,
    pub spec: Spec,
    pub summary: Arc<Summary>,
    /// The normalisers of the run's logits and of the baseline's: a logit minus its normaliser is a log-probability.
    pub normalisers: (f64, f64),
    pub measured: Arc<CheckpointMetrics>,
    pub noted: Noted,
}

/// What the watches and the breakpoints that log found in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// The last value of each watch at each hook.
    pub watches: Vec<(Quantity, BTreeMap<HookPoint, f64>)>,
    /// Each logging breakpoint with the number of its places.
    pub logged: Vec<(Predicate, u64)>,
}

impl Noted {
    /// Whether it has something of every watch and every logging breakpoint.
    fn covers(&self, stops: &Stops) -> bool {
        let watch = |watch: &Quantity| self.watches.iter().any(|(of, _)| of == watch);
        let logged = |of: &Predicate| self.logged.iter().any(|(predicate, _)| predicate == of);
        stops.watches.iter().all(watch) && stops.logging().all(|breakpoint| logged(&breakpoint.predicate))
    }
}

/// The number of runs that are remembered; each holds the logits of a position.
const VISITS: usize = 200;

impl Checkpoints {
    #[must_use]
    pub fn new(steps: Vec<TrainingStep>, revision: Option<&str>, offline: bool) -> Self {
        let at = steps.iter().position(|step| Some(step.revision.as_str()) == revision);
        Self { cursor: at.unwrap_or(0), steps, at, offline, ..Self::default() }
    }

    fn step(&self) -> Option<u64> {
        self.at.and_then(|at| self.steps.get(at)).map(|step| step.step)
    }

    /// The revision of the current checkpoint.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.at.and_then(|at| self.steps.get(at)).map(|step| step.revision.as_str())
    }

    /// Another revision that a checkpoint is a copy of: one with the same weights, preferably `main`. The last checkpoint
    /// and `main` are one.
    #[must_use]
    pub fn copy_of(&self, at: usize) -> Option<&str> {
        let revision = &self.steps.get(at)?.revision;
        let is_last = revision == "main" || at + 1 == self.steps.len();
        self.same_weights.get(revision).filter(|_| !is_last).map(String::as_str)
    }

    /// Remember the hashes of a revision's weight files.
    pub(crate) fn hashed(&mut self, revision: String, hashes: WeightHashes) {
        self.hashes.insert(revision, hashes);
        let revisions: Vec<&String> = self.hashes.keys().collect();
        let groups = WeightHashes::copies(&self.hashes.values().collect::<Vec<_>>());
        let groups = groups.into_iter().map(|group| group.into_iter().map(|at| revisions[at]).collect::<Vec<_>>());
        let other = |revision: &String, group: &[&String]| {
            let others = || group.iter().filter(|other| **other != revision);
            others().find(|other| **other == "main").or_else(|| others().next()).map(|other| (*other).clone())
        };
        let named = groups.flat_map(|group| {
            group
                .iter()
                .filter_map(|revision| Some(((*revision).clone(), other(revision, &group)?)))
                .collect::<Vec<_>>()
        });
        self.same_weights = named.collect();
    }

    /// Whether it is the checkpoint that was requested last.
    #[must_use]
    pub fn is_wanted(&self, step: &TrainingStep) -> bool {
        self.wanted.and_then(|to| self.steps.get(to)).is_some_and(|wanted| wanted.step == step.step)
    }

    /// Whether a run with this specification, and with these watches and breakpoints, was already measured on the current
    /// checkpoint.
    fn is_measured(&self, spec: &Spec, stops: &Stops) -> bool {
        self.step().is_some_and(|step| self.was_visited(step, spec, stops))
    }

    pub(crate) fn was_visited(&self, step: u64, spec: &Spec, stops: &Stops) -> bool {
        self.visits.iter().any(|visit| visit.step == step && visit.spec == *spec && visit.noted.covers(stops))
    }

    /// What was noted on the visited checkpoints with this specification, by step.
    fn noted<'a>(&'a self, spec: &'a Spec) -> BTreeMap<u64, &'a Noted> {
        self.visits.iter().filter(|visit| visit.spec == *spec).map(|visit| (visit.step, &visit.noted)).collect()
    }

    /// A watch over the visited checkpoints, by step: its last value at a hook or, where it has none there, at its last hook.
    #[must_use]
    pub fn watched(&self, spec: &Spec, watch: &Quantity, point: HookPoint) -> Vec<f64> {
        let value = |noted: &Noted| {
            let (_, values) = noted.watches.iter().find(|(of, _)| of == watch)?;
            values.get(&point).or_else(|| values.values().next_back()).copied()
        };
        self.noted(spec).into_values().filter_map(value).collect()
    }

    /// Of the visited checkpoints, on how many a logging breakpoint was true, on how many it was looked for, and the first step.
    #[must_use]
    pub fn logged(&self, spec: &Spec, when: &Predicate) -> (usize, usize, Option<u64>) {
        let of = |(step, noted): (u64, &Noted)| {
            let (_, places) = noted.logged.iter().find(|(of, _)| of == when)?;
            Some((step, *places))
        };
        let all: Vec<(u64, u64)> = self.noted(spec).into_iter().filter_map(of).collect();
        let mut hits = all.iter().filter(|(_, places)| *places > 0);
        (hits.clone().count(), all.len(), hits.next().map(|(step, _)| *step))
    }

    /// Stop going to another checkpoint; returns whether one was requested.
    pub(crate) fn stay(&mut self) -> bool {
        let toured = self.tour.take().is_some();
        self.wanted.take().is_some() || toured
    }

    /// Whether to measure runs: once the user moves through the training, or looks at it.
    pub(crate) fn wants(&self, spec: &Spec, looked_at: bool, stops: &Stops) -> bool {
        self.at.is_some() && (self.begun || looked_at) && !self.is_measured(spec, stops)
    }

    /// The neighbours of a checkpoint that are not on this machine, the likelier next one first.
    pub(crate) fn neighbours(&self, at: usize, back: bool) -> Vec<TrainingStep> {
        let mut beside = [Some(at + 1), at.checked_sub(1)];
        if back {
            beside.reverse();
        }
        let steps = beside.into_iter().flatten().filter_map(|at| self.steps.get(at));
        steps.filter(|step| !step.here).cloned().collect()
    }

    /// Remember the results and measurements of a run, in place of an earlier one of the same specification.
    pub(crate) fn visited(
        &mut self,
        spec: &Spec,
        summary: &Arc<Summary>,
        measured: Arc<CheckpointMetrics>,
        noted: Noted,
    ) {
        let Some(step) = self.step() else { return };
        self.visits.retain(|visit| visit.step != step || visit.spec != *spec);
        let normalisers = (log_normaliser(&summary.logits), log_normaliser(&summary.baseline_logits));
        self.visits.push(Visit { step, spec: spec.clone(), summary: summary.clone(), normalisers, measured, noted });
        if self.visits.len() > VISITS {
            self.visits.remove(0);
        }
    }
}
