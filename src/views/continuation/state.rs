use std::{collections::BTreeSet, sync::Arc};

use super::{
    ask::{Job, Made, OfContinuation, Progress},
    side::Side,
    tree::{Branch, Tree},
};
use crate::{
    engine::{Beginning, Compare, NextTokens, Prediction, Sampling, Spec, TokenBreakpoint},
    experiment::{Continuations, GenerationSetting, GenerationSettings, KeptBranch, Token},
    views::{ModelInfo, Scene},
};

/// What a tree is of.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    model: ModelInfo,
    compare: Compare,
    side: Side,
    spec: Spec,
    sampling: Sampling,
}

/// What the texts on the screen are made of, whichever of two models is looked at and whatever hooks are on.
type Texts = (ModelInfo, Spec, Sampling);

/// A run, and which of two models' runs.
type OfRun = (u64, Compare);

/// The trees that are kept.
const TREES: usize = 64;

#[derive(Clone, Debug)]
pub struct Continue {
    pub settings: GenerationSettings,
    /// The latest last.
    trees: Vec<(Key, Tree)>,
    /// Branches of an experiment that was opened, without the edits and with them.
    opened: [Vec<KeptBranch>; 2],
    /// What is being generated, in which run and of which model, and the branches that it adds to.
    going: Option<(OfRun, Job, [Option<usize>; 2])>,
    /// The texts that Escape stopped: nothing is generated for them until a key asks for it.
    stopped: Option<Texts>,
    /// The side of the cursor.
    pub(super) side: Side,
    /// The list of branches is shown, with its cursor.
    pub(super) listing: Option<usize>,
    /// A token is being chosen among the candidates, and which is under the cursor.
    pub(super) choosing: Option<usize>,
    /// The setting that `+` and `-` change.
    pub(super) setting: Option<GenerationSetting>,
    /// The latest next tokens, their run and model, and their position.
    next: Option<(OfRun, usize, Arc<NextTokens>)>,
}

impl Default for Continue {
    fn default() -> Self {
        Self {
            settings: GenerationSettings::default(),
            trees: vec![],
            opened: [vec![], vec![]],
            going: None,
            stopped: None,
            side: Side::Edited,
            listing: None,
            choosing: None,
            setting: None,
            next: None,
        }
    }
}

impl Continue {
    fn key(&self, scene: &Scene, side: Side) -> Option<Key> {
        self.key_of(scene, scene.compared_models(), side)
    }

    fn key_of(&self, scene: &Scene, compare: Compare, side: Side) -> Option<Key> {
        let spec = scene.spec().of_prompt();
        let spec = match (compare, side) {
            (Compare::Edited | Compare::Baseline, Side::Edited) if spec.edits.is_empty() => return None,
            (Compare::Edited | Compare::Baseline, Side::Unedited) => {
                Spec { tokens: spec.tokens, enabled: spec.enabled, ..Spec::default() }
            }
            (Compare::Edited | Compare::Baseline, Side::Edited) | (Compare::Difference, _) => spec,
        };
        Some(Key { model: scene.model.clone(), compare, side, spec, sampling: self.settings.sampling })
    }

    fn texts(&self, scene: &Scene) -> Texts {
        let spec = Spec { enabled: BTreeSet::new(), ..scene.spec().of_prompt() };
        (scene.model.clone(), spec, self.settings.sampling)
    }

    /// What the trees on the screen are of.
    fn keys(&self, scene: &Scene) -> Vec<Key> {
        Side::ALL.into_iter().filter_map(|side| self.key(scene, side)).collect()
    }

    /// The side of the cursor: without edits, a model has only one.
    pub(super) fn side(&self, scene: &Scene) -> Side {
        let two = scene.edits.lines.iter().any(|line| line.on) || scene.compared_models() == Compare::Difference;
        if two { self.side } else { Side::Unedited }
    }

    /// The tree of a side; None without edits for the edited one, and before there is any.
    pub(super) fn tree(&self, scene: &Scene, side: Side) -> Option<&Tree> {
        self.tree_of(&self.key(scene, side)?)
    }

