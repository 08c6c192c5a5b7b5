//! Moving between the checkpoints of a model's training.

use std::{collections::VecDeque, fmt::Write};

use super::{Effect, State};
use crate::{
    experiment::Distractor,
    model::TrainingStep,
    views::{ModelInfo, Tour},
};

/// Visit every checkpoint that is on this machine and was not yet visited with this prompt and these edits, or stop
/// doing so.
pub(super) fn tour(state: &mut State) -> Vec<Effect> {
    if state.scene.checkpoints.tour.is_some() {
        state.scene.checkpoints.stay();
        state.scene.say("staying here");
        return vec![Effect::Stay];
    }
    if state.scene.checkpoints.steps.is_empty() {
        no_steps(state);
        return vec![];
    }
    let (spec, training, stops) = (state.scene.spec(), &state.scene.checkpoints, &state.scene.stops);
    let new = |(at, step): (usize, &TrainingStep)| {
        (step.here && training.at != Some(at) && !training.was_visited(step.step, &spec, stops)).then_some(at)
    };
    let left: VecDeque<usize> = training.steps.iter().enumerate().filter_map(new).collect();
    if left.is_empty() {
        state.scene.say("every checkpoint on this machine was visited with this prompt and these edits");
        return vec![];
    }
    state.scene.checkpoints.tour = Some(Tour { left, home: state.scene.checkpoints.at });
    continue_tour(state)
}

/// Go to the next checkpoint of a tour, if one is running; at its end, return to where it began.
pub(super) fn continue_tour(state: &mut State) -> Vec<Effect> {
    let Some(tour) = &mut state.scene.checkpoints.tour else { return vec![] };
    let (next, left, home) = (tour.left.pop_front(), tour.left.len(), tour.home);
    let effects = match next.or(home.filter(|home| state.scene.checkpoints.at != Some(*home))) {
        Some(to) => travel(state, to),
        None => vec![],
    };
    if next.is_none() {
        state.scene.checkpoints.tour = None;
        state.scene.say("every checkpoint on this machine was visited");
    } else {
        state.scene.say(format!("{} checkpoints to go; Esc stays here", left + 1));
    }
    effects
}

/// Go to the checkpoint before or after the current one, or the one requested last.
pub(super) fn step_checkpoint(state: &mut State, by: isize) -> Vec<Effect> {
    state.scene.checkpoints.tour = None;
    let training = &state.scene.checkpoints;
    let n = training.steps.len();
    let reachable = |at: &usize| !training.offline || training.steps[*at].here;
    // in the same direction only; in the other, it would lead back to the current checkpoint
    let failed = training.failed.filter(|failed| training.at.is_none_or(|at| (*failed > at) == (by > 0)));
    let to = match training.wanted.or(failed).or(training.at) {
        Some(at) if by < 0 => (0..at).rev().find(reachable),
        Some(at) => (at + 1..n).find(reachable),
        // the current revision is not a step: start from the end of the list
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
            let here = if training.offline { " on this machine" } else { "" };
            let last = training.wanted.or(training.at).filter(|_| training.offline).unwrap_or(end);
            let said = format!("{} is the {word} checkpoint{here}", training.steps[last].revision);
            state.scene.say(said);
            vec![]
        }
    }
}

fn no_steps(state: &mut State) {
    let name = &state.scene.model.name;
    state.scene.refuse(
        format!(
            "{name} has no training checkpoints; models of the Pythia suite have them, and so do sibling directories named `step1000` or `checkpoint-1000`"
        ),
    );
}

