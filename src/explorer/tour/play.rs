//! Going through a tour: each step sets the explorer up, and leaving the tour restores the previous state.

use super::steps::{Before, Tour};
use crate::{
    explorer::{jumps::Jumps, saved_view::Experiment, state::State},
    hooks::HookPoint,
    keys::Action,
    views::{EditList, Focus, Panels, Tab, Views},
};

impl State {
    /// Set the tour of the current model, if it has one.
    pub fn have_tour(&mut self, tour: Option<Tour>) {
        self.tour = tour;
    }

    /// Go to the first step of the tour.
    pub fn start_tour(&mut self) {
        next(self);
    }

    /// Tell a new user that there is a tour, unless there is another message.
    pub fn welcome(&mut self) {
        if self.scene.message.is_some() {
            return;
        }
        let key = self.scene.key(Action::Tour);
        self.scene.say(match &self.tour {
            Some(_) => format!("new here? {key} takes the tour"),
            None => "new here? `pythia-tui --tour` takes the tour".into(),
        });
    }

    /// The experiment to save for this session: during a tour, the one before it.
    #[must_use]
    pub fn session(&self) -> Experiment {
        self.tour.as_ref().and_then(Tour::left).cloned().unwrap_or_else(|| self.experiment())
    }
}

/// Start the tour, or go to its next step.
pub(in crate::explorer) fn next(state: &mut State) {
    let Some(tour) = &state.tour else {
        return state.scene.refuse("the tour is for another model: `pythia-tui --tour` starts it");
    };
    let to = tour.step().map_or(0, |(at, _)| at + 1);
    if to == tour.steps().len() {
        let leave = state.scene.key(Action::Escape);
        return state.scene.say(format!("this is the last step; {leave} leaves the tour"));
    }
    show(state, to);
}

/// Go to the previous step.
pub(in crate::explorer) fn back(state: &mut State) {
    let at = state.tour.as_ref().and_then(Tour::step).map(|(at, _)| at);
    match at {
        None => {
            let start = state.scene.key(Action::Tour);
            state.scene.refuse(format!("no tour is running; {start} starts it"));
        }
        Some(0) => state.scene.say("this is the first step"),
        Some(at) => show(state, at - 1),
    }
}

/// Set up a step, independently of the step before.
fn show(state: &mut State, at: usize) {
    let before = before(state);
    let Some(tour) = &mut state.tour else { return };
    let Some(setup) = tour.steps().get(at).map(|step| step.setup.clone()) else { return };
    let before = match tour.on.take() {
        Some((_, before)) => before,
        None => Box::new(before),
    };
    state.scene.trees = before.trees.clone();
    state.scene.trees.is_modules = false;
    tour.on = Some((at, before));
    (state.views, state.tab, state.jumps) = (Views::default(), Tab::Shape, Jumps::default());
    let scene = &mut state.scene;
    scene.select(HookPoint::Embed);
    scene.cursor.head = 0;
    (scene.edits, scene.layout.focus) = (EditList::default(), Focus::Tree);
    if scene.layout.panels == Panels::Focused {
        scene.layout.panels = Panels::All;
    }
    // edits are undone only back to none
    state.set_up(setup);
    for tab in Tab::ALL {
        // as if the hook had just been selected, whichever was selected before
        state.views.get_mut(*tab).hook_changed(HookPoint::Embed, &state.scene);
    }
}

/// Restore the state before the tour; returns whether a tour was running.
pub(in crate::explorer) fn leave(state: &mut State) -> bool {
    let Some((_, before)) = state.tour.as_mut().and_then(|tour| tour.on.take()) else { return false };
    let scene = &mut state.scene;
    if scene.prompts.tokens != before.prompts.tokens {
        // nothing of the tour's prompt may stay on the screen
        scene.runs.clear();
    }
    scene.schema.set_enabled(before.enabled);
    (scene.prompts, scene.trees, scene.cursor) = (before.prompts, before.trees, before.cursor);
    (scene.target, scene.distractor) = (before.target, before.distractor);
    (scene.edits, scene.chosen_compare) = (before.edits, before.compare);
    (scene.layout.focus, scene.layout.panels) = (before.focus, before.panels);
    (state.tab, state.views, state.jumps) = (before.tab, before.views, before.jumps);
    let again = state.scene.key(Action::Tour);
    state.scene.say(format!("left the tour; {again} starts it again"));
    true
}

fn before(state: &State) -> Before {
    let scene = &state.scene;
    Before {
        experiment: state.experiment(),
        tab: state.tab,
        views: state.views.clone(),
        prompts: scene.prompts.clone(),
        trees: scene.trees.clone(),
        cursor: scene.cursor.clone(),
        target: scene.target.clone(),
        distractor: scene.distractor.clone(),
        edits: scene.edits.clone(),
        compare: scene.chosen_compare,
        enabled: scene.schema.enabled().clone(),
        focus: scene.layout.focus,
        panels: scene.layout.panels,
        jumps: state.jumps.clone(),
    }
}
