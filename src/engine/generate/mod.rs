//! Continuations of a prompt: with the edits and without, token by token.

mod kept;
mod sampling;
mod text;
mod texts;
mod watch;
mod watched;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
};

pub use sampling::Sampling;
pub use watch::{TokenBreakpoint, TokenHit};

use super::{Control, Engine, Spec, find::FindError, memory};
use crate::{
    analysis::log_normaliser,
    hooks::{Capture, HookPoint, Needs, RunError, Step},
};
use text::Text;
use texts::Texts;

/// A token that was chosen, with its probability, which is NaN where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewToken {
    pub id: u32,
    /// In the text that it was chosen for.
    pub prob: f64,
    /// Without the edits, after the same text.
    pub baseline_prob: f64,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It has as many tokens as were asked for.
    Length,
    /// Its last token ends a text.
    EndOfText,
    /// The text is as long as the model's context.
    Context,
    /// There is no next token: the logits are NaN, or give no probabilities to draw from.
    NoToken,
    /// A breakpoint was true after its last token or, of the other text, at the same step.
    Breakpoint,
    Cancelled,
}

impl StopReason {
    /// As JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "max-new-tokens",
            Self::EndOfText => "end-of-text",
            Self::Context => "context",
            Self::NoToken => "no-token",
            Self::Breakpoint => "breakpoint",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One continuation of the prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Continuation {
    pub tokens: Vec<NewToken>,
    /// None while it goes on.
    pub stop: Option<StopReason>,
}

/// What is said at each step: the next token of each continuation that still goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub unedited: Option<NewToken>,
    pub edited: Option<NewToken>,
}

/// The continuations of one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Continued {
    pub unedited: Continuation,
    /// None without edits.
    pub edited: Option<Continuation>,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
    /// What the breakpoints found, of the edited continuation or, without edits, of the only one.
    pub breakpoints: Vec<TokenBreakpoint>,
}

/// New tokens that the texts of a sample already have; None for a text that is not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    pub unedited: Option<Vec<u32>>,
    pub edited: Option<Vec<u32>>,
    /// Tokens that the unedited and the edited text must go on with before any is chosen; unlike those above, they count as generated.
    pub then: [Vec<u32>; 2],
}

/// A prompt that was read, with the edits and without, to be continued again and again.
pub struct Generation {
    texts: Texts,
    /// The longest text.
    context: usize,
    eos: Vec<u32>,
    breakpoints: Vec<TokenBreakpoint>,
    /// What breakpoints look at.
    watched: BTreeSet<HookPoint>,
    /// Every activation of the prompt was kept, so that [`Self::run`] need not read it again.
    keeps_prompt: bool,
}

impl Engine {
    /// Read a prompt, to continue it.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn generation(&mut self, spec: &Spec, control: Control<'_>) -> Result<Generation, RunError> {
        self.watched_generation(spec, &[], false, control)
    }

    /// The same with breakpoints, which are looked for at every new token: one that does not log ends a sample there. With
    /// `keeps_prompt`, the prompt's activations are kept for [`Generation::run`].
    ///
    /// # Errors
    /// Those of [`Self::generation`], and a predicate that fits no text as long as the model's context.
    pub fn watched_generation(
        &mut self,
        spec: &Spec,
        breakpoints: &[TokenBreakpoint],
        keeps_prompt: bool,
        control: Control<'_>,
    ) -> Result<Generation, RunError> {
        self.ready(spec, control)?;
        let plan = self.plan(&spec.edits, spec)?;
        let patched = plan.patched().collect();
        let capture = plan.reads_features(Needs::Contrast).then_some(Capture::All);
        let contrast = self.contrast(spec, &patched, capture, control)?;
        let patched_features = match &contrast {
            Some(run) => self.unedited_features(run, &[&plan], Needs::Contrast)?,
            None => BTreeMap::new(),
        };
        let patched = contrast.map(|run| self.with_read(&run, &patched)).transpose()?.unwrap_or_default();
        let (patched, patched_features) = (Arc::new(patched), Arc::new(patched_features));
        let text = |edits| Text::new(self, edits, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len));
        let edited = if spec.edits.is_empty() { None } else { Some(text(&spec.edits)?) };
        let mut baseline = text(&[])?;
        let frozen: BTreeSet<HookPoint> = plan.frozen().collect();
        let is_frozen = |step: &&Step| step.features && step.op.needs() == Some(Needs::Baseline);
        let frozen_features = plan.steps.iter().filter(is_frozen).map(|step| step.point).collect();
        if edited.as_ref().is_some_and(Text::reads_all_again) && !frozen.is_empty() {
            baseline.read_all_again();
        }
        let mut texts = Texts { edited, baseline, unedited: None, frozen, frozen_features, patched, patched_features };
        let (context, eos) = (self.loaded.model.config.context, self.loaded.model.config.eos.clone());
        let points = breakpoints.iter().map(|breakpoint| breakpoint.points(&self.schema, context));
        let points = points.collect::<Result<Vec<_>, _>>().map_err(|error| FindError::from(error).into_run())?;
        let watched: BTreeSet<HookPoint> = points.into_iter().flatten().collect();
        texts.watch(&watched);
        if keeps_prompt {
            memory::check(&self.loaded.model, &self.schema, &Capture::All, 0, spec.tokens.len(), true)?;
            texts.own().keep_all(self)?;
        }
        texts.read(self, &spec.tokens, control.cancel)?;
        Ok(Generation { texts, context, eos, breakpoints: breakpoints.to_vec(), watched, keeps_prompt })
    }
}

