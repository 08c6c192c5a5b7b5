//! The effect of ablating each head, averaged over prompts.

use serde::{Deserialize, Serialize};

use super::{
    super::{Control, Engine, Measure, Metric, Question, Spec, Swept, control::go_on},
    Batch, CorpusPrompt, CorpusTask, Watch,
};
use crate::{
    analysis::ObjectiveKind,
    hooks::{Axis, BlockHook, Capture, CorpusValues, Dims, Edit, HookPoint, Needs, Op, Plan, RunError},
};

/// The mean effect of ablating each head over the prompts so far, and its standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadEffects {
    heads: usize,
    prompts: u64,
    /// Means and sums of squared distances from them, `[layer * head]` (Welford, "Note on a method for calculating
    /// corrected sums of squares and products", 1962).
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl HeadEffects {
    #[must_use]
    pub fn new(dims: &Dims) -> Self {
        let cells = dims.n_layers * dims.n_heads;
        Self { heads: dims.n_heads, prompts: 0, means: vec![0.0; cells], squares: vec![0.0; cells] }
    }

    #[must_use]
    pub fn prompts(&self) -> u64 {
        self.prompts
    }

    /// Add the effects in one prompt, `[layer * head]`.
    #[allow(clippy::cast_precision_loss, reason = "a number of prompts")]
    pub fn add(&mut self, effects: &[f64]) {
        self.prompts += 1;
        for ((mean, squares), effect) in self.means.iter_mut().zip(&mut self.squares).zip(effects) {
            let off = effect - *mean;
            *mean += off / self.prompts as f64;
            *squares += off * (effect - *mean);
        }
    }

    /// `[layer][head]`
    #[must_use]
    pub fn means(&self) -> Vec<Vec<f64>> {
        self.means.chunks(self.heads.max(1)).map(<[f64]>::to_vec).collect()
    }

    /// The standard errors of the means, `[layer][head]`; NaN for fewer than two prompts.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of prompts")]
    pub fn standard_errors(&self) -> Vec<Vec<f64>> {
        let n = self.prompts as f64;
        let error = |squares: &f64| if n < 2.0 { f64::NAN } else { (squares / (n - 1.0) / n).sqrt() };
        self.squares.chunks(self.heads.max(1)).map(|row| row.iter().map(error).collect()).collect()
    }
}

impl Engine {
    /// The effect on the metric of ablating each head with the task's operation, in each prompt of a batch and beside the task's edits:
    /// `kl` from the run with those edits, or the change of another metric. `[prompt][layer * head]`
    ///
    /// # Errors
    /// An operation or an edit that can't be carried out; cancellation, tensor errors.
    pub fn ablate_heads_of(
        &mut self,
        task: &CorpusTask,
        batch: &Batch<'_>,
        means: &CorpusValues,
        control: Control<'_>,
    ) -> Result<Vec<Vec<f64>>, RunError> {
        let Some(op) = task.ablation else { return Ok(vec![]) };
        let heads = heads(&self.schema.dims, op);
        let of_corpus = |edit: &Edit| edit.op.needs() == Some(Needs::Corpus);
        let swept = match task.question.metric {
            ObjectiveKind::LogitDiff => Some(Metric::LogitDiff),
            ObjectiveKind::Prob => Some(Metric::Prob),
            ObjectiveKind::Kl => Some(Metric::Kl),
            // a sweep computes only the last prediction
            ObjectiveKind::Loss => None,
        };
        match swept.filter(|_| !task.spec.edits.iter().chain(&heads).any(of_corpus)) {
            Some(metric) => {
                batch.prompts.iter().map(|prompt| self.swept_heads(task, &heads, metric, prompt, control)).collect()
            }
            None => self.batched_heads(task, &heads, batch, means, control),
        }
    }

    /// The heads of a prompt as rows of a batch.
    fn swept_heads(
        &mut self,
        task: &CorpusTask,
        heads: &[Edit],
        metric: Metric,
        prompt: &CorpusPrompt,
        control: Control<'_>,
    ) -> Result<Vec<f64>, RunError> {
        go_on(control.cancel)?;
        let spec = Batch::spec(task, prompt);
        let (target, distractor) = match metric {
            Metric::Kl => (None, None),
            Metric::LogitDiff | Metric::Prob => {
                let run = self.run(&Spec { edits: vec![], ..spec.clone() }, &Capture::None, usize::MAX, control)?.run;
                task.question.tokens(prompt, &run.logit_rows()?.pop().unwrap_or_default())
            }
        };
        let cells: Vec<Vec<Edit>> = heads.iter().map(|head| vec![head.clone()]).collect();
        let mut effects = vec![f64::NAN; cells.len()];
        let mut without: Option<Measure> = None;
        // of kl, no token matters
        let question = Question { target: target.unwrap_or(0), distractor };
        self.sweep(&spec, &cells, question, control, &mut |swept| match swept {
            Swept::Begun { before, .. } => without = Some(before),
            Swept::Hits(_) => {}
            Swept::Cells(cells) => {
                for (cell, measure) in cells {
                    effects[cell] = without.map_or(f64::NAN, |before| metric.of(&measure, &before, None));
                }
            }
        })?;
        Ok(effects)
    }

