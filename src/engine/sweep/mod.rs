//! Many interventions on one prompt, measured after its last position, as rows of a few forward passes.

mod estimate;
mod heads;
mod map;
mod metric;
mod progress;
mod watch;

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use rayon::prelude::*;

pub use estimate::Estimated;
pub use heads::{Comparison, ablate_heads, random_heads, strongest};
pub use map::{Column, Grid, Map, Patch, Row};
pub use metric::Metric;
pub use progress::Filling;
pub use watch::{CellBreakpoint, CellHit};

use watch::Watcher;

use super::{Control, Engine, Hit, Spec, base::Base, find::FindError};
use crate::{
    analysis::{kl_divergence, log_normaliser},
    hooks::{Capture, Edit, HookPoint, Interventions, Plan, RunError},
    model::{PassError, Start},
    predicate::{Predicate, Program},
};

/// The tokens that a measure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub target: u32,
    /// The token whose logit is subtracted from the target's; without it, the logit difference is the target's logit.
    pub distractor: Option<u32>,
}

/// The prediction after the last position with an intervention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// KL(without || with the intervention), in nats.
    pub kl: f64,
    pub logit_diff: f64,
    /// The target's probability.
    pub prob: f64,
}

impl Measure {
    /// Each number minus that of another measure.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self { kl: self.kl - other.kl, logit_diff: self.logit_diff - other.logit_diff, prob: self.prob - other.prob }
    }
}

impl Question {
    /// The measure of a row of logits `[vocab]`, relative to those without the intervention.
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

/// What a running sweep reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Swept {
    /// The measure without the interventions and, if there is a contrast prompt, that of the contrast prompt.
    Begun { before: Measure, contrast: Option<Measure> },
    /// Cells that were run together: the number of each and its measure.
    Cells(Vec<(usize, Measure)>),
    /// Breakpoints that were true in cells that were run together; they come before the measures.
    Hits(Vec<CellHit>),
}

/// The same as logits after the last position, `[vocab]`.
pub(super) enum Rows<'a> {
    Begun {
        before: &'a [f32],
        contrast: Option<&'a [f32]>,
    },
    Hits(Vec<CellHit>),
    /// The numbers of cells that were run together, and the logits of each; `before` are those without them.
    Cells {
        before: &'a [f32],
        numbers: &'a [usize],
        logits: &'a [Vec<f32>],
    },
}

/// The logits of some plans, `[plan][vocab]`, and the hits in the run of each.
type Measured = (Vec<Vec<f32>>, Vec<Vec<Hit>>);

/// About how many multiplications are done between two checks for cancellation: on a CPU, and on a GPU, which a few rows
/// would leave idle.
const WORK: usize = 100_000_000_000;
const WORK_ON_GPU: usize = 30 * WORK;

/// Rows that go through the model together, at most.
const ROWS: usize = 128;

