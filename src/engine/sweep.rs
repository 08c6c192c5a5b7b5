//! Many interventions on one prompt, measured after its last position: rows of few forward passes.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::{Control, Engine, Spec, run::Base};
use crate::{
    analysis::{kl_divergence, log_normaliser},
    hooks::{Capture, Edit, Interventions, Plan, RunError},
    model::{PassError, Start},
};

/// The tokens that a measure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub target: u32,
    /// Whose logit is taken off the target's; without it, the logit difference is the target's logit.
    pub distractor: Option<u32>,
}

/// What an intervention made of the prediction after the last position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// KL(without || with the intervention), in nats.
    pub kl: f64,
    pub logit_diff: f64,
    /// Of the target.
    pub prob: f64,
}

impl Question {
    /// Of a row of logits `[vocab]`, against those without the intervention.
    #[must_use]
    pub fn measure(self, before: &[f32], logits: &[f32]) -> Measure {
        let logit = |token: u32| logits.get(token as usize).map_or(f64::NAN, |x| f64::from(*x));
        Measure {
            kl: kl_divergence(before, logits),
            logit_diff: logit(self.target) - self.distractor.map_or(0.0, logit),
            prob: (logit(self.target) - log_normaliser(logits)).exp(),
        }
    }
}

/// What a sweep tells while it is under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Swept {
    /// The measure without the interventions, and with a contrast prompt that one's.
    Begun { before: Measure, contrast: Option<Measure> },
    /// Cells that were run together: the number of each and its measure.
    Cells(Vec<(usize, Measure)>),
}

/// Multiplications that are done between two looks at whether to go on, about.
const WORK: usize = 100_000_000_000;

/// Rows that go through the model together, at most.
const ROWS: usize = 128;

impl Engine {
    /// Measure each of `cells`, a list of edits that are made on top of those of `spec`; `each` is told what it begins from,
    /// then the cells as they come, in the order of the positions and blocks they begin at.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn sweep(
        &mut self,
        spec: &Spec,
        cells: &[Vec<Edit>],
        question: Question,
        control: Control<'_>,
        each: &mut dyn FnMut(Swept),
    ) -> Result<(), RunError> {
        self.enable(spec);
        let n_layers = self.schema.dims.n_layers;
        let plan = |cell: &Vec<Edit>| {
            let edits = [spec.edits.as_slice(), cell].concat();
            Plan::resolve(&edits, &self.schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len))
        };
        let plans: Vec<Plan> = cells.iter().map(plan).collect::<Result<_, _>>()?;
        let own = plan(&Vec::new())?;
        let needed = self.resumable(plans.iter().chain([&own]), spec.tokens.len());
        let last = spec.tokens.len().saturating_sub(1);
        let all: Vec<&Plan> = plans.iter().chain([&own]).collect();
        let base = self.base(spec, &Capture::Only(needed), last, &all, control)?;

        let before = self.rows(&base, std::slice::from_ref(&own), control)?.remove(0);
        let contrast = base.contrast.as_ref().map(|run| last_row(&run.logits)).transpose()?;
        let contrast = contrast.map(|mut rows| question.measure(&before, &rows.remove(0)));

        each(Swept::Begun { before: question.measure(&before, &before), contrast });
        let mut numbers: Vec<usize> = (0..plans.len()).collect();
        // those that begin at one position go together, since the first decides what is computed
        let n_pos = spec.tokens.len();
        numbers.sort_by_key(|number| (plans[*number].first_position(n_pos), plans[*number].first_block(n_layers)));
        // of the last block most is left out when nothing is edited there, so what is edited there goes by itself
        let in_last = |number: &usize| plans[*number].first_block(n_layers).is_some_and(|block| block + 1 >= n_layers);
        let (late, early): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(in_last);
        let rows = self.rows_at_once(n_pos);
        for chunk in early.chunks(rows).chain(late.chunks(rows)) {
            let batch: Vec<Plan> =
                std::iter::once(&own).chain(chunk.iter().map(|number| &plans[*number])).cloned().collect();
            let logits = self.rows(&base, &batch, control)?;
            let measures: Vec<Measure> =
                logits[1..].par_iter().map(|logits| question.measure(&before, logits)).collect();
            each(Swept::Cells(chunk.iter().copied().zip(measures).collect()));
        }
        Ok(())
    }

    /// Rows that go through the model together: as many as take about a second.
    fn rows_at_once(&self, n_pos: usize) -> usize {
        let dims = &self.schema.dims;
        let weights = dims.n_layers * dims.d_model * (4 * dims.n_heads * dims.d_head + 2 * dims.d_mlp);
        (WORK / (weights * n_pos).max(1)).clamp(1, ROWS)
    }

    /// The logits after the last position with each plan, `[plan][vocab]`.
    fn rows(&self, base: &Base, plans: &[Plan], control: Control<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let tokens = [base.baseline.tokens.clone()];
        let mut causal = true;
        loop {
            let start = self.resume(&base.baseline, plans, causal).unwrap_or(Start::Tokens(&tokens));
            let past = if let Start::Residual { past: Some(past), .. } = &start { past.positions } else { 0 };
            let hooks = Interventions::new(plans, &[], Capture::None, base.references(), self.schema.dims.d_vocab);
            let mut hooks = hooks.after(past).cancelled_by(control.cancel);
            let normalized = match self.loaded.model.pass(start, &self.schema, &mut hooks, true) {
                Err(PassError::NotCausal) if causal => {
                    causal = false;
                    continue;
                }
                passed => passed?,
            };
            let logits = self.loaded.model.unembed(&normalized)?;
            let (rows, of_plan) = (last_row(&logits)?, hooks.row_of_plan());
            // a row that is not there is as the first
            return Ok(of_plan.into_iter().map(|row| rows.get(row).unwrap_or(&rows[0]).clone()).collect());
        }
    }
}

/// The logits after the last position, `[row][vocab]`, of `[row, pos, vocab]`.
fn last_row(logits: &Tensor) -> Result<Vec<Vec<f32>>, RunError> {
    let last = logits.dim(1)?.saturating_sub(1);
    Ok(logits.narrow(1, last, 1)?.squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?)
}
