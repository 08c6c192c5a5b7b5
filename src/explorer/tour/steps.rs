//! A tour that was checked against a model, and its current step.

use std::collections::BTreeSet;

use crate::{
    engine::Compare,
    experiment::{Distractor, Token},
    explorer::{
        jumps::Jumps,
        saved_view::{Experiment, Setup},
    },
    hooks::HookPoint,
    keys::Key,
    views::{Cursor, EditList, Focus, Panels, Prompts, Tab, Trees, Views},
};

/// A tour of the current model: at least one step.
#[derive(Clone, Debug)]
pub struct Tour {
    pub title: String,
    steps: Vec<Step>,
    /// The current step, and the state before the first.
    pub(super) on: Option<(usize, Box<Before>)>,
}

/// A step: its caption, and the state it sets up.
#[derive(Clone, Debug)]
pub struct Step {
    pub title: String,
    pub say: String,
    pub formula: Option<String>,
    pub press: Option<Press>,
    pub setup: Setup,
}

/// Keys to press.
#[derive(Clone, Debug)]
pub struct Press {
    /// The default bindings.
    pub keys: Vec<Key>,
    /// What they are for: `ablate head 2`.
    pub to: String,
}

/// The user's state before the tour.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub experiment: Experiment,
    pub tab: Tab,
    pub views: Views,
    pub prompts: Prompts,
    pub trees: Trees,
    pub cursor: Cursor,
    pub target: Option<Token>,
    pub distractor: Distractor,
    pub edits: EditList,
    pub compare: Compare,
    pub enabled: BTreeSet<HookPoint>,
    pub focus: Focus,
    pub panels: Panels,
    pub jumps: Jumps,
}

impl Tour {
    pub(super) fn new(title: String, steps: Vec<Step>) -> Self {
        Self { title, steps, on: None }
    }

    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The current step, with its number from 0.
    #[must_use]
    pub fn step(&self) -> Option<(usize, &Step)> {
        let (at, _) = self.on.as_ref()?;
        Some((*at, self.steps.get(*at)?))
    }

    /// What is explored apart from the tour, while one is running.
    pub(in crate::explorer) fn left(&self) -> Option<&Experiment> {
        self.on.as_ref().map(|(_, before)| &before.experiment)
    }

    /// End the tour without restoring the state before it.
    pub(in crate::explorer) fn end(&mut self) {
        self.on = None;
    }
}
