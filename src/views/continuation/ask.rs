//! The view's request: texts to go on with, and the next tokens at a place of the run.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    engine::{
        Ask, Beginning, Continuation, Control, Finished, Generation, Needs, NewToken, NextTokens, Reads, Sampling,
        Spec, StopReason, TokenBreakpoint, Unseen,
    },
    experiment::Token,
    hooks::{BlockHook, Capture, HookPoint},
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
    /// How far the edits moved the stream after each block, `[token][block]`, of all new tokens of the text; empty while it grows,
    /// and without edits.
    pub changes: Vec<Vec<f64>>,
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
        let (spec, control) = (finished.outcome.spec.of_prompt(), Control { cancel, progress: &|_, _| {} });
        let key = OfPrompt(job.breakpoints.clone());
        let generation: Generation = match finished.take(&key) {
            Some(generation) => generation,
            None => finished.engine.watched_generation(&spec, &job.breakpoints, false, control)?,
        };
        let engine = &*finished.engine;
        let made = |token: NewToken| Made {
            token: Token { id: token.id, text: engine.loaded.tokenizer.token(token.id) },
            prob: token.prob,
            baseline_prob: token.baseline_prob,
        };
        let mut each = |pair: crate::engine::Pair| {
            for (added, token) in [(&mut progress.unedited, pair.unedited), (&mut progress.edited, pair.edited)] {
                if let Some((added, token)) = added.as_mut().zip(token) {
                    added.tokens.push(made(token));
                }
            }
            tell(progress.clone());
        };
        let Job { beginning, count, sampling, sample, breakpoints: _ } = job;
        let ended = generation.sample_from(engine, beginning, *count, sampling, *sample, cancel, &mut each);
        finished.keep(key, generation);
        let ended = ended?;
        progress.breakpoints.clone_from(&ended.breakpoints);
        let is_cancelled = |made: &Continuation| made.stop == Some(StopReason::Cancelled);
        if is_cancelled(&ended.unedited) || ended.edited.as_ref().is_some_and(is_cancelled) {
            return Err(crate::hooks::RunError::Cancelled.into());
        }
        if let Some(unedited) = &mut progress.unedited {
            unedited.stop = ended.unedited.stop;
        }
        if let (Some(edited), Some(ended)) = (&mut progress.edited, &ended.edited) {
            edited.stop = ended.stop;
            let begun = job.beginning.edited.iter().flatten().copied();
            let new: Vec<u32> = begun.chain(ended.tokens.iter().map(|token| token.id)).collect();
            edited.changes = changes(&spec, &new, finished, control)?;
        }
        Ok(Progress { is_done: true, ..progress })
    }

    /// The continuations are those of this model.
    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
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
