//! Prompts of equal length in one pass: the unedited runs, and runs with edits that build on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use candle_core::Tensor;

use super::{
    super::{Control, Engine, Spec, dictionaries::Unedited},
    CorpusPrompt, CorpusTask,
};
use crate::{
    analysis::ObjectiveKind,
    hooks::{
        ActivationCache, Capture, CorpusValues, Edit, Effect, FeatureEdits, HookPoint, Interventions, Needs, Observer,
        Op, Plan, References, RunError, Step,
    },
    model::Start,
};

/// Prompts that go through the model together: equally long, with contrast prompts that are equally long.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    pub prompts: Vec<&'a CorpusPrompt>,
    /// What each seed chose for each prompt: the tokens of another one that is as long.
    pub resampled: BTreeMap<u64, Vec<&'a [u32]>>,
}

impl Batch<'_> {
    pub(super) fn tokens(&self) -> Vec<Vec<u32>> {
        self.prompts.iter().map(|prompt| prompt.tokens.clone()).collect()
    }

    /// The contrast prompts, if every prompt has one.
    pub(super) fn contrasts(&self, task: &CorpusTask) -> Option<Vec<Vec<u32>>> {
        self.prompts.iter().map(|prompt| prompt.contrast.clone().or_else(|| task.spec.contrast.clone())).collect()
    }

    /// The experiment on one prompt by itself.
    pub(super) fn spec(task: &CorpusTask, prompt: &CorpusPrompt) -> Spec {
        let contrast = prompt.contrast.clone().or_else(|| task.spec.contrast.clone());
        Spec { tokens: prompt.tokens.clone(), contrast, ..task.spec.clone() }
    }
}

/// What is looked at in the run with the edits.
#[derive(Clone)]
pub struct Watch<'a> {
    pub keep: Capture,
    pub observer: Option<&'a dyn Observer>,
    /// Say what the edits did in each prompt.
    pub effects: bool,
}

impl Watch<'_> {
    /// Nothing but the metric.
    #[must_use]
    pub fn nothing() -> Self {
        Self { keep: Capture::None, observer: None, effects: false }
    }

    /// Whether a pass may leave out what is before the first edit.
    pub(super) fn may_resume(&self) -> bool {
        self.keep == Capture::None && self.observer.is_none()
    }
}

/// A pass over a batch.
pub(super) struct Passed {
    /// What the unembedding reads, `[prompt, pos, d_model]`.
    pub normalized: Tensor,
    pub cache: ActivationCache,
    /// What each edit did in each prompt.
    pub effects: Vec<Vec<Effect>>,
    pub undefined_rows: usize,
}

/// How a pass over a batch is made.
pub(super) struct Pass<'a> {
    plan: &'a Plan,
    rows: usize,
    watch: Watch<'a>,
    references: References<'a>,
    dictionaries: Option<&'a dyn FeatureEdits>,
    /// Only the last position is computed at the end.
    last: bool,
}

impl<'a> Pass<'a> {
    pub fn unedited(plan: &'a Plan, rows: usize, keep: Capture) -> Self {
        let watch = Watch { keep, ..Watch::nothing() };
        Self { plan, rows, watch, references: References::default(), dictionaries: None, last: true }
    }

    /// The same, looked at; unless `last`, the whole of its end is needed.
    pub fn looked_at(self, watch: Watch<'a>, last: bool) -> Self {
        Self { watch, last, ..self }
    }
}

/// The unedited runs that runs of a batch with edits build on.
pub(super) struct BatchBase {
    tokens: Vec<Vec<u32>>,
    /// What the unembedding reads, `[prompt, pos, d_model]`.
    pub normalized: Tensor,
    /// What edits read of the prompts' own runs, and the streams from which passes resume.
    baseline: ActivationCache,
    contrast: ActivationCache,
    corpus: CorpusValues,
    features: Unedited,
}

impl Engine {
    /// The plan of edits in the prompts of a batch.
    ///
    /// # Errors
    /// An edit that does not fit; prompts that can't be rows of one batch.
    pub(super) fn batch_plan(&self, task: &CorpusTask, batch: &Batch<'_>, edits: &[Edit]) -> Result<Plan, RunError> {
        let contrasts = batch.contrasts(task);
        let n_contrast = contrasts.as_ref().and_then(|all| all.first()).map(Vec::len);
        let n_pos = batch.prompts.first().map_or(0, |prompt| prompt.tokens.len());
        let plan = Plan::resolve(edits, &self.schema, n_pos, n_contrast)?;
        check(&batch.tokens(), contrasts.as_deref(), &plan)?;
        Ok(plan)
    }