impl Engine {
    /// Measure each of `cells`, lists of edits that are made in addition to those of `spec`. `each` gets the starting
    /// point, and then the cells as they are measured, in the order of the positions and blocks at which they begin.
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
        let mut on = |swept| {
            each(swept);
            ControlFlow::Continue(())
        };
        self.watched_sweep(spec, cells, question, &[], control, &mut on)
    }

    /// The same with breakpoints, which are looked for in the run of every cell. The sweep ends when `each` breaks, after the cells
    /// that were run together.
    ///
    /// # Errors
    /// Those of [`Self::sweep`], and a predicate that does not fit.
    pub fn watched_sweep(
        &mut self,
        spec: &Spec,
        cells: &[Vec<Edit>],
        question: Question,
        breakpoints: &[Predicate],
        control: Control<'_>,
        each: &mut dyn FnMut(Swept) -> ControlFlow<()>,
    ) -> Result<(), RunError> {
        self.sweep_rows(spec, cells, breakpoints, control, &mut |rows| match rows {
            Rows::Begun { before, contrast } => {
                let contrast = contrast.map(|logits| question.measure(before, logits));
                each(Swept::Begun { before: question.measure(before, before), contrast })
            }
            Rows::Hits(hits) => each(Swept::Hits(hits)),
            Rows::Cells { before, numbers, logits } => {
                let measures: Vec<Measure> = logits.par_iter().map(|logits| question.measure(before, logits)).collect();
                each(Swept::Cells(numbers.iter().copied().zip(measures).collect()))
            }
        })
    }

    /// As [`Self::watched_sweep`], with the logits after the last position.
    ///
    /// # Errors
    /// As [`Self::watched_sweep`].
    pub(super) fn sweep_rows(
        &mut self,
        spec: &Spec,
        cells: &[Vec<Edit>],
        breakpoints: &[Predicate],
        control: Control<'_>,
        each: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> Result<(), RunError> {
        self.ready(spec, control)?;
        let n_layers = self.schema.dims.n_layers;
        let plan = |cell: &Vec<Edit>| {
            let edits = [spec.edits.as_slice(), cell].concat();
            self.plan(&edits, spec)
        };
        let plans: Vec<Plan> = cells.iter().map(plan).collect::<Result<_, _>>()?;
        let own = plan(&Vec::new())?;
        let program = |when: &Predicate| Program::new(when, &self.schema, spec.tokens.len());
        let programs = breakpoints.iter().map(program).collect::<Result<Vec<_>, _>>();
        let programs = programs.map_err(|error| FindError::from(error).into_run())?;
        let mut needed = self.resumable(plans.iter().chain([&own]), spec.tokens.len());
        let looks = |point: &HookPoint| programs.iter().any(|program| program.wants(*point));
        needed.extend(self.schema.points().into_iter().filter(looks).map(|point| self.kept_for(point)));
        let last = spec.tokens.len().saturating_sub(1);
        let all: Vec<&Plan> = plans.iter().chain([&own]).collect();
        let base = self.base(spec, &Capture::Only(needed), last, &all, control)?;

        let before = self.rows(&base, std::slice::from_ref(&own), &[], control)?.0.remove(0);
        let contrast = base.contrast.as_ref().map(|run| last_row(&run.logits)).transpose()?;
        let contrast = contrast.map(|mut rows| rows.remove(0));

        if each(Rows::Begun { before: &before, contrast: contrast.as_deref() }).is_break() {
            return Ok(());
        }
        let mut numbers: Vec<usize> = (0..plans.len()).collect();
        // cells that begin at the same position go together, since the first position determines what is computed
        let n_pos = spec.tokens.len();
        numbers.sort_by_key(|number| (plans[*number].first_position(n_pos), plans[*number].first_block(n_layers)));
        // most of the last block is left out unless an edit is there, so cells with such edits run separately
        let in_last = |number: &usize| plans[*number].first_block(n_layers).is_some_and(|block| block + 1 >= n_layers);
        let (late, early): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(in_last);
        let rows = self.rows_at_once(n_pos);
        for chunk in early.chunks(rows).chain(late.chunks(rows)) {
            let batch: Vec<Plan> =
                std::iter::once(&own).chain(chunk.iter().map(|number| &plans[*number])).cloned().collect();
            let (logits, hits) = self.rows(&base, &batch, &programs, control)?;
            let of_cells = hits.into_iter().skip(1).zip(chunk);
            let hits: Vec<CellHit> =
                of_cells.flat_map(|(hits, cell)| hits.into_iter().map(|hit| CellHit { cell: *cell, hit })).collect();
            let stops = !hits.is_empty() && each(Rows::Hits(hits)).is_break();
            let cells = Rows::Cells { before: &before, numbers: chunk, logits: &logits[1..] };
            if each(cells).is_break() || stops {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Rows that go through the model between two checks for cancellation.
    fn rows_at_once(&self, n_pos: usize) -> usize {
        let dims = &self.schema.dims;
        let weights = dims.n_layers * dims.d_model * (4 * dims.n_heads * dims.d_head + 2 * dims.d_mlp);
        let work = if self.loaded.model.place().device.is_cpu() { WORK } else { WORK_ON_GPU };
        (work / (weights * n_pos).max(1)).clamp(1, ROWS)
    }

    /// The logits after the last position with each plan, and the hits of the breakpoints in its run.
    fn rows(
        &self,
        base: &Base,
        plans: &[Plan],
        breakpoints: &[Program],
        control: Control<'_>,
    ) -> Result<Measured, RunError> {
        let tokens = [base.baseline.tokens.clone()];
        let mut causal = true;
        loop {
            let start = self.resume(&base.baseline, plans, causal).unwrap_or(Start::Tokens(&tokens));
            let past = if let Start::Residual { past: Some(past), .. } = &start { past.positions } else { 0 };
            let hooks = Interventions::new(plans, &[], Capture::None, base.references(), self.schema.dims.d_vocab);
            let dictionaries = self.dictionaries(&base.baseline.tokens, &base.features);
            let watcher = Watcher::new(self, breakpoints, &base.baseline, past);
            let mut hooks = hooks.after(past).with_dictionaries(&dictionaries).cancelled_by(control.cancel);
            if !breakpoints.is_empty() {
                hooks = hooks.observed_by(&watcher);
            }
            let normalized = match self.loaded.model.pass(start, &self.schema, &mut hooks, true) {
                Err(PassError::NotCausal) if causal => {
                    causal = false;
                    continue;
                }
                passed => passed?,
            };
            let logits = self.loaded.model.unembed(&normalized)?;
            let (rows, of_plan) = (last_row(&logits)?, hooks.row_of_plan());
            // a missing row equals the first
            let logits = of_plan.into_iter().map(|row| rows.get(row).unwrap_or(&rows[0]).clone()).collect();
            drop(hooks);
            return Ok((logits, watcher.finish(plans.len())?));
        }
    }
}

/// The logits after the last position, `[row][vocab]`, of `[row, pos, vocab]`.
fn last_row(logits: &Tensor) -> Result<Vec<Vec<f32>>, RunError> {
    let last = logits.dim(1)?.saturating_sub(1);
    Ok(logits.narrow(1, last, 1)?.squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?)
}