impl Generation {
    /// Generate sample `number`: at most `count` new tokens. Calls `each` after every step.
    ///
    /// # Errors
    /// Tensor errors. A cancelled sample is returned as far as it came.
    pub fn sample(
        &self,
        engine: &Engine,
        count: usize,
        sampling: &Sampling,
        number: u64,
        cancel: &AtomicBool,
        each: &mut dyn FnMut(Pair),
    ) -> Result<Continued, RunError> {
        let prompt = Beginning { unedited: Some(vec![]), edited: Some(vec![]), ..Beginning::default() };
        self.sample_from(engine, &prompt, count, sampling, number, cancel, each)
    }

    /// As [`Self::sample`], from texts that already have some new tokens; those count towards `count`, and are not returned. A text
    /// that `beginning` lacks is not generated.
    ///
    /// # Errors
    /// As [`Self::sample`].
    #[allow(clippy::too_many_arguments, reason = "everything a sample depends on")]
    pub fn sample_from(
        &self,
        engine: &Engine,
        beginning: &Beginning,
        count: usize,
        sampling: &Sampling,
        number: u64,
        cancel: &AtomicBool,
        each: &mut dyn FnMut(Pair),
    ) -> Result<Continued, RunError> {
        let mut texts = self.texts.fork()?;
        texts.watch(&self.watched);
        let edited = beginning.edited.as_deref().filter(|_| texts.edited.is_some());
        let [then_unedited, then_edited] = &beginning.then;
        let of = |begun: Option<&[u32]>, then: &[u32]| {
            let is_complete = begun.is_none_or(|begun| begun.len() >= count && then.is_empty());
            Continuation { tokens: vec![], stop: is_complete.then_some(StopReason::Length) }
        };
        let mut made = Continued {
            unedited: of(beginning.unedited.as_deref(), then_unedited),
            edited: edited.map(|begun| of(Some(begun), then_edited)),
            undefined_rows: 0,
            breakpoints: self.breakpoints.clone(),
        };
        let mut read = texts.begin(engine, beginning.unedited.as_deref(), edited, cancel);
        loop {
            match read {
                Err(RunError::Cancelled) => {
                    made.cancel();
                    break;
                }
                read => read?,
            }
            let next = |text: &Text, baseline: &Text, made: &mut Continuation, then: &[u32]| {
                if made.stop.is_some() {
                    return None;
                }
                if text.tokens.len() >= self.context {
                    made.stop = Some(StopReason::Context);
                    return None;
                }
                let step = text.tokens.len() - text.prompt;
                let given = then.get(made.tokens.len()).copied();
                let Some(id) = given.or_else(|| sampling.choose(&text.logits, number, step as u64)) else {
                    made.stop = Some(StopReason::NoToken);
                    return None;
                };
                let of_text = prob(&text.logits, id);
                let baseline_prob = if std::ptr::eq(text, baseline) { of_text } else { prob(&baseline.logits, id) };
                let token = NewToken { id, prob: of_text, baseline_prob };
                made.tokens.push(token);
                let is_complete = step + 1 >= count && made.tokens.len() >= then.len();
                made.stop = match () {
                    () if self.eos.contains(&id) => Some(StopReason::EndOfText),
                    () if is_complete => Some(StopReason::Length),
                    () => None,
                };
                Some(token)
            };
            let own = texts.unedited.as_ref().unwrap_or(&texts.baseline);
            let unedited = next(own, own, &mut made.unedited, then_unedited);
            let edited = match (&texts.edited, &mut made.edited) {
                (Some(text), Some(made)) => next(text, &texts.baseline, made, then_edited),
                _ => None,
            };
            if unedited.is_none() && edited.is_none() {
                break;
            }
            each(Pair { unedited, edited });
            // what has ended is not read on, except that breakpoints look at the last token too
            let (watches, is_edited) = (!self.breakpoints.is_empty(), made.edited.is_some());
            let on = |token: Option<NewToken>, made: &Continuation, watched: bool| {
                token.filter(|_| made.stop.is_none() || watched).map(|token| token.id)
            };
            let unedited = on(unedited, &made.unedited, watches && !is_edited);
            let edited = made.edited.as_ref().and_then(|made| on(edited, made, watches));
            read = texts.go_on(engine, unedited, edited, cancel);
            let is_new = if is_edited { edited.is_some() } else { unedited.is_some() };
            let token = made.own().tokens.len().saturating_sub(1);
            if read.is_ok() && is_new && texts.look(engine, &mut made.breakpoints, token)? {
                made.stopped_by_breakpoint();
                break;
            }
        }
        made.undefined_rows = texts.undefined_rows();
        Ok(made)
    }
}

impl Continued {
    /// The edited text or, without edits, the only one.
    #[must_use]
    pub fn own(&self) -> &Continuation {
        self.edited.as_ref().unwrap_or(&self.unedited)
    }

    fn stopped_by_breakpoint(&mut self) {
        match &mut self.edited {
            Some(edited) => {
                edited.stop = Some(StopReason::Breakpoint);
                self.unedited.stop.get_or_insert(StopReason::Breakpoint);
            }
            None => self.unedited.stop = Some(StopReason::Breakpoint),
        }
    }

    fn cancel(&mut self) {
        for made in [Some(&mut self.unedited), self.edited.as_mut()].into_iter().flatten() {
            made.stop.get_or_insert(StopReason::Cancelled);
        }
    }
}

/// The probability of a token.
fn prob(logits: &[f32], id: u32) -> f64 {
    (f64::from(logits[id as usize]) - log_normaliser(logits)).exp()
}
