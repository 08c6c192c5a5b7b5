//! A map of interventions, filled in by sweeping it.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    super::{Control, Engine, Hit, Spec},
    CellBreakpoint, CellHit, Comparison, Grid, Map, Measure, Metric, Question, Swept, strongest,
};
use crate::{
    analysis::short_number,
    hooks::{Axis, Edit, EditError, RunError, Schema},
    predicate::{Match, Predicate},
};

/// How often a running sweep reports.
const EVERY: Duration = Duration::from_millis(60);

/// The number of heads whose joint effect is compared with that of random ones, and the number of random sets.
const STRONGEST: usize = 3;
const SEEDS: u64 = 10;

/// A map of interventions, as far as it is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Filling {
    pub grid: Grid,
    /// One for each cell; None if it is still to come.
    pub measures: Vec<Option<Measure>>,
    /// The measure without the interventions.
    pub before: Measure,
    /// The measure of the contrast prompt, when patching from it.
    pub contrast: Option<Measure>,
    /// The estimated seconds left, if known.
    pub left: Option<f64>,
    /// The heads that move the prediction most, compared with random ones; only for a complete ablation map.
    pub comparison: Option<Comparison>,
    /// Breakpoints that are looked for in the run of every cell.
    pub breakpoints: Vec<CellBreakpoint>,
    /// The breakpoint that stopped the sweep.
    pub stopped: Option<CellHit>,
}

impl Filling {
    /// Each measure minus that of another model; a map that is not complete on both sides has gaps.
    #[must_use]
    pub fn less(self, other: &Self) -> Self {
        let both = |a: Option<Measure>, b: Option<Measure>| a.zip(b).map(|(a, b)| a.less(b));
        Self {
            measures: self.measures.iter().zip(&other.measures).map(|(a, b)| both(*a, *b)).collect(),
            before: self.before.less(other.before),
            contrast: both(self.contrast, other.contrast),
            left: None,
            comparison: None,
            grid: self.grid,
            breakpoints: Vec::new(),
            stopped: None,
        }
    }

    /// The empty map.
    #[must_use]
    pub fn new(map: Map, schema: &Schema, n_pos: usize) -> Self {
        let grid = map.grid(schema, n_pos);
        Self {
            measures: vec![None; grid.cells()],
            grid,
            before: Measure { kl: 0.0, logit_diff: f64::NAN, prob: f64::NAN },
            contrast: None,
            left: None,
            comparison: None,
            breakpoints: Vec::new(),
            stopped: None,
        }
    }

    /// Whether there are cells to come.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.measures.iter().any(Option::is_none)
    }

    #[must_use]
    pub fn done(&self) -> usize {
        self.measures.iter().filter(|measure| measure.is_some()).count()
    }

    /// What stopped it: the cell, and the first place where the breakpoint is true.
    #[must_use]
    pub fn stopped_at(&self) -> Option<String> {
        let CellHit { cell, hit } = self.stopped.as_ref()?;
        let Hit { first: Match { place, value }, .. } = hit;
        Some(format!("{}: {place} = {}", self.grid.cell_name(*cell), short_number(*value)))
    }

    /// Count what the breakpoints found; whether one of them stops the sweep.
    fn take(&mut self, hits: &[CellHit]) -> bool {
        for hit in hits {
            let Some(breakpoint) = self.breakpoints.get_mut(hit.hit.breakpoint) else { continue };
            breakpoint.count(hit);
            if !breakpoint.logs && self.stopped.as_ref().is_none_or(|stopped| hit.cell < stopped.cell) {
                self.stopped = Some(hit.clone());
            }
        }
        self.stopped.is_some()
    }

    /// The metric of a cell; None if it is still to come.
    #[must_use]
    pub fn value(&self, cell: usize, metric: Metric) -> Option<f64> {
        let measure = self.measures.get(cell)?.as_ref()?;
        Some(metric.of(measure, &self.before, self.contrast.as_ref()))
    }
}

impl Engine {
    /// Sweep the missing cells of a map, reporting progress, and then compare its strongest heads by `metric` with
    /// random ones. What is filled in stays when the rest is cancelled, or when a breakpoint stops it.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn fill(
        &mut self,
        spec: &Spec,
        question: Question,
        metric: Metric,
        filling: &mut Filling,
        control: Control<'_>,
        tell: &mut dyn FnMut(&Filling),
    ) -> Result<(), RunError> {
        let map = filling.grid.map;
        if let (true, Some(contrast)) = (map.patches(), &spec.contrast)
            && contrast.len() != spec.tokens.len()
        {
            // maps compare position by position, so the prompts need equal lengths
            return Err(EditError::ContrastLength {
                edit: map.name(),
                prompt: spec.tokens.len(),
                contrast: contrast.len(),
                axis: Axis::Pos,
            }
            .into());
        }
        let missing: Vec<usize> = (0..filling.measures.len()).filter(|i| filling.measures[*i].is_none()).collect();
        let cells: Vec<Vec<Edit>> = missing.iter().map(|i| filling.grid.edit(*i).into_iter().collect()).collect();
        let (began, mut told) = (Instant::now(), Instant::now());
        let breakpoints: Vec<Predicate> =
            filling.breakpoints.iter().map(|breakpoint| breakpoint.when.clone()).collect();
        filling.stopped = None;
        let mut each = |swept| match swept {
            Swept::Begun { before, contrast } => {
                (filling.before, filling.contrast) = (before, contrast.filter(|_| map.is_patch()));
                tell(filling);
                ControlFlow::Continue(())
            }
            Swept::Hits(mut hits) => {
                for hit in &mut hits {
                    hit.cell = missing[hit.cell];
                }
                if filling.take(&hits) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Swept::Cells(cells) => {
                for (number, measure) in cells {
                    filling.measures[missing[number]] = Some(measure);
                }
                if told.elapsed() > EVERY && filling.stopped.is_none() {
                    told = Instant::now();
                    filling.left = Some(left(began, missing.len(), filling.measures.len() - filling.done()));
                    tell(filling);
                }
                ControlFlow::Continue(())
            }
        };
        let swept = self.watched_sweep(spec, &cells, question, &breakpoints, control, &mut each);
        filling.left = None;
        swept?;
        if let (Map::Ablate(op), None, false) = (map, &filling.comparison, filling.is_filling()) {
            tell(filling);
            let value = |cell| filling.value(cell, metric).unwrap_or(f64::NAN);
            let values: Vec<f64> = (0..filling.measures.len()).map(value).collect();
            let heads = strongest(&filling.grid, &values, STRONGEST.min(self.schema.dims.n_heads));
            if heads.is_empty() {
                return Ok(());
            }
            filling.comparison = Some(self.compare_heads(spec, &heads, op, metric, question, SEEDS, control)?);
        }
        Ok(())
    }
}

/// Seconds until `missing` of `all` cells are done, at the pace so far.
#[allow(clippy::cast_precision_loss, reason = "numbers of cells")]
fn left(began: Instant, all: usize, missing: usize) -> f64 {
    began.elapsed().as_secs_f64() / (all - missing).max(1) as f64 * missing as f64
}
