//! The view's request: texts to go on with, and the next tokens at a place of the run.

use std::sync::{Arc, atomic::AtomicBool};

use super::side::Side;
use crate::{
    engine::{
        Ask, Beginning, Compare, Continuation, Continued, Control, Finished, Generation, Needs, NewToken, NextTokens,
        Pair, ReadByBoth, Reads, Sampling, Spec, StopReason, TokenBreakpoint, Unseen,
    },
    experiment::Token,
    hooks::{BlockHook, Capture, HookPoint, RunError},
};

/// Texts to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub beginning: Beginning,
    /// The number of new tokens that each text is to have.
    pub count: usize,
    pub sampling: Sampling,
    pub sample: u64,
    /// Looked for at every new token.
    pub breakpoints: Vec<TokenBreakpoint>,
}

/// Texts to go on with, and the position of the run whose next tokens are listed.
#[derive(Clone, Debug, PartialEq)]
pub struct OfContinuation {
    pub job: Option<Job>,
    pub at: Option<usize>,
    /// Which of two models goes on. For the difference, `unedited` is the other model's text and `edited` this one's; both have the
    /// edits.
    pub compare: Compare,
}

/// A token of a continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub token: Token,
    /// In its text, and without the edits after the same tokens; NaN where there is none.
    pub prob: f64,
    pub baseline_prob: f64,
}

/// What was added to a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Added {
    pub tokens: Vec<Made>,
    pub stop: Option<StopReason>,
    /// How far the edits moved the stream after each block or, of two models, how far their streams are apart: `[token][block]`, of
    /// all new tokens of the text; empty while it grows, and where nothing is compared.
    pub changes: Vec<Vec<f64>>,
    /// Of two models, the probability of each new token of the text in the other one; empty while it grows.
    pub others: Vec<f64>,
}

/// The answer, while the texts grow and once they have ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    pub unedited: Option<Added>,
    pub edited: Option<Added>,
    pub next: Option<Arc<NextTokens>>,
    pub is_done: bool,
    /// What the breakpoints found, once the texts have ended.
    pub breakpoints: Vec<TokenBreakpoint>,
}

/// The key of a prompt that was read with some breakpoints, among what is kept of a run.
#[derive(PartialEq)]
struct OfPrompt(Vec<TokenBreakpoint>);

impl Ask for OfContinuation {
    type Answer = Progress;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Progress, Unseen> {
        let next = self.at.map(|at| finished.outcome.next_tokens(at, finished.engine)).transpose()?;
        let mut progress = Progress { next: next.map(Arc::new), ..Progress::default() };
        let Some(job) = &self.job else { return Ok(Progress { is_done: true, ..progress }) };
        progress.unedited = job.beginning.unedited.is_some().then(Added::default);
        progress.edited = job.beginning.edited.is_some().then(Added::default);
        tell(progress.clone());
        let mut each = |[unedited, edited]: [Option<Made>; 2]| {
            for (added, made) in [(&mut progress.unedited, unedited), (&mut progress.edited, edited)] {
                if let Some((added, made)) = added.as_mut().zip(made) {
                    added.tokens.push(made);
                }
            }
            tell(progress.clone());
        };
        let ended = job.generate(&job.beginning, &job.breakpoints, finished, cancel, &mut each)?;
        progress.breakpoints.clone_from(&ended.breakpoints);
        if let Some(unedited) = &mut progress.unedited {
            unedited.stop = ended.unedited.stop;
        }
        if let (Some(edited), Some(ended)) = (&mut progress.edited, &ended.edited) {
            edited.stop = ended.stop;
            let begun = job.beginning.edited.iter().flatten().copied();
            let new: Vec<u32> = begun.chain(ended.tokens.iter().map(|token| token.id)).collect();
            let control = Control { cancel, progress: &|_, _| {} };
            edited.changes = changes(&finished.outcome.spec.of_prompt(), &new, finished, control)?;
        }
        Ok(Progress { is_done: true, ..progress })
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.compare {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => self.texts_of_two(this, that, cancel, tell),
        }
    }
}