    /// The unedited runs that runs with these plans build on; they hold the streams into the blocks where the plans begin, if
    /// passes may resume there.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub(super) fn batch_base(
        &self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        plans: &[&Plan],
        means: &CorpusValues,
        resumes: bool,
        control: Control<'_>,
    ) -> Result<BatchBase, RunError> {
        let (none, tokens) = (Plan::default(), batch.tokens());
        let pass = |keep: Capture| Pass::unedited(&none, tokens.len(), keep);
        let mut keep = self.read_by(plans, Needs::Baseline);
        if let Capture::Only(points) = &mut keep {
            points.extend(plans.iter().filter(|_| resumes).filter_map(|plan| self.resumed(plan)).map(|(_, at)| at));
        }
        let own = Pass { last: task.question.metric != ObjectiveKind::Loss, ..pass(keep) };
        let Passed { normalized, cache, .. } = self.pass_batch(Start::Tokens(&tokens), &own, &[], control)?;
        let baseline = self.with_results(cache, plans.iter().flat_map(|plan| plan.frozen()))?;
        let mut contrast = ActivationCache::default();
        let mut features = Unedited::default();
        if let Some(contrasts) =
            batch.contrasts(task).filter(|_| plans.iter().any(|plan| plan.patched().next().is_some()))
        {
            let keep = self.read_by(plans, Needs::Contrast);
            let cache = self.pass_batch(Start::Tokens(&contrasts), &pass(keep), &[], control)?.cache;
            contrast = self.with_results(cache, plans.iter().flat_map(|plan| plan.patched()))?;
            features.contrast = Arc::new(self.features_read(&contrasts, &contrast, plans, Needs::Contrast)?);
        }
        features.baseline = self.features_read(&tokens, &baseline, plans, Needs::Baseline)?;
        let mut corpus = means.clone();
        let taken = |seed: u64| {
            let takes = |step: &Step| step.op == Op::Resample { seed };
            plans.iter().any(|plan| plan.of_corpus().any(takes))
        };
        for (seed, chosen) in batch.resampled.iter().filter(|(seed, _)| taken(**seed)) {
            let chosen: Vec<Vec<u32>> = chosen.iter().map(|tokens| tokens.to_vec()).collect();
            let keep = self.read_by(plans, Needs::Corpus);
            let cache = self.pass_batch(Start::Tokens(&chosen), &pass(keep), &[], control)?.cache;
            let features = self.features_read(&chosen, &cache, plans, Needs::Corpus)?;
            let read = plans.iter().flat_map(|plan| plan.of_corpus()).map(Step::source);
            corpus.set_resampled(*seed, self.with_results(cache, read)?, features);
        }
        Ok(BatchBase { tokens, normalized, baseline, contrast, corpus, features })
    }

    /// A pass with the edits of a plan. If only its end is looked at, it begins at the first block that the plan touches.
    ///
    /// # Errors
    /// Edits that the model can't carry out, cancellation, tensor errors.
    pub(super) fn edited_batch(
        &self,
        base: &BatchBase,
        plan: &Plan,
        lines: &[Edit],
        watch: &Watch<'_>,
        last: bool,
        control: Control<'_>,
    ) -> Result<Passed, RunError> {
        let tokens = base.tokens.first().map_or(&[][..], Vec::as_slice);
        let dictionaries = self.dictionaries(tokens, &base.features);
        let edited = Pass {
            plan,
            rows: base.tokens.len(),
            watch: watch.clone(),
            references: References {
                baseline: Some(&base.baseline),
                contrast: Some(&base.contrast),
                corpus: Some(&base.corpus),
            },
            dictionaries: plan.has_features().then_some(&dictionaries as &dyn FeatureEdits),
            last,
        };
        let resumed = self.resumed(plan).filter(|_| watch.may_resume());
        let start = match resumed.and_then(|(block, point)| Some((block, base.baseline.get(point)?))) {
            Some((block, stream)) => Start::Residual { block, stream: stream.clone(), past: None },
            None => Start::Tokens(&base.tokens),
        };
        self.pass_batch(start, &edited, lines, control)
    }

    /// The block where a pass with a plan can begin, and the hook with the stream into it.
    fn resumed(&self, plan: &Plan) -> Option<(usize, HookPoint)> {
        // unprocessed activations need those of earlier blocks
        let block = plan.first_block(self.schema.dims.n_layers).filter(|_| !plan.has_features())?;
        Some((block, self.stream_into(block)?))
    }

    /// The activations at `points` of a batch without edits, `[prompt, axes of the hook]`, and those that the features of
    /// dictionaries are made of, if they are wanted.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub(super) fn unedited_batch(
        &self,
        tokens: &[Vec<u32>],
        points: &BTreeSet<HookPoint>,
        with_features: bool,
        control: Control<'_>,
    ) -> Result<ActivationCache, RunError> {
        let none = Plan::default();
        let keep = match with_features {
            true => Capture::All,
            false => Capture::Only(points.iter().map(|point| self.kept_for(*point)).collect()),
        };
        let pass = Pass::unedited(&none, tokens.len(), keep);
        let cache = self.pass_batch(Start::Tokens(tokens), &pass, &[], control)?.cache;
        self.with_results(cache, points.iter().copied())
    }

    pub(super) fn pass_batch(
        &self,
        start: Start<'_>,
        pass: &Pass<'_>,
        lines: &[Edit],
        control: Control<'_>,
    ) -> Result<Passed, RunError> {
        let plans = vec![pass.plan.clone(); pass.rows];
        let d_vocab = self.schema.dims.d_vocab;
        let hooks = Interventions::new(&plans, lines, pass.watch.keep.clone(), pass.references, d_vocab);
        let mut hooks = hooks.with_every_row().cancelled_by(control.cancel);
        if let Some(observer) = pass.watch.observer {
            hooks = hooks.observed_by(observer);
        }
        if let Some(dictionaries) = pass.dictionaries {
            hooks = hooks.with_dictionaries(dictionaries);
        }
        let normalized = self.loaded.model.pass(start, &self.schema, &mut hooks, pass.last)?;
        let Interventions { cache, effects, undefined_rows, .. } = hooks;
        Ok(Passed { normalized, cache, effects, undefined_rows })
    }

    /// What plans read of the unedited runs of the prompts, of their contrast prompts, or of others of the corpus.
    fn read_by(&self, plans: &[&Plan], of: Needs) -> Capture {
        if plans.iter().any(|plan| plan.reads_features(of)) {
            return Capture::All;
        }
        let points: BTreeSet<HookPoint> = match of {
            Needs::Baseline => plans.iter().flat_map(|plan| plan.frozen()).collect(),
            Needs::Contrast => plans.iter().flat_map(|plan| plan.patched()).collect(),
            Needs::Corpus => plans.iter().flat_map(|plan| plan.of_corpus()).map(Step::source).collect(),
        };
        Capture::Only(points.into_iter().map(|point| self.kept_for(point)).collect())
    }

    /// What was kept, and each head's result where it is read and its hook is off.
    fn with_results(
        &self,
        mut cache: ActivationCache,
        read: impl IntoIterator<Item = HookPoint>,
    ) -> Result<ActivationCache, RunError> {
        for point in read {
            let (HookPoint::Block(block, _), None) = (point, cache.get(point)) else { continue };
            if let Some(z) = cache.get(self.kept_for(point)).cloned() {
                cache.insert(point, self.loaded.model.head_results(block, &z)?);
            }
        }
        Ok(cache)
    }

    /// The features that plans read of an unedited run; the batch then has one prompt.
    fn features_read(
        &self,
        tokens: &[Vec<u32>],
        cache: &ActivationCache,
        plans: &[&Plan],
        of: Needs,
    ) -> Result<BTreeMap<HookPoint, Tensor>, RunError> {
        match tokens.first() {
            Some(tokens) if plans.iter().any(|plan| plan.reads_features(of)) => {
                self.features_of(tokens, cache, plans, of)
            }
            _ => Ok(BTreeMap::new()),
        }
    }
}

/// Refuse prompts that can't be rows of one batch.
fn check(tokens: &[Vec<u32>], contrasts: Option<&[Vec<u32>]>, plan: &Plan) -> Result<(), RunError> {
    let equal = |all: &[Vec<u32>]| all.windows(2).all(|pair| pair[0].len() == pair[1].len());
    let wrong = |what: &str| Err(candle_core::Error::Msg(format!("a batch with {what}")).into());
    match () {
        () if !equal(tokens) || !contrasts.is_none_or(equal) => wrong("prompts of different lengths"),
        () if plan.has_features() && tokens.len() > 1 => wrong("several prompts and edits of features"),
        () => Ok(()),
    }
}