/// Explore another checkpoint with the same prompt, edits and view.
pub(super) fn travel(state: &mut State, to: usize) -> Vec<Effect> {
    let Some(step) = state.scene.checkpoints.steps.get(to).cloned() else { return vec![] };
    state.scene.checkpoints.cursor = to;
    if state.scene.checkpoints.at == Some(to) {
        state.scene.say(format!("already at {}", step.revision));
        // a pending checkpoint is no longer waited for
        return if state.scene.checkpoints.wanted.take().is_some() { vec![Effect::Stay] } else { vec![] };
    }
    let mut said = format!("going to {} ...", step.revision);
    if let (None, Some((target, distractor))) = (&state.scene.target, state.scene.answer()) {
        // one token for all checkpoints, instead of each one's own likeliest
        let _ = write!(said, " (the target stays {:?})", target.text);
        state.scene.target = Some(target);
        state.scene.distractor = distractor.map_or(Distractor::None, Distractor::Chosen);
    }
    state.scene.say(said);
    (state.scene.checkpoints.wanted, state.scene.checkpoints.begun) = (Some(to), true);
    vec![Effect::Travel(step)]
}

/// The checkpoint of a number or revision.
pub(super) fn travel_to(state: &mut State, name: &str) -> Vec<Effect> {
    state.scene.checkpoints.tour = None;
    if state.scene.checkpoints.steps.is_empty() {
        no_steps(state);
        return vec![];
    }
    let named = |step: &TrainingStep| step.revision == name || step.step.to_string() == name;
    if let Some(to) = state.scene.checkpoints.steps.iter().position(named) {
        return travel(state, to);
    }
    let nearest = name.trim_start_matches("step").parse::<u64>().ok();
    let nearest = nearest.and_then(|n| state.scene.checkpoints.steps.iter().min_by_key(|step| step.step.abs_diff(n)));
    let nearest = nearest.map(|step| format!("; the nearest is {}", step.revision)).unwrap_or_default();
    state.scene.refuse(format!("there is no checkpoint `{name}`{nearest}"));
    vec![]
}

/// The requested checkpoint was loaded, or could not be.
pub(super) fn travelled(state: &mut State, step: &TrainingStep, model: Result<ModelInfo, String>) -> Vec<Effect> {
    if state.scene.checkpoints.is_wanted(step) {
        state.scene.checkpoints.wanted = None;
    }
    // the list may have grown meanwhile
    let Some(to) = state.scene.checkpoints.steps.iter().position(|known| known.step == step.step) else {
        return vec![];
    };
    match model {
        Ok(model) => {
            let revision = state.scene.checkpoints.steps.get(to).map(|step| step.revision.clone()).unwrap_or_default();
            if state.scene.checkpoints.tour.is_none() {
                state.scene.say(format!("now at {revision}"));
            }
            if let Some(step) = state.scene.checkpoints.steps.get_mut(to) {
                step.here = true;
            }
            let back = state.scene.checkpoints.at.is_some_and(|at| at > to);
            (state.scene.checkpoints.at, state.scene.checkpoints.failed) = (Some(to), None);
            state.scene.model = model;
            // a tour visits only what is on this machine
            let next = if state.scene.checkpoints.tour.is_some() {
                vec![]
            } else {
                state.scene.checkpoints.neighbours(to, back)
            };
            vec![Effect::Fetch(next)]
        }
        Err(why) => {
            state.scene.checkpoints.failed = Some(to);
            let effects = continue_tour(state);
            state.scene.refuse(format!("{}: {why}", step.revision));
            effects
        }
    }
}

/// A download ended. A failure of the requested checkpoint is reported by [`travelled`].
pub(super) fn fetched(state: &mut State, revision: &str, result: Result<(), String>) {
    state.scene.checkpoints.fetching.remove(revision);
    if let (Ok(()), Some(step)) =
        (result, state.scene.checkpoints.steps.iter_mut().find(|step| step.revision == revision))
    {
        step.here = true;
    }
}

/// The hub listed its checkpoints.
pub(super) fn listed(state: &mut State, steps: Vec<TrainingStep>) {
    let training = &mut state.scene.checkpoints;
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

/// Go to the checkpoint chosen in the list.
pub(super) fn choose(state: &mut State, number: usize) -> Vec<Effect> {
    if state.scene.checkpoints.steps.is_empty() {
        no_steps(state);
        return vec![];
    }
    state.scene.checkpoints.tour = None;
    travel(state, number)
}
