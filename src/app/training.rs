//! Through the training of a model: its checkpoints, the ones that were visited, and what was measured there.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

use super::{
    Action, Distractor, Effect, ModelInfo, Score, State,
    navigate::{cycle, moved},
    update::{refuse, run_again, say},
};
use crate::{
    analysis::log_normaliser,
    engine::{Measured, Measures, Spec, Summary},
    model::{Progress, TrainingStep},
    names,
};

/// What is looked at over the steps that were visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantity {
    /// Of the target, after the last position.
    #[default]
    Probability,
    /// Target less distractor, after the last position.
    LogitDifference,
    /// KL(baseline || edited), after the last position.
    Kl,
    /// Of the selected head.
    Head(Score),
    /// The L2 norm of the selected hook's activation.
    Norm,
}

impl Quantity {
    pub const ALL: [Self; 9] = [
        Self::Probability,
        Self::LogitDifference,
        Self::Kl,
        Self::Head(Score::PreviousToken),
        Self::Head(Score::Induction),
        Self::Head(Score::DuplicateToken),
        Self::Head(Score::FirstToken),
        Self::Head(Score::Entropy),
        Self::Norm,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::LogitDifference => "logit-diff",
            Self::Kl => "kl",
            Self::Head(Score::PreviousToken) => "previous-token",
            Self::Head(Score::Induction) => "induction",
            Self::Head(Score::DuplicateToken) => "duplicate-token",
            Self::Head(Score::FirstToken) => "first-token",
            Self::Head(Score::Entropy) => "entropy",
            Self::Norm => "norm",
        }
    }
}

/// Its name in files.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find("number", name, &Self::ALL, Self::name)
    }
}

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
    visits: Vec<Visit>,
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
struct Visit {
    step: u64,
    spec: Spec,
    summary: Arc<Summary>,
    /// What turns the logits of the run and of the baseline into log-probabilities.
    normalisers: (f64, f64),
    measured: Arc<Measured>,
}

/// Runs that are remembered: each holds the logits of a position.
const VISITS: usize = 200;

/// A quantity at a step: of the run and, with edits, of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Number in the list of steps.
    pub at: usize,
    pub value: f64,
    pub baseline: Option<f64>,
}

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

impl State {
    /// What the quantity is, of what.
    #[must_use]
    pub fn quantity_title(&self) -> String {
        let answer = self.answer();
        let likeliest = if self.target.is_none() { ", likeliest here" } else { "" };
        let target = || answer.as_ref().map(|(target, _)| format!("{:?}", target.text)).unwrap_or_default();
        match self.training.quantity {
            Quantity::Probability => format!("probability of {}{likeliest}", target()),
            Quantity::LogitDifference => {
                let distractor = answer.as_ref().and_then(|(_, d)| d.as_ref()).map(|d| format!(" less {:?}", d.text));
                format!("logit of {}{}", target(), distractor.unwrap_or_default())
            }
            Quantity::Kl => "KL(baseline || edited), nats".into(),
            Quantity::Head(score) => format!("L{}H{}: {}", self.block(), self.head, score.title()),
            Quantity::Norm => format!("L2 norm of {}", self.point()),
        }
    }

    /// The quantity over the steps that were visited with this prompt and these edits, by step.
    #[must_use]
    pub fn over_training(&self) -> Vec<Point> {
        let Some(spec) = self.shown.as_ref().map(|shown| &shown.spec) else { return vec![] };
        let answer = self.answer();
        let visits = self.training.visits.iter().filter(|visit| visit.spec == *spec);
        let mut points: Vec<Point> = visits
            .filter_map(|visit| {
                let at = self.training.steps.iter().position(|step| step.step == visit.step)?;
                let edited = !spec.edits.is_empty();
                let summary = &visit.summary;
                let (norm, baseline_norm) = visit.normalisers;
                let of_logits = |of: &dyn Fn(&[f32], f64) -> f64| {
                    let baseline = edited.then(|| of(&summary.baseline_logits, baseline_norm));
                    Some((of(&summary.logits, norm), baseline))
                };
                let of_measures = |of: &dyn Fn(&Measures) -> Option<f64>| {
                    let measured = &visit.measured;
                    Some((of(&measured.run)?, measured.baseline.as_ref().and_then(of)))
                };
                let logit = |row: &[f32], id: u32| row.get(id as usize).map_or(f64::NAN, |x| f64::from(*x));
                let (block, head, point) = (self.block(), self.head, self.point());
                let (value, baseline) = match self.training.quantity {
                    Quantity::Probability => {
                        let target = answer.as_ref()?.0.id;
                        of_logits(&|row: &[f32], norm: f64| (logit(row, target) - norm).exp())
                    }
                    Quantity::LogitDifference => {
                        let (target, distractor) = answer.as_ref()?;
                        let other = |row: &[f32]| distractor.as_ref().map_or(0.0, |d| logit(row, d.id));
                        of_logits(&|row: &[f32], _| logit(row, target.id) - other(row))
                    }
                    Quantity::Kl => summary.kl.last().map(|kl| (*kl, None)),
                    Quantity::Head(score) => of_measures(&|m| Some(score.of(m.heads.get(block)?.get(head)?))),
                    Quantity::Norm => of_measures(&|m| m.norms.get(&point).copied()),
                }?;
                Some(Point { at, value, baseline })
            })
            .collect();
        points.sort_by_key(|point| point.at);
        points
    }
}

/// Another quantity; KL only where there is one.
pub(super) fn next_quantity(state: &mut State) {
    let edited = state.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty());
    let mut next = cycle(&Quantity::ALL, state.training.quantity, 1);
    if next == Quantity::Kl && !edited {
        next = cycle(&Quantity::ALL, next, 1);
    }
    state.training.quantity = next;
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
