//! Through the training of a model: its checkpoints, which of them were visited, and the ways from one to another.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::Arc,
};

use super::{
    Action, Effect, ModelInfo, Quantity, State,
    navigate::moved,
    update::{refuse, run_again, say},
};
use crate::{
    analysis::log_normaliser,
    engine::{Measured, Spec, Summary},
    experiment::Distractor,
    model::{Progress, TrainingStep},
};

/// The checkpoints of the model's training, and what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Training {
    /// By step; none where the model does not tell.
    pub steps: Vec<TrainingStep>,
    /// The one that is explored.
    pub at: Option<usize>,
    /// The one that was asked for and is not here yet.
    pub wanted: Option<usize>,
    /// The one that could not be had last: the way goes on behind it.
    failed: Option<usize>,
    /// Nothing is downloaded: only what is here can be gone to.
    pub offline: bool,
    /// Row of the list under the cursor.
    pub cursor: usize,
    pub quantity: Quantity,
    /// Downloads that are under way, by revision.
    pub fetching: BTreeMap<String, Progress>,
    tour: Option<Tour>,
    pub(super) visits: Vec<Visit>,
    /// The run that was asked to be measured last.
    pub(super) asked: Option<u64>,
    /// Somebody went from one to another, so that runs are measured from then on.
    begun: bool,
}

/// A way through checkpoints by itself, and back.
#[derive(Clone, Debug)]
struct Tour {
    /// Numbers in the list.
    left: VecDeque<usize>,
    home: Option<usize>,
}

/// A run on a checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub step: u64,
    pub spec: Spec,
    pub summary: Arc<Summary>,
    /// What turns the logits of the run and of the baseline into log-probabilities.
    pub normalisers: (f64, f64),
    pub measured: Arc<Measured>,
}

/// Runs that are remembered: each holds the logits of a position.
const VISITS: usize = 200;

impl Training {
    #[must_use]
    pub fn new(steps: Vec<TrainingStep>, revision: Option<&str>, offline: bool) -> Self {
        let at = steps.iter().position(|step| Some(step.revision.as_str()) == revision);
        Self { cursor: at.unwrap_or(0), steps, at, offline, ..Self::default() }
    }

    fn step(&self) -> Option<u64> {
        self.at.and_then(|at| self.steps.get(at)).map(|step| step.step)
    }

    /// Whether it is the checkpoint that was asked for last.
    #[must_use]
    pub fn is_wanted(&self, step: &TrainingStep) -> bool {
        self.wanted.and_then(|to| self.steps.get(to)).is_some_and(|wanted| wanted.step == step.step)
    }

    /// Whether a run of this is known to have been measured on the checkpoint that is explored.
    fn is_measured(&self, spec: &Spec) -> bool {
        self.step().is_some_and(|step| self.was_visited(step, spec))
    }

    fn was_visited(&self, step: u64, spec: &Spec) -> bool {
        self.visits.iter().any(|visit| visit.step == step && visit.spec == *spec)
    }

    /// Go nowhere any more; whether there was anywhere to go.
    pub(super) fn stay(&mut self) -> bool {
        let toured = self.tour.take().is_some();
        self.wanted.take().is_some() || toured
    }

    /// Whether runs are to be measured: once somebody has begun to go through the training, or looks at it.
    pub(super) fn wants(&self, spec: &Spec, looked_at: bool) -> bool {
        self.at.is_some() && (self.begun || looked_at) && !self.is_measured(spec)
    }

    /// Those beside a checkpoint that are not here, the one that is likely next before the other.
    fn neighbours(&self, at: usize, back: bool) -> Vec<TrainingStep> {
        let mut beside = [Some(at + 1), at.checked_sub(1)];
        if back {
            beside.reverse();
        }
        let steps = beside.into_iter().flatten().filter_map(|at| self.steps.get(at));
        steps.filter(|step| !step.here).cloned().collect()
    }

