//! The state that every view and panel is drawn from: the model, the prompts, the cursor, the edits and the runs. Split
//! into parts that change together.

mod checkpoints;
mod cursor;
mod edits;
mod holding;
mod layout;
mod model;
mod prompts;
mod reading;
mod runs;
mod tree;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    engine::{Ask, Compare, EditEffect, NOT_YET, Prediction, Reading, Spec},
    experiment::{DictionaryLine, Distractor, EditLine, Results, Token},
    hooks::{Axis, Edit, HookPoint, Plan, Schema},
    keys::{Action, Keymap},
};

pub(crate) use checkpoints::Tour;
pub use checkpoints::{Checkpoints, Noted};
pub use cursor::Cursor;
pub use edits::{EditList, Setting};
pub use holding::{Breakpoint, Holding, Stops};
pub use layout::{Areas, Focus, Layout, Panels, inside};
pub use model::ModelInfo;
pub use prompts::Prompts;
pub use runs::{Phase, Runs, Seen, Shown};
pub use tree::{Entry, Node, Tree, Trees, hook_name};

/// The state that every view and panel is drawn from.
#[derive(Clone, Debug)]
pub struct Scene {
    pub model: ModelInfo,
    /// The hooks of the model, and which of the opt-in ones are on.
    pub schema: Schema,
    /// The dictionaries, as an experiment records them.
    pub dictionaries: Vec<DictionaryLine>,
    pub keys: Keymap,
    pub prompts: Prompts,
    pub trees: Trees,
    pub cursor: Cursor,
    pub target: Option<Token>,
    pub distractor: Distractor,
    pub edits: EditList,
    pub stops: Stops,
    /// What the views show if there are edits.
    pub chosen_compare: Compare,
    /// What is shown of activations.
    pub reading: Reading,
    pub runs: Runs,
    pub checkpoints: Checkpoints,
    /// A table of grid or corpus that was opened.
    pub results: Option<Arc<Results>>,
    pub layout: Layout,
    pub message: Option<Message>,
    /// The name of another model that this one is compared with.
    pub against: Option<String>,
}

/// A line at the bottom of the screen until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub error: bool,
}

