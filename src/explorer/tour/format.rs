//! A tour as text: an experiment's keys, and steps with captions. TOML, versioned, meant to be written by hand.

use serde::Deserialize;
use toml::Spanned;

use crate::{
    engine::Metric,
    experiment::{self, Line, processed, text},
    explorer::saved_view::{Experiment, SavedView},
    model::Processing,
};

/// The contents of a tour's file: the keys of an experiment, which apply to every step, and the steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TourText {
    version: i64,
    pub title: String,
    model: String,
    revision: Option<String>,
    #[serde(default = "processed", with = "text")]
    processing: Processing,
    prompt: Option<String>,
    tokens: Option<Spanned<Vec<u32>>>,
    contrast: Option<String>,
    contrast_tokens: Option<Spanned<Vec<u32>>>,
    #[serde(default)]
    prepend_bos: bool,
    #[serde(default)]
    enable: Vec<Spanned<String>>,
    #[serde(default, with = "text::option")]
    metric: Option<Metric>,
    target: Option<Spanned<String>>,
    distractor: Option<Spanned<String>>,
    #[serde(default)]
    pub step: Vec<StepText>,
}

/// A step: its caption, and the explorer's state.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepText {
    pub title: String,
    /// One to three sentences.
    pub say: String,
    pub formula: Option<String>,
    /// Keys by their names, separated by spaces.
    pub press: Option<Spanned<String>>,
    /// What the keys are for.
    pub to: Option<Spanned<String>>,
    /// Replaces the tour's prompt.
    prompt: Option<String>,
    /// Replaces the tour's contrast prompt; empty for none.
    contrast: Option<String>,
    #[serde(default)]
    edit: Vec<Line>,
    /// By default, the view of the step before.
    view: Option<Spanned<SavedView>>,
}

impl StepText {
    /// Whether the step has its own prompt.
    pub fn has_prompt(&self) -> bool {
        self.prompt.is_some()
    }

    /// Whether the step has its own contrast prompt, or removes the tour's.
    pub fn has_contrast(&self) -> bool {
        self.contrast.is_some()
    }
}

impl TourText {
    /// # Errors
    /// As for an experiment.
    pub fn parse(text: &str) -> Result<Self, experiment::Wrong> {
        experiment::parsed(text, "tour")
    }

    /// The experiment before the first step, and after the tour has been left.
    pub fn head(&self) -> Experiment {
        Experiment {
            version: self.version,
            model: self.model.clone(),
            revision: self.revision.clone(),
            processing: self.processing,
            prompt: self.prompt.clone(),
            tokens: self.tokens.clone(),
            contrast: self.contrast.clone(),
            contrast_tokens: self.contrast_tokens.clone(),
            prepend_bos: self.prepend_bos,
            enable: self.enable.clone(),
            metric: self.metric,
            target: self.target.clone(),
            distractor: self.distractor.clone(),
            circuit: None,
            grid: None,
            dictionary: vec![],
            vector: vec![],
            edit: vec![],
            breakpoint: vec![],
            watch: vec![],
            continuation: None,
            view: None,
        }
    }

    /// The experiment of each step.
    pub fn experiments(&self) -> Vec<Experiment> {
        let mut view = None;
        let experiment = |step: &StepText| {
            view = step.view.clone().or(view.take());
            let mut experiment = Experiment { edit: step.edit.clone(), view: view.clone(), ..self.head() };
            if let Some(prompt) = &step.prompt {
                (experiment.prompt, experiment.tokens) = (Some(prompt.clone()), None);
            }
            if let Some(contrast) = &step.contrast {
                let contrast = Some(contrast.clone()).filter(|text| !text.is_empty());
                (experiment.contrast, experiment.contrast_tokens) = (contrast, None);
            }
            experiment
        };
        self.step.iter().map(experiment).collect()
    }
}