    /// Remember what a run showed, and what was measured of it.
    pub(super) fn visited(&mut self, spec: &Spec, summary: &Arc<Summary>, measured: Arc<Measured>) {
        // the same again gives the same
        let Some(step) = self.step().filter(|_| !self.is_measured(spec)) else { return };
        let normalisers = (log_normaliser(&summary.logits), log_normaliser(&summary.baseline_logits));
        self.visits.push(Visit { step, spec: spec.clone(), summary: summary.clone(), normalisers, measured });
        if self.visits.len() > VISITS {
            self.visits.remove(0);
        }
    }
}

/// Visit every checkpoint that is here and was not yet with this prompt and these edits, or stop doing so.
pub(super) fn tour(state: &mut State) -> Vec<Effect> {
    if state.training.tour.is_some() {
        state.training.stay();
        say(state, "staying here".into());
        return vec![Effect::Stay];
    }
    if state.training.steps.is_empty() {
        no_steps(state);
        return vec![];
    }
    let (spec, training) = (state.spec(), &state.training);
    let new = |(at, step): (usize, &TrainingStep)| {
        (step.here && training.at != Some(at) && !training.was_visited(step.step, &spec)).then_some(at)
    };
    let left: VecDeque<usize> = training.steps.iter().enumerate().filter_map(new).collect();
    if left.is_empty() {
        say(state, "every checkpoint that is here was visited with this prompt and these edits".into());
        return vec![];
    }
    state.training.tour = Some(Tour { left, home: state.training.at });
    go_on(state)
}

/// To the next checkpoint of a tour, if one is under way; at its end, back to where it began.
pub(super) fn go_on(state: &mut State) -> Vec<Effect> {
    let Some(tour) = &mut state.training.tour else { return vec![] };
    let (next, left, home) = (tour.left.pop_front(), tour.left.len(), tour.home);
    let effects = match next.or(home.filter(|home| state.training.at != Some(*home))) {
        Some(to) => travel(state, to),
        None => vec![],
    };
    if next.is_none() {
        state.training.tour = None;
        say(state, "every checkpoint that is here was visited".into());
    } else {
        say(state, format!("{} checkpoints to go; Esc stays where it is", left + 1));
    }
    effects
}

/// To the checkpoint before or after the one that is explored, or was asked for last.
pub(super) fn step_checkpoint(state: &mut State, by: isize) -> Vec<Effect> {
    state.training.tour = None;
    let training = &state.training;
    let n = training.steps.len();
    let reachable = |at: &usize| !training.offline || training.steps[*at].here;
    // on the same way only; back, it would lead to where one is
    let failed = training.failed.filter(|failed| training.at.is_none_or(|at| (*failed > at) == (by > 0)));
    let to = match training.wanted.or(failed).or(training.at) {
        Some(at) if by < 0 => (0..at).rev().find(reachable),
        Some(at) => (at + 1..n).find(reachable),
        // a revision that is no step: the list begins or ends beside it
        None if by < 0 => (0..n).rev().find(reachable),
        None => (0..n).find(reachable),
    };
    match to {
        Some(to) => travel(state, to),
        None if n == 0 => {
            no_steps(state);
            vec![]
        }
        None => {
            let (end, word) = if by < 0 { (0, "first") } else { (n - 1, "last") };
            let here = if training.offline { " that is here" } else { "" };
            let last = training.wanted.or(training.at).filter(|_| training.offline).unwrap_or(end);
            let said = format!("{} is the {word} checkpoint{here}", training.steps[last].revision);
            say(state, said);
            vec![]
        }
    }
}

fn no_steps(state: &mut State) {
    let name = &state.model.name;
    refuse(
        state,
        format!(
            "{name} has no training checkpoints: those of the Pythia suite have, and directories named `step1000` or `checkpoint-1000` beside each other"
        ),
    );
}

/// Explore another checkpoint with the same prompt, edits and view.
pub(super) fn travel(state: &mut State, to: usize) -> Vec<Effect> {
    let Some(step) = state.training.steps.get(to).cloned() else { return vec![] };
    state.training.cursor = to;
    if state.training.at == Some(to) {
        say(state, format!("this is {}", step.revision));
        // one that is on its way is not waited for
        return if state.training.wanted.take().is_some() { vec![Effect::Stay] } else { vec![] };
    }
    let mut said = format!("going to {} ...", step.revision);
    if let (None, Some((target, distractor))) = (&state.target, state.answer()) {
        // one number over all checkpoints, not each one's own likeliest
        let _ = write!(said, " the target stays {:?}", target.text);
        state.target = Some(target);
        state.distractor = distractor.map_or(Distractor::None, Distractor::Chosen);
    }
    say(state, said);
    (state.training.wanted, state.training.begun) = (Some(to), true);
    vec![Effect::Travel(step)]
}

