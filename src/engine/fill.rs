//! A map of interventions, filled in by sweeping it.

use std::time::{Duration, Instant};

use super::{Comparison, Control, Engine, Grid, Map, Measure, Metric, Question, Spec, Swept, strongest};
use crate::hooks::{Axis, Edit, EditError, RunError, Schema};

/// How often a sweep that is under way is told of.
const EVERY: Duration = Duration::from_millis(60);

/// Heads whose joint effect is put beside that of random ones, and how many random sets.
const STRONGEST: usize = 3;
const SEEDS: u64 = 10;

/// A map of interventions as far as it is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Filling {
    pub grid: Grid,
    /// Of each cell; None for those to come.
    pub measures: Vec<Option<Measure>>,
    /// Without the interventions.
    pub before: Measure,
    /// Of the contrast prompt, when patching from it.
    pub contrast: Option<Measure>,
    /// Seconds left, as far as it can be told.
    pub left: Option<f64>,
    /// The heads that move the prediction most, beside random ones; once the map is full, if it ablates.
    pub comparison: Option<Comparison>,
}

impl Filling {
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

    /// What a cell shows; None for one to come.
    #[must_use]
    pub fn value(&self, cell: usize, metric: Metric) -> Option<f64> {
        let measure = self.measures.get(cell)?.as_ref()?;
        Some(metric.of(measure, &self.before, self.contrast.as_ref()))
    }
}

impl Engine {
    /// Sweep the cells that a map lacks, telling now and then how far it is; then compare its strongest heads by `metric`
    /// with random ones. What is filled in stays when the rest is cancelled.
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
            // position by position, since places of one and the same number are not of one and the same token
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
        let swept = self.sweep(spec, &cells, question, control, &mut |swept| match swept {
            Swept::Begun { before, contrast } => {
                (filling.before, filling.contrast) = (before, contrast.filter(|_| map.is_patch()));
                tell(filling);
            }
            Swept::Cells(cells) => {
                for (number, measure) in cells {
                    filling.measures[missing[number]] = Some(measure);
                }
                if told.elapsed() > EVERY {
                    told = Instant::now();
                    filling.left = Some(left(began, missing.len(), filling.measures.len() - filling.done()));
                    tell(filling);
                }
            }
        });
        filling.left = None;
        swept?;
        if let (Map::Ablate(op), None) = (map, &filling.comparison) {
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
