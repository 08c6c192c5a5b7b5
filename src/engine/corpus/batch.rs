//! A batch of prompts that are equally long: without the edits, and with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use candle_core::Tensor;

use super::{
    super::{Control, Engine, dictionaries::Unedited},
    CorpusPrompt, CorpusTask, Measured,
};
use crate::{
    analysis::ObjectiveKind,
    hooks::{
        ActivationCache, Capture, CorpusValues, Edit, FeatureEdits, HookPoint, Interventions, Needs, Observer, Op,
        Plan, References, RunError, Step,
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

/// What is looked at in the run with the edits.
#[derive(Clone)]
pub struct Watch<'a> {
    pub keep: Capture,
    pub observer: Option<&'a dyn Observer>,
}

impl Watch<'_> {
    /// Nothing but the metric.
    #[must_use]
    pub fn nothing() -> Self {
        Self { keep: Capture::None, observer: None }
    }

    fn is_nothing(&self) -> bool {
        self.keep == Capture::None && self.observer.is_none()
    }
}

/// What a batch gave.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// One for each prompt.
    pub measured: Vec<Measured>,
    /// What [`Watch::keep`] names, of the run with the edits: `[prompt, axes of the hook]`.
    pub cache: ActivationCache,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
}

/// A pass over a batch.
struct Passed {
    normalized: Tensor,
    cache: ActivationCache,
    undefined_rows: usize,
}

/// How a pass over a batch is made.
struct Pass<'a> {
    plan: &'a Plan,
    rows: usize,
    watch: Watch<'a>,
    references: References<'a>,
    dictionaries: Option<&'a dyn FeatureEdits>,
    /// Only the last position is needed at the end.
    last: bool,
}

impl<'a> Pass<'a> {
    fn unedited(plan: &'a Plan, rows: usize, keep: Capture) -> Self {
        let watch = Watch { keep, observer: None };
        Self { plan, rows, watch, references: References::default(), dictionaries: None, last: true }
    }
}

impl Engine {
    /// Run a batch without the edits of `task` and with them. `means` has what `= mean@corpus` takes.
    ///
    /// # Errors
    /// An edit that the model or prompts of this length can't carry out; prompts of different lengths; several prompts at
    /// once with edits of features; cancellation, tensor errors.
    pub fn run_batch(
        &mut self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        means: &CorpusValues,
        watch: &Watch<'_>,
        control: Control<'_>,
    ) -> Result<BatchOutcome, RunError> {
        let Some(first) = batch.prompts.first() else { return Ok(BatchOutcome::default()) };
        self.ready(&task.spec, control)?;
        let contrast = |prompt: &&CorpusPrompt| prompt.contrast.clone().or_else(|| task.spec.contrast.clone());
        let contrasts: Option<Vec<Vec<u32>>> = batch.prompts.iter().map(contrast).collect();
        let n_contrast = contrasts.as_ref().and_then(|all| all.first()).map(Vec::len);
        let plan = Plan::resolve(&task.spec.edits, &self.schema, first.tokens.len(), n_contrast)?;
        let tokens: Vec<Vec<u32>> = batch.prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        check(&tokens, contrasts.as_deref(), &plan)?;

        let (none, n_layers) = (Plan::default(), self.schema.dims.n_layers);
        let (rows, loss) = (tokens.len(), task.question.metric == ObjectiveKind::Loss);
        let mut unedited = Pass { last: !loss, ..Pass::unedited(&none, rows, self.read_by(&plan, Needs::Baseline)) };
        if plan.steps.is_empty() {
            unedited.watch = watch.clone();
            let Passed { normalized, cache, undefined_rows } =
                self.pass_batch(Start::Tokens(&tokens), &unedited, &[], control)?;
            let measured = self.measured(task, batch, &normalized, &normalized)?;
            return Ok(BatchOutcome { measured, cache, undefined_rows });
        }
        // what is before the first edit is computed once
        let resumed = plan.first_block(n_layers).filter(|_| watch.is_nothing() && !plan.has_features());
        let stream = resumed.and_then(|block| Some((block, self.stream_into(block)?)));
        if let (Some((_, stream)), Capture::Only(points)) = (stream, &mut unedited.watch.keep) {
            points.insert(stream);
        }
        let before = self.pass_batch(Start::Tokens(&tokens), &unedited, &[], control)?;
        let baseline = self.with_results(before.cache, plan.frozen())?;
        let mut others = Others::default();
        if let Some(contrasts) = contrasts.filter(|_| plan.patched().next().is_some()) {
            let pass = Pass::unedited(&none, rows, self.read_by(&plan, Needs::Contrast));
            let contrast = self.pass_batch(Start::Tokens(&contrasts), &pass, &[], control)?.cache;
            others.contrast = self.with_results(contrast, plan.patched())?;
            let read = self.features_read(&contrasts, &others.contrast, &plan, Needs::Contrast)?;
            others.features.contrast = Arc::new(read);
        }
        others.features.baseline = self.features_read(&tokens, &baseline, &plan, Needs::Baseline)?;
        others.corpus = means.clone();
        for (seed, chosen) in &batch.resampled {
            let chosen: Vec<Vec<u32>> = chosen.iter().map(|tokens| tokens.to_vec()).collect();
            let keep = self.resampled_by(&plan, *seed);
            let other = self.pass_batch(Start::Tokens(&chosen), &Pass::unedited(&none, rows, keep), &[], control)?;
            let read = plan.of_corpus().map(Step::source);
            others.corpus.set_resampled(*seed, self.with_results(other.cache, read)?);
        }
        let dictionaries = self.dictionaries(&first.tokens, &others.features);
        let edited = Pass {
            plan: &plan,
            rows,
            watch: watch.clone(),
            references: References {
                baseline: Some(&baseline),
                contrast: Some(&others.contrast),
                corpus: Some(&others.corpus),
            },
            dictionaries: plan.has_features().then_some(&dictionaries as &dyn FeatureEdits),
            last: !loss,
        };
        let start = match stream.and_then(|(block, point)| Some((block, baseline.get(point)?))) {
            Some((block, stream)) => Start::Residual { block, stream: stream.clone(), past: None },
            None => Start::Tokens(&tokens),
        };
        let Passed { normalized, cache, undefined_rows } =
            self.pass_batch(start, &edited, &task.spec.edits, control)?;
        let measured = self.measured(task, batch, &before.normalized, &normalized)?;
        Ok(BatchOutcome { measured, cache, undefined_rows })
    }