/// The checkpoint of a number or revision.
pub(super) fn travel_to(state: &mut State, name: &str) -> Vec<Effect> {
    state.training.tour = None;
    if state.training.steps.is_empty() {
        no_steps(state);
        return vec![];
    }
    let named = |step: &TrainingStep| step.revision == name || step.step.to_string() == name;
    if let Some(to) = state.training.steps.iter().position(named) {
        return travel(state, to);
    }
    let nearest = name.trim_start_matches("step").parse::<u64>().ok();
    let nearest = nearest.and_then(|n| state.training.steps.iter().min_by_key(|step| step.step.abs_diff(n)));
    let nearest = nearest.map(|step| format!("; the nearest is {}", step.revision)).unwrap_or_default();
    refuse(state, format!("there is no checkpoint `{name}`{nearest}"));
    vec![]
}

/// The checkpoint that was asked for is there, or why not.
pub(super) fn travelled(state: &mut State, step: &TrainingStep, model: Result<ModelInfo, String>) -> Vec<Effect> {
    if state.training.is_wanted(step) {
        state.training.wanted = None;
    }
    // the list may have become longer meanwhile
    let Some(to) = state.training.steps.iter().position(|known| known.step == step.step) else { return vec![] };
    match model {
        Ok(model) => {
            let revision = state.training.steps.get(to).map(|step| step.revision.clone()).unwrap_or_default();
            if state.training.tour.is_none() {
                say(state, format!("now at {revision}"));
            }
            if let Some(step) = state.training.steps.get_mut(to) {
                step.here = true;
            }
            let back = state.training.at.is_some_and(|at| at > to);
            (state.training.at, state.training.failed) = (Some(to), None);
            state.model = model;
            run_again(state);
            // a tour goes to what is here
            let next = if state.training.tour.is_some() { vec![] } else { state.training.neighbours(to, back) };
            vec![Effect::Fetch(next)]
        }
        Err(why) => {
            state.training.failed = Some(to);
            let effects = go_on(state);
            refuse(state, format!("{}: {why}", step.revision));
            effects
        }
    }
}

/// A download ended: that of what was asked for is told by what comes of it.
pub(super) fn fetched(state: &mut State, revision: &str, result: Result<(), String>) {
    state.training.fetching.remove(revision);
    if let (Ok(()), Some(step)) = (result, state.training.steps.iter_mut().find(|step| step.revision == revision)) {
        step.here = true;
    }
}

/// The hub told which checkpoints there are.
pub(super) fn listed(state: &mut State, steps: Vec<TrainingStep>) {
    let training = &mut state.training;
    let same = |at: Option<usize>, old: &[TrainingStep]| {
        let step = old.get(at?)?.step;
        steps.iter().position(|other| other.step == step)
    };
    training.wanted = same(training.wanted, &training.steps);
    training.cursor = same(Some(training.cursor), &training.steps).unwrap_or(0);
    training.at = same(training.at, &training.steps);
    training.failed = same(training.failed, &training.steps);
    training.steps = steps;
}

/// Moving in the list of checkpoints; Enter goes to the one under the cursor.
pub(super) fn navigate(state: &mut State, action: Action, page: isize) -> Vec<Effect> {
    match action {
        Action::Enter if state.training.steps.is_empty() => no_steps(state),
        Action::Enter => {
            state.training.tour = None;
            return travel(state, state.training.cursor);
        }
        _ => {
            let action = match action {
                Action::Left => Action::Up,
                Action::Right => Action::Down,
                other => other,
            };
            state.training.cursor = moved(state.training.cursor, action, page, state.training.steps.len());
        }
    }
    vec![]
}