impl Scene {
    /// Show a message until the next key.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: false });
    }

    /// Show an error until the next key.
    pub fn refuse(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: true });
    }

    /// The first key of an action, as the screen shows it.
    #[must_use]
    pub fn key(&self, action: Action) -> String {
        self.keys.key(action)
    }

    /// Tokens of the run: of the prompt, and of a continuation that is looked at with it.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.prompts.tokens
    }

    /// The hook that the views are about.
    #[must_use]
    pub fn point(&self) -> HookPoint {
        self.trees.shown().point()
    }

    /// Select a hook.
    pub fn select(&mut self, point: HookPoint) {
        self.trees.shown_mut().reveal(point);
    }

    /// The block whose attention is shown: the selected hook's, or the one next to it in the pass.
    #[must_use]
    pub fn block(&self) -> usize {
        match self.point() {
            HookPoint::Block(block, _) => block,
            HookPoint::Tokens | HookPoint::Embed => 0,
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => self.schema.dims.n_layers.saturating_sub(1),
        }
    }

    /// The number of indices along an axis, for this prompt.
    #[must_use]
    pub fn size(&self, axis: Axis) -> usize {
        self.schema.size(axis, self.tokens().len())
    }

    /// Labels of the indices along an axis: tokens for positions, else numbers.
    #[must_use]
    pub fn labels(&self, axis: Axis) -> Vec<String> {
        if axis.is_position() {
            return self.tokens().iter().map(|token| token.text.clone()).collect();
        }
        (0..self.size(axis)).map(|i| i.to_string()).collect()
    }

    /// The tokens of the logit difference: the target and, unless its logit is used alone, the distractor. By default
    /// they are the baseline's likeliest after the last position.
    #[must_use]
    pub fn answer(&self) -> Option<(Token, Option<Token>)> {
        let likely = self.runs.shown.as_ref().and_then(|shown| shown.summary.was.last());
        let likely = likely.map_or(&[][..], |row| row.as_slice());
        let token = |p: &Prediction| Token { id: p.id, text: p.text.clone() };
        let target = self.target.clone().or_else(|| likely.first().map(token))?;
        let distractor = match &self.distractor {
            Distractor::None => None,
            Distractor::Chosen(token) => Some(token.clone()),
            Distractor::Likeliest => likely.iter().find(|p| p.id != target.id).map(token),
        };
        Some((target, distractor))
    }

    /// Whether the run on the screen has edits.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.runs.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty())
    }

    /// Whether the run on the screen stands beside another: its baseline, or a run of another model.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.is_edited() || self.against.is_some()
    }

    /// What the screen compares; nothing if there is no other run.
    #[must_use]
    pub fn compare(&self) -> Compare {
        if self.is_compared() { self.chosen_compare } else { Compare::Edited }
    }

    /// Which of two models is shown, or their difference; this one if there is no other.
    #[must_use]
    pub fn compared_models(&self) -> Compare {
        if self.against.is_some() { self.compare() } else { Compare::Edited }
    }

    /// What the sides of a comparison are called, in the order of [`Compare::ALL`].
    #[must_use]
    pub fn sides(&self) -> [&'static str; 3] {
        match self.against {
            Some(_) => ["this", "difference", "that"],
            None => Compare::ALL.map(Compare::title),
        }
    }

    /// What a side of a comparison is called.
    #[must_use]
    pub fn side(&self, compare: Compare) -> &'static str {
        let [edited, difference, baseline] = self.sides();
        match compare {
            Compare::Edited => edited,
            Compare::Difference => difference,
            Compare::Baseline => baseline,
        }
    }

    /// The run that stands beside the one on the screen, as tables name it: the other model, or the baseline.
    #[must_use]
    pub fn beside(&self) -> &str {
        match &self.against {
            None => "baseline",
            Some(other) if *other == self.model.name => "that",
            Some(other) => other,
        }
    }

    /// KL between the two sides, in the field's notation.
    #[must_use]
    pub fn kl_title(&self) -> &'static str {
        if self.against.is_some() { "KL(that || this)" } else { "KL(baseline || edited)" }
    }

    /// The hooks of the edits that are switched on.
    #[must_use]
    pub fn edited(&self) -> BTreeSet<HookPoint> {
        let points = |line: &EditLine| line.edit.target.points(&self.schema.dims).unwrap_or_default();
        self.edits.lines.iter().filter(|line| line.on).flat_map(points).collect()
    }

    /// The effect of an edit in the list, if it is switched on and the run on the screen has exactly these edits.
    #[must_use]
    pub fn effect(&self, at: usize) -> Option<&EditEffect> {
        let on = self.edits.lines.get(at).is_some_and(|line| line.on);
        let shown = self.runs.shown.as_ref().filter(|shown| shown.run == self.runs.number && on)?;
        shown.summary.effects.get(self.edits.lines[..at].iter().filter(|line| line.on).count())
    }

    /// The specification of what to run.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let ids = |tokens: &Vec<Token>| tokens.iter().map(|t| t.id).collect();
        Spec {
            tokens: ids(&self.prompts.tokens),
            contrast: self.prompts.contrast.as_ref().map(ids),
            edits: self.edits.active(),
            enabled: self.schema.enabled().clone(),
            vectors: self.schema.vectors().defined().clone(),
            generated: self.prompts.generated,
        }
    }

    /// What an edit is checked against.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            schema: &self.schema,
            n_pos: self.prompts.prompt().len(),
            contrast: self.prompts.contrast.as_ref().map(Vec::len),
        }
    }

    /// Switch off the edits that do not fit the current prompts and hooks; returns their number.
    pub fn drop_unfit_edits(&mut self) -> usize {
        let (n_pos, contrast) = (self.prompts.prompt().len(), self.prompts.contrast.as_ref().map(Vec::len));
        let mut unfit = 0;
        for line in self.edits.lines.iter_mut().filter(|line| line.on) {
            line.on = Plan::resolve(std::slice::from_ref(&line.edit), &self.schema, n_pos, contrast).is_ok();
            unfit += usize::from(!line.on);
        }
        unfit
    }

    /// Run the prompt with a continuation; without one, the prompt alone.
    pub fn continue_with(&mut self, continuation: &[Token]) {
        let prompt = self.prompts.prompt().len();
        if self.prompts.tokens[prompt..] == *continuation {
            return;
        }
        self.prompts.tokens.truncate(prompt);
        self.prompts.tokens.extend_from_slice(continuation);
        self.prompts.generated = continuation.len();
        // nothing of other tokens may stay on the screen
        self.runs.clear();
    }

    /// Add an edit to the list, or switch on the same one if it is there.
    pub fn add_edit(&mut self, edit: Edit) {
        self.edits.add(edit);
    }

    /// The answer to a request about the run on the screen; None while it is on its way.
    #[must_use]
    pub fn seen<A: Ask>(&self, ask: &A) -> Option<Result<&A::Answer, &str>> {
        let shown = self.runs.shown.as_ref()?.run;
        let seen = self.runs.seen.iter().find(|seen| seen.run == shown && seen.request.get::<A>() == Some(ask))?;
        match &seen.answer {
            Ok(answer) => Some(Ok(answer.get()?)),
            Err(why) => Some(Err(why)),
        }
    }

    /// The run failed: restore the hooks of the run on the screen, and request no other run.
    pub fn keep_shown(&mut self) {
        // a run on another checkpoint must not pass for one on this checkpoint
        if self.runs.shown.as_ref().is_some_and(|shown| shown.model != self.model) {
            self.runs.clear();
        }
        if let Some(shown) = &self.runs.shown {
            self.schema.set_enabled(shown.spec.enabled.clone());
        }
        let (spec, hold) = (self.spec(), self.stops.hold());
        self.runs.take(&self.model, &spec, hold.as_ref());
    }

    /// Why there are no numbers yet.
    #[must_use]
    pub fn waiting(&self) -> String {
        if self.runs.held().is_some() {
            return NOT_YET.into();
        }
        match &self.runs.phase {
            Phase::Failed(message) if self.runs.shown.is_none() => message.clone(),
            Phase::Failed(_) | Phase::Running { .. } | Phase::Done | Phase::Cancelled => "computing".into(),
        }
    }

    /// Why there is no answer to a request: what is wrong with it, or that it is on its way.
    #[must_use]
    pub fn unanswered<A: Ask>(&self, ask: &A) -> String {
        match self.seen(ask) {
            Some(Err(why)) => why.into(),
            Some(Ok(_)) | None => self.waiting(),
        }
    }

    /// Why there are no numbers yet, for numbers about the logit difference.
    #[must_use]
    pub fn waiting_for_answer(&self) -> String {
        if self.runs.held().is_none() && self.runs.shown.as_ref().is_some_and(|shown| shown.summary.logits.is_empty()) {
            return "there are no logits, so no token is the likeliest".into();
        }
        if self.runs.shown.is_some() && self.runs.held().is_none() && self.answer().is_none() {
            return "the baseline's logits are NaN, so no token is the likeliest: choose a target among the logits"
                .into();
        }
        self.waiting()
    }

    /// Whether the pass is held before a hook, so that there is no value there yet.
    #[must_use]
    pub fn is_later(&self, point: HookPoint) -> bool {
        self.runs.held().is_some_and(|stopped| point > stopped.at)
    }

    /// The place of the selected hook in the pass: its number from 1, and the number of hooks that fire.
    #[must_use]
    pub fn step(&self) -> Option<(usize, usize)> {
        let points = self.schema.points();
        points.iter().position(|p| *p == self.point()).map(|i| (i + 1, points.len()))
    }

    /// Bring the cursors and the tree's scroll offset back into range.
    pub(crate) fn settle(&mut self) {
        let (n_pos, n_heads) = (self.tokens().len(), self.schema.dims.n_heads);
        self.cursor.clamp(n_pos, n_heads);
        self.edits.settle();
        (self.layout.edits, self.layout.stops) = (self.edits.lines.len(), self.stops.len());
        let height = self.layout.areas().tree_height();
        self.trees.shown_mut().scroll(height);
    }
}