    /// The activations at `points` of a batch without edits: `[prompt, axes of the hook]`.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub(super) fn unedited_batch(
        &self,
        tokens: &[Vec<u32>],
        points: &BTreeSet<HookPoint>,
        control: Control<'_>,
    ) -> Result<ActivationCache, RunError> {
        let (none, read) = (Plan::default(), points.iter().copied());
        let keep = Capture::Only(read.clone().map(|point| self.kept_for(point)).collect());
        let pass = Pass::unedited(&none, tokens.len(), keep);
        self.with_results(self.pass_batch(Start::Tokens(tokens), &pass, &[], control)?.cache, read)
    }

    fn pass_batch(
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
        let Interventions { cache, undefined_rows, .. } = hooks;
        Ok(Passed { normalized, cache, undefined_rows })
    }

    /// What a plan reads of the unedited run of the prompts or of their contrast prompts.
    fn read_by(&self, plan: &Plan, of: Needs) -> Capture {
        if plan.reads_features(of) {
            return Capture::All;
        }
        let points: BTreeSet<HookPoint> = match of {
            Needs::Baseline => plan.frozen().collect(),
            Needs::Contrast => plan.patched().collect(),
            Needs::Corpus => plan.of_corpus().map(Step::source).collect(),
        };
        Capture::Only(points.into_iter().map(|point| self.kept_for(point)).collect())
    }

    /// What a plan takes from the prompts that a seed chose.
    fn resampled_by(&self, plan: &Plan, seed: u64) -> Capture {
        let own = plan.of_corpus().filter(|step| step.op == Op::Resample { seed });
        Capture::Only(own.map(|step| self.kept_for(step.source())).collect())
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

    /// The features that a plan reads of an unedited run; the batch then has one prompt.
    fn features_read(
        &self,
        tokens: &[Vec<u32>],
        cache: &ActivationCache,
        plan: &Plan,
        of: Needs,
    ) -> Result<BTreeMap<HookPoint, Tensor>, RunError> {
        match tokens.first() {
            Some(tokens) if plan.reads_features(of) => self.features_of(tokens, cache, &[plan], of),
            _ => Ok(BTreeMap::new()),
        }
    }

    fn measured(
        &self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        before: &Tensor,
        after: &Tensor,
    ) -> Result<Vec<Measured>, RunError> {
        let same = before.id() == after.id();
        if task.question.metric == ObjectiveKind::Loss {
            let baseline = self.losses(before, &batch.prompts)?;
            let values = if same { baseline.clone() } else { self.losses(after, &batch.prompts)? };
            let of = |(value, baseline)| Measured { value, baseline, target: None, distractor: None };
            return Ok(values.into_iter().zip(baseline).map(of).collect());
        }
        let before = self.last_logits(before)?;
        let after = if same { None } else { Some(self.last_logits(after)?) };
        let after = after.as_ref().unwrap_or(&before);
        let of = |((prompt, after), before): ((&&CorpusPrompt, &Vec<f32>), &Vec<f32>)| {
            task.question.measure(prompt, after, before)
        };
        Ok(batch.prompts.iter().zip(after).zip(&before).map(of).collect())
    }
}

/// What edits take from other runs than the prompts' own.
#[derive(Default)]
struct Others {
    contrast: ActivationCache,
    corpus: CorpusValues,
    features: Unedited,
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