    fn tree_of(&self, key: &Key) -> Option<&Tree> {
        self.trees.iter().find(|(of, _)| of == key).map(|(_, tree)| tree)
    }

    pub(super) fn tree_mut(&mut self, scene: &Scene, side: Side) -> Option<&mut Tree> {
        let key = self.key(scene, side)?;
        self.trees.iter_mut().find(|(of, _)| *of == key).map(|(_, tree)| tree)
    }

    /// The branch on the screen.
    pub(super) fn branch(&self, scene: &Scene, side: Side) -> Option<&Branch> {
        self.tree(scene, side)?.branch()
    }

    /// What to generate now, and the branches that it adds to.
    fn job(&self, scene: &Scene) -> Option<(Job, [Option<usize>; 2])> {
        if self.is_stopped() {
            return None;
        }
        if let Some((of, job, at)) = &self.going
            && *of == (scene.runs.number, scene.compared_models())
        {
            return Some((job.clone(), *at));
        }
        let GenerationSettings { sampling, count, .. } = self.settings;
        let trees = Side::ALL.map(|side| self.tree(scene, side));
        let on = || scene.stops.breakpoints.iter().filter(|breakpoint| breakpoint.on);
        let watched = on().any(|breakpoint| !breakpoint.logs);
        let unfinished = trees.map(|tree| tree?.unfinished(count, self.settings.distinct(), watched));
        let branch = |side: usize| Some(&trees[side]?.branches[unfinished[side]?]);
        let (unedited, edited) = (branch(0), branch(1));
        // a sample draws alike in both texts, so they are generated together
        let together = unedited.zip(edited).is_none_or(|(a, b)| a.sample == b.sample);
        let (unedited, edited) = if together { (unedited, edited) } else { (unedited, None) };
        let sample = unedited.or(edited)?.sample;
        let ahead = |branch: Option<&Branch>| branch.map(Branch::ahead).unwrap_or_default();
        let beginning = Beginning {
            unedited: unedited.map(Branch::ids),
            edited: edited.map(Branch::ids),
            then: [ahead(unedited), ahead(edited)],
        };
        let at = [unedited.and(unfinished[0]), edited.and(unfinished[1])];
        let breakpoints =
            on().map(|breakpoint| TokenBreakpoint::new(breakpoint.predicate.clone(), breakpoint.logs)).collect();
        Some((Job { beginning, count, sampling, sample, breakpoints }, at))
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<OfContinuation> {
        let (job, at) = (self.job(scene).map(|(job, _)| job), self.before(scene));
        (job.is_some() || at.is_some()).then_some(OfContinuation { job, at, compare: scene.compared_models() })
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Progress, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// Whether the list of branches is on the screen.
    #[must_use]
    pub fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Whether texts grow.
    pub(super) fn is_growing(&self, scene: &Scene) -> bool {
        matches!(self.seen(scene), Some(Ok(progress)) if !progress.is_done)
    }

    /// Whether Escape stopped the texts.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Generate nothing more of these texts, if there is more.
    pub(super) fn stop_texts(&mut self, scene: &Scene) {
        if self.job(scene).is_some() {
            (self.stopped, self.going) = (Some(self.texts(scene)), None);
        }
    }

    /// Generate on from what is known.
    pub(super) fn go_on(&mut self) {
        self.stopped = None;
        self.going = None;
    }

    /// The position before the token under the cursor, whose next tokens are its candidates.
    fn before(&self, scene: &Scene) -> Option<usize> {
        let row = self.row(scene).checked_sub(1)?;
        (scene.prompts.prompt().len() + row).checked_sub(1)
    }

    /// The row of the cursor: 0 is the prompt, and then the tokens of the continuation follow.
    pub(super) fn row(&self, scene: &Scene) -> usize {
        let prompt = scene.prompts.prompt().len();
        let run = &scene.tokens()[prompt..];
        let is_of = |branch: &Branch| {
            run.len() <= branch.tokens.len() && run.iter().zip(&branch.tokens).all(|(a, b)| a.id == b.token.id)
        };
        let here = self.branch(scene, self.side(scene)).is_some_and(is_of);
        if here && !run.is_empty() { (scene.cursor.pos + 1).saturating_sub(prompt) } else { 0 }
    }

    /// Rows on the side of the cursor.
    pub(super) fn rows(&self, scene: &Scene) -> usize {
        1 + self.branch(scene, self.side(scene)).map_or(0, |branch| branch.tokens.len())
    }

    /// Go to a row: every view then shows the run of the prompt with this continuation, at this token.
    pub(super) fn go_to(&self, scene: &mut Scene, row: usize) {
        let prompt = scene.prompts.prompt().len();
        let branch = self.branch(scene, self.side(scene)).map(|branch| &branch.tokens[..]).unwrap_or_default();
        let row = row.min(branch.len());
        let run = &scene.tokens()[prompt..];
        let is_part = run.len() <= branch.len() && run.iter().zip(branch).all(|(a, b)| a.id == b.token.id);
        if row == 0 {
            scene.continue_with(&[]);
        } else if !is_part || run.len() < row {
            let tokens: Vec<Token> = branch.iter().map(|made| made.token.clone()).collect();
            scene.continue_with(&tokens);
        }
        scene.cursor.pos = (prompt + row).saturating_sub(1);
    }

    /// Go to a row on the side of the cursor, and generate on from what is known.
    pub(super) fn go_to_row(&mut self, scene: &mut Scene, row: usize) {
        self.choosing = None;
        self.going = None;
        self.go_to(scene, row);
    }

    /// The candidates for the token under the cursor, the likeliest first.
    pub(super) fn candidates(&self, scene: &Scene) -> Option<&[Prediction]> {
        let (of, at, next) = self.next.as_ref()?;
        let is_here = scene.runs.shown.as_ref().is_some_and(|shown| (shown.run, scene.compared_models()) == *of);
        let side = self.side(scene);
        let list = if side == Side::Edited { &next.top } else { &next.was };
        (is_here && Some(*at) == self.before(scene)).then_some(list)
    }

    /// Go on from the token under the cursor with the candidate that was chosen.
    pub(super) fn take(&mut self, scene: &mut Scene) {
        let (row, side) = (self.row(scene), self.side(scene));
        let chosen = self.choosing.take().and_then(|at| self.candidates(scene)?.get(at)).cloned();
        let (Some(chosen), Some(after)) = (chosen, row.checked_sub(1)) else {
            return scene.refuse("the candidates are not known yet");
        };
        let prob = if side == Side::Edited { chosen.prob } else { chosen.baseline_prob };
        let ends = scene.model.config.eos.contains(&chosen.id);
        let token = Token { id: chosen.id, text: chosen.text };
        let Some(tree) = self.tree_mut(scene, side) else { return };
        tree.leave(after, Made { token, prob, baseline_prob: chosen.baseline_prob }, ends);
        self.go_on();
        self.go_to(scene, row);
    }

    /// Show another branch of the cursor's side.
    pub(super) fn show(&mut self, scene: &mut Scene, side: Side, at: usize) {
        let row = self.row(scene);
        self.side = side;
        let Some(tree) = self.tree_mut(scene, side) else { return };
        tree.shown = at.min(tree.branches.len().saturating_sub(1));
        self.going = None;
        self.go_to(scene, row);
    }

    /// Change the settings.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut GenerationSettings)) {
        change(&mut self.settings);
        self.go_on();
    }

    /// Set one by its name; returns what it is now.
    ///
    /// # Errors
    /// What was expected.
    pub fn set_named(&mut self, name: GenerationSetting, value: &str) -> Result<String, String> {
        self.settings.set(name, value)?;
        self.go_on();
        Ok(format!("{} {}", name.name(), self.settings.value(name)))
    }

    /// Continue as an experiment says.
    pub fn open(&mut self, continuations: Continuations) {
        let Continuations { settings, branches } = continuations;
        (self.settings, self.opened) = (settings, branches);
        self.go_on();
    }

    /// The settings, and the branches of this model's texts with the present edits and without.
    #[must_use]
    pub fn kept(&self, scene: &Scene) -> Continuations {
        let branches = Side::ALL.map(|side| {
            let tree = self.key_of(scene, Compare::Edited, side).and_then(|key| self.tree_of(&key));
            tree.map(Tree::kept).unwrap_or_default()
        });
        Continuations { settings: self.settings, branches }
    }

    /// Every branch, as side, number and depth.
    pub(super) fn listed(&self, scene: &Scene) -> Vec<(Side, usize, usize)> {
        let of = |side: Side| {
            let listed = self.tree(scene, side).map(Tree::listed).unwrap_or_default();
            listed.into_iter().map(move |(at, depth)| (side, at, depth))
        };
        Side::ALL.into_iter().flat_map(of).collect()
    }

    /// Have the trees of the present settings, and take what the worker reported.
    pub(super) fn update(&mut self, scene: &Scene) {
        let samples = self.settings.distinct();
        let keys = self.keys(scene);
        if self.stopped.as_ref().is_some_and(|stopped| *stopped != self.texts(scene)) {
            self.stopped = None;
        }
        // trees in which nothing was generated are not worth keeping
        self.trees.retain(|(of, tree)| keys.contains(of) || tree.branches.iter().any(Branch::has_tokens));
        for (side, opened) in Side::ALL.into_iter().zip(std::mem::take(&mut self.opened)) {
            let key = self.key_of(scene, Compare::Edited, side).filter(|_| !opened.is_empty());
            let Some(key) = key else { continue };
            self.trees.retain(|(of, _)| *of != key);
            self.trees.push((key, Tree::of(&opened)));
        }
        let oldest = self.trees.iter().position(|(of, _)| !keys.contains(of));
        if let Some(oldest) = oldest.filter(|_| self.trees.len() > TREES) {
            self.trees.remove(oldest);
        }
        for key in &keys {
            if !self.trees.iter().any(|(of, _)| of == key) {
                self.trees.push((key.clone(), Tree::default()));
            }
            if let Some((_, tree)) = self.trees.iter_mut().find(|(of, _)| of == key) {
                tree.have(samples);
            }
        }
        self.take_report(scene);
        let lines = self.listed(scene).len();
        self.listing = self.listing.map(|at| at.min(lines.saturating_sub(1)));
        let candidates = self.candidates(scene).map_or(usize::MAX, <[Prediction]>::len);
        self.choosing = self.choosing.map(|at| at.min(candidates.saturating_sub(1))).filter(|_| self.row(scene) > 0);
    }

    fn take_report(&mut self, scene: &Scene) {
        let Some(shown) = scene.runs.shown.as_ref() else { return };
        // an answer about other edits can be to the same question
        if shown.spec != scene.spec() || shown.model != scene.model {
            return;
        }
        let (Some(ask), Some(Ok(progress))) = (self.ask(scene), self.seen(scene)) else { return };
        if let (Some(at), Some(next)) = (ask.at, &progress.next) {
            self.next = Some(((shown.run, ask.compare), at, next.clone()));
        }
        let Some((job, at)) = self.job(scene) else { return };
        let progress = progress.clone();
        let begun = [&job.beginning.unedited, &job.beginning.edited].map(|begun| begun.as_ref().map_or(0, Vec::len));
        for (number, added) in [&progress.unedited, &progress.edited].into_iter().enumerate() {
            let (Some(added), Some(at)) = (added, at[number]) else { continue };
            if let Some(branch) = self.tree_mut(scene, Side::ALL[number]).and_then(|tree| tree.branches.get_mut(at)) {
                branch.add(begun[number], added);
            }
        }
        self.going = (!progress.is_done).then_some(((shown.run, ask.compare), job, at));
    }
}
