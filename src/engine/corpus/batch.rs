//! A batch of prompts that are equally long: without the edits, and with them.

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    super::{Control, Engine, NoEffect, edit_effect::no_effect, outcome::ROUNDING},
    CorpusPrompt, CorpusTask, Measured,
    passes::{Batch, Pass, Passed, Watch},
};
use crate::{
    analysis::{ObjectiveKind, kl_divergence},
    hooks::{ActivationCache, Capture, CorpusValues, Effect, Plan, RunError},
    model::Start,
};

/// What a batch gave.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// One for each prompt.
    pub measured: Vec<Measured>,
    /// One for each prompt, if [`Watch::effects`] asks for them and there are edits.
    pub effects: Vec<PromptEffect>,
    /// What [`Watch::keep`] names, of the run with the edits: `[prompt, axes of the hook]`.
    pub cache: ActivationCache,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
}

/// What the edits did in a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptEffect {
    /// KL(without || with the edits) after the last position, in nats.
    pub kl: f64,
    /// For each edit, why it has no effect, if it has none.
    pub no_effect: Vec<Option<NoEffect>>,
}

/// The logits after the last position without the edits and with them, `[prompt][vocab]`.
struct LastLogits {
    before: Vec<Vec<f32>>,
    /// None without edits.
    after: Option<Vec<Vec<f32>>>,
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
        if batch.prompts.is_empty() {
            return Ok(BatchOutcome::default());
        }
        self.ready(&task.spec, control)?;
        let plan = self.batch_plan(task, batch, &task.spec.edits)?;
        let last = task.question.metric != ObjectiveKind::Loss;
        if plan.steps.is_empty() {
            let none = Plan::default();
            let pass = Pass::unedited(&none, batch.prompts.len(), Capture::None).looked_at(watch.clone(), last);
            let tokens = batch.tokens();
            let Passed { normalized, cache, undefined_rows, .. } =
                self.pass_batch(Start::Tokens(&tokens), &pass, &[], control)?;
            let logits = self.logits_of_batch(task, watch, &normalized, None)?;
            let measured = self.measured(task, batch, (&normalized, None), logits.as_ref())?;
            return Ok(BatchOutcome { measured, effects: vec![], cache, undefined_rows });
        }
        let base = self.batch_base(task, batch, &[&plan], means, watch.may_resume(), control)?;
        let edited = self.edited_batch(&base, &plan, &task.spec.edits, watch, last, control)?;
        let logits = self.logits_of_batch(task, watch, &base.normalized, Some(&edited.normalized))?;
        let measured = self.measured(task, batch, (&base.normalized, Some(&edited.normalized)), logits.as_ref())?;
        let effects = match logits.filter(|_| watch.effects) {
            Some(LastLogits { before, after: Some(after) }) => {
                let kl = before.par_iter().zip(&after).map(|(before, after)| kl_divergence(before, after)).collect();
                self.prompt_effects(task, batch, &plan, (kl, &edited.effects), control)?
            }
            Some(LastLogits { after: None, .. }) | None => vec![],
        };
        Ok(BatchOutcome { measured, effects, cache: edited.cache, undefined_rows: edited.undefined_rows })
    }

    /// What the edits did in each prompt, from the divergence of its last prediction and what was applied.
    fn prompt_effects(
        &mut self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        plan: &Plan,
        (kl, applied): (Vec<f64>, &[Vec<Effect>]),
        control: Control<'_>,
    ) -> Result<Vec<PromptEffect>, RunError> {
        let edits = &task.spec.edits;
        let mut all = vec![];
        for ((prompt, kl), applied) in batch.prompts.iter().zip(kl).zip(applied) {
            let why = |number| no_effect(number, edits, plan, applied, &self.schema);
            let mut no_effect: Vec<Option<NoEffect>> = (0..edits.len()).map(why).collect();
            if no_effect == [None] && kl < ROUNDING {
                // it may have moved an earlier prediction
                let (spec, last) = (Batch::spec(task, prompt), prompt.tokens.len().saturating_sub(1));
                let alone = self.run(&spec, &Capture::None, last, control)?;
                no_effect = alone.effects.into_iter().map(|effect| effect.no_effect).collect();
            }
            all.push(PromptEffect { kl, no_effect });
        }
        Ok(all)
    }

    /// The last logits, if something is computed from them.
    fn logits_of_batch(
        &self,
        task: &CorpusTask,
        watch: &Watch<'_>,
        before: &Tensor,
        after: Option<&Tensor>,
    ) -> Result<Option<LastLogits>, RunError> {
        let needed = task.question.metric != ObjectiveKind::Loss || watch.effects && after.is_some();
        let logits = || -> Result<LastLogits, RunError> {
            let after = after.map(|after| self.last_logits(after)).transpose()?;
            Ok(LastLogits { before: self.last_logits(before)?, after })
        };
        needed.then(logits).transpose()
    }

    fn measured(
        &self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        (before, after): (&Tensor, Option<&Tensor>),
        logits: Option<&LastLogits>,
    ) -> Result<Vec<Measured>, RunError> {
        let Some(LastLogits { before, after }) = logits.filter(|_| task.question.metric != ObjectiveKind::Loss) else {
            let baseline = self.losses(before, &batch.prompts)?;
            let values = after.map(|after| self.losses(after, &batch.prompts)).transpose()?;
            let values = values.unwrap_or_else(|| baseline.clone());
            let of = |(value, baseline)| Measured { value, baseline, target: None, distractor: None };
            return Ok(values.into_iter().zip(baseline).map(of).collect());
        };
        let of = |((prompt, after), before): ((&&CorpusPrompt, &Vec<f32>), &Vec<f32>)| {
            task.question.measure(prompt, after, before)
        };
        Ok(batch.prompts.iter().zip(after.as_ref().unwrap_or(before)).zip(before).map(of).collect())
    }
}