    /// The prompts as rows of a batch, a head at a time.
    fn batched_heads(
        &mut self,
        task: &CorpusTask,
        heads: &[Edit],
        batch: &Batch<'_>,
        means: &CorpusValues,
        control: Control<'_>,
    ) -> Result<Vec<Vec<f64>>, RunError> {
        self.ready(&task.spec, control)?;
        let with = |head: Option<&Edit>| task.spec.edits.iter().chain(head).cloned().collect::<Vec<Edit>>();
        let lines: Vec<Vec<Edit>> = [None].into_iter().chain(heads.iter().map(Some)).map(with).collect();
        let plans = lines.iter().map(|lines| self.batch_plan(task, batch, lines)).collect::<Result<Vec<Plan>, _>>()?;
        let base = self.batch_base(task, batch, &plans.iter().collect::<Vec<_>>(), means, true, control)?;
        let of_loss = task.question.metric == ObjectiveKind::Loss;
        let mut effects = vec![Vec::with_capacity(heads.len()); batch.prompts.len()];
        let (mut own, mut without) = (vec![], vec![]);
        if !of_loss {
            let unedited = self.last_logits(&base.normalized)?;
            own = batch.prompts.iter().zip(&unedited).map(|(prompt, row)| task.question.tokens(prompt, row)).collect();
        }
        for (number, (plan, lines)) in plans.iter().zip(&lines).enumerate() {
            go_on(control.cancel)?;
            let passed = match plan.steps.is_empty() {
                true => base.normalized.clone(),
                false => self.edited_batch(&base, plan, lines, &Watch::nothing(), !of_loss, control)?.normalized,
            };
            // the first is the run without an ablated head
            let values: Vec<f64> = if of_loss {
                self.losses(&passed, &batch.prompts)?
            } else {
                let logits = self.last_logits(&passed)?;
                if number == 0 {
                    without.clone_from(&logits);
                }
                let value = |(prompt, at): (&&CorpusPrompt, usize)| {
                    let (target, distractor): (Option<u32>, Option<u32>) = own[at];
                    let objective = task.question.metric.of(0, target, distractor);
                    let n_pos = prompt.tokens.len();
                    objective.map_or(f64::NAN, |objective| objective.at(&logits[at], &without[at], 0, n_pos))
                };
                batch.prompts.iter().zip(0..).map(value).collect()
            };
            effects.iter_mut().zip(values).for_each(|(effects, value)| effects.push(value));
        }
        // adding 0 turns -0 into 0
        Ok(effects.into_iter().map(|all| all[1..].iter().map(|value| 0.0 + value - all[0]).collect()).collect())
    }
}

/// The edits that ablate each head, `[layer * head]`.
pub(super) fn heads(dims: &Dims, op: Op) -> Vec<Edit> {
    let Dims { n_layers, n_heads, .. } = *dims;
    let head =
        |cell: usize| Edit::at(HookPoint::Block(cell / n_heads, BlockHook::Z), &[(Axis::Head, cell % n_heads)], op);
    (0..n_layers * n_heads).map(head).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with the definitions.
        #[test]
        fn means_and_their_errors(effects in proptest::collection::vec((-3.0f64..3.0, -3.0f64..3.0), 2..20)) {
            let mut all = HeadEffects { heads: 2, prompts: 0, means: vec![0.0; 2], squares: vec![0.0; 2] };
            for (a, b) in &effects {
                all.add(&[*a, *b]);
            }
            let n = f64::from(u32::try_from(effects.len()).unwrap());
            let mean = effects.iter().map(|e| e.1).sum::<f64>() / n;
            let variance = effects.iter().map(|e| (e.1 - mean).powi(2)).sum::<f64>() / (n - 1.0);
            prop_assert!((all.means()[0][1] - mean).abs() < 1e-12);
            prop_assert!((all.standard_errors()[0][1] - (variance / n).sqrt()).abs() < 1e-12);
        }
    }
}
