//! The effect of ablating each head, averaged over prompts.

use serde::{Deserialize, Serialize};

use super::{
    super::{Control, Engine, Measure, Metric, Question, Spec, Swept},
    CorpusPrompt, CorpusTask,
};
use crate::{
    analysis::ObjectiveKind,
    hooks::{Axis, BlockHook, Capture, Dims, Edit, HookPoint, Op, RunError},
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
    /// What ablating each head by `op` does to the metric in a prompt, `[layer * head]`, beside the task's edits: `kl`, or the
    /// change of the logit difference or of the probability.
    ///
    /// # Errors
    /// An operation or an edit that can't be carried out; a loss, which heads are not compared by; cancellation, tensor
    /// errors.
    pub fn ablate_heads_of(
        &mut self,
        task: &CorpusTask,
        op: Op,
        prompt: &CorpusPrompt,
        control: Control<'_>,
    ) -> Result<Vec<f64>, RunError> {
        let metric = match task.question.metric {
            ObjectiveKind::LogitDiff => Metric::LogitDiff,
            ObjectiveKind::Prob => Metric::Prob,
            ObjectiveKind::Kl => Metric::Kl,
            ObjectiveKind::Loss => {
                return Err(candle_core::Error::Msg("heads are not compared by the loss".into()).into());
            }
        };
        let spec = Spec {
            tokens: prompt.tokens.clone(),
            contrast: prompt.contrast.clone().or_else(|| task.spec.contrast.clone()),
            ..task.spec.clone()
        };
        let (target, distractor) = match metric {
            Metric::Kl => (None, None),
            Metric::LogitDiff | Metric::Prob => {
                let run = self.run(&Spec { edits: vec![], ..spec.clone() }, &Capture::None, usize::MAX, control)?.run;
                task.question.tokens(prompt, &run.logit_rows()?.pop().unwrap_or_default())
            }
        };
        let Dims { n_layers, n_heads, .. } = self.schema.dims;
        let head =
            |cell: usize| Edit::at(HookPoint::Block(cell / n_heads, BlockHook::Z), &[(Axis::Head, cell % n_heads)], op);
        let cells: Vec<Vec<Edit>> = (0..n_layers * n_heads).map(|cell| vec![head(cell)]).collect();
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