impl OfContinuation {
    /// The text of each model, first this one's; then how the other one reads it.
    fn texts_of_two(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Progress, Unseen> {
        let next = |at| -> Result<NextTokens, RunError> {
            let (this, that) = (this.outcome.next_tokens(at, this.engine)?, that.outcome.next_tokens(at, that.engine)?);
            Ok(NextTokens::of_two(this, that))
        };
        let mut progress = Progress { next: self.at.map(next).transpose()?.map(Arc::new), ..Progress::default() };
        let Some(job) = &self.job else { return Ok(Progress { is_done: true, ..progress }) };
        progress.unedited = job.beginning.unedited.is_some().then(Added::default);
        progress.edited = job.beginning.edited.is_some().then(Added::default);
        tell(progress.clone());
        let (spec, control) = (this.outcome.spec.of_prompt(), Control { cancel, progress: &|_, _| {} });
        for side in [Side::Edited, Side::Unedited] {
            let [unedited, edited] = &job.beginning.then;
            let (begun, then) = match side {
                Side::Edited => (&job.beginning.edited, edited.clone()),
                Side::Unedited => (&job.beginning.unedited, unedited.clone()),
            };
            let Some(begun) = begun else { continue };
            let beginning = match spec.edits.is_empty() {
                true => Beginning { unedited: Some(begun.clone()), edited: None, then: [then, vec![]] },
                false => Beginning { unedited: None, edited: Some(begun.clone()), then: [vec![], then] },
            };
            let mut each = |[unedited, edited]: [Option<Made>; 2]| {
                if let Some((added, made)) = progress.added(side).as_mut().zip(edited.or(unedited)) {
                    added.tokens.push(made);
                }
                tell(progress.clone());
            };
            let ended = match side {
                Side::Edited => job.generate(&beginning, &job.breakpoints, this, cancel, &mut each)?,
                Side::Unedited => job.generate(&beginning, &[], that, cancel, &mut each)?,
            };
            if side == Side::Edited {
                progress.breakpoints = ended.breakpoints;
            }
            let ended = ended.edited.unwrap_or(ended.unedited);
            let new: Vec<u32> = begun.iter().copied().chain(ended.tokens.iter().map(|token| token.id)).collect();
            let ReadByBoth { probs: [here, there], apart } =
                this.engine.read_by_both(that.engine, &spec, &new, control)?;
            if let Some(added) = progress.added(side) {
                let others = if side == Side::Edited { there } else { here };
                (added.stop, added.changes, added.others) = (ended.stop, apart, others);
            }
            tell(progress.clone());
        }
        Ok(Progress { is_done: true, ..progress })
    }
}

impl Job {
    /// Continue from `beginning`. `each` receives each step's new tokens: the unedited text's, then the edited one's.
    fn generate(
        &self,
        beginning: &Beginning,
        breakpoints: &[TokenBreakpoint],
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        each: &mut dyn FnMut([Option<Made>; 2]),
    ) -> Result<Continued, Unseen> {
        let key = OfPrompt(breakpoints.to_vec());
        let (spec, control) = (finished.outcome.spec.of_prompt(), Control { cancel, progress: &|_, _| {} });
        let generation: Generation = match finished.take(&key) {
            Some(generation) => generation,
            None => finished.engine.watched_generation(&spec, breakpoints, false, control)?,
        };
        let engine = &*finished.engine;
        let made = |token: NewToken| Made {
            token: Token { id: token.id, text: engine.loaded.tokenizer.token(token.id) },
            prob: token.prob,
            baseline_prob: token.baseline_prob,
        };
        let mut each = |pair: Pair| each([pair.unedited, pair.edited].map(|token| token.map(made)));
        let Self { beginning: _, count, sampling, sample, breakpoints: _ } = self;
        let ended = generation.sample_from(engine, beginning, *count, sampling, *sample, cancel, &mut each);
        finished.keep(key, generation);
        let ended = ended?;
        let is_cancelled = |made: &Continuation| made.stop == Some(StopReason::Cancelled);
        if is_cancelled(&ended.unedited) || ended.edited.as_ref().is_some_and(is_cancelled) {
            return Err(RunError::Cancelled.into());
        }
        Ok(ended)
    }
}

impl Progress {
    fn added(&mut self, side: Side) -> &mut Option<Added> {
        match side {
            Side::Unedited => &mut self.unedited,
            Side::Edited => &mut self.edited,
        }
    }
}

/// How far the edits move the stream after each block at new tokens, `[token][block]`.
fn changes(
    spec: &Spec,
    new: &[u32],
    finished: &mut Finished<'_>,
    control: Control<'_>,
) -> Result<Vec<Vec<f64>>, Unseen> {
    if new.is_empty() || spec.edits.is_empty() {
        return Ok(vec![]);
    }
    let prompt = spec.tokens.len();
    let tokens = [spec.tokens.as_slice(), new].concat();
    let spec = Spec { tokens, generated: new.len(), ..spec.clone() };
    let engine = &mut *finished.engine;
    let after = |block| HookPoint::Block(block, BlockHook::ResidPost);
    let points: Vec<HookPoint> = (0..engine.schema.dims.n_layers).map(after).collect();
    let kept = Capture::Only(points.iter().copied().collect());
    let outcome = engine.run(&spec, &kept, spec.tokens.len(), control)?;
    let by_block = points.iter().map(|point| outcome.changes_by_position(engine, *point, prompt));
    let by_block = by_block.collect::<Result<Vec<_>, _>>()?;
    let token = |at: usize| by_block.iter().map(|block| block.get(at).copied().unwrap_or(f64::NAN)).collect();
    Ok((0..new.len()).map(token).collect())
}
