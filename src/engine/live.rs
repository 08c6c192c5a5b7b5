use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{
    Answer, Control, Engine, Filling, LensColumn, Look, Map, Measure, Metric, Outcome, Question, Report, Stop, Swept,
    View, Want, strongest,
};
use crate::hooks::{Capture, Edit, EditError};

/// How many next tokens the explorer is told.
const TOP: usize = 20;

/// Answers the explorer from an engine, keeping the latest outcome so that a look costs no run.
pub struct Live {
    engine: Engine,
    latest: Option<Latest>,
}

/// The latest outcome, and what was found out about it.
struct Latest {
    /// The run that it was last reported for.
    run: u64,
    outcome: Outcome,
    /// The lens, by position: it costs as much as a run for each layer, so only what is looked at is computed, once.
    lens: BTreeMap<usize, LensColumn>,
    /// Maps as far as they were swept: one that was left is gone on with.
    sweeps: Vec<(Question, Filling)>,
}

impl Live {
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, latest: None }
    }
}

impl Answer for Live {
    fn answer(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), EditError> {
        assert!(!forced_panic(want), "forced by PYTHIA_TUI_PANIC");
        let run = want.run;
        let known = self.latest.as_ref().filter(|latest| latest.outcome.spec == want.spec).map(|latest| latest.run);
        if known.is_none() {
            let progress = |block, blocks| report(Report::Progress { run, block, blocks });
            let control = Control { cancel: &stop.run, progress: &progress };
            let outcome = self.engine.run(&want.spec, &Capture::All, control)?;
            self.latest = Some(Latest { run, outcome, lens: BTreeMap::new(), sweeps: Vec::new() });
        }
        let Some(latest) = &mut self.latest else {
            return Ok(());
        };
        if known != Some(run) {
            let last = want.spec.tokens.len().saturating_sub(1);
            let summary = latest.outcome.summary(TOP, last, &self.engine.loaded.tokenizer)?;
            report(Report::Ran { run, summary: Arc::new(summary) });
            latest.run = run;
        }
        if let Some(look) = want.look {
            // a run that failed or was cancelled may have left other hooks on
            self.engine.enable(&latest.outcome.spec);
            let view = match look {
                Look::Sweep { map, question } => {
                    let tell = |filling: &Filling| {
                        report(Report::Saw { run, look, view: Arc::new(View::Sweep(filling.clone())) });
                    };
                    latest.sweep(&mut self.engine, map, question, &stop.look, &tell).map(View::Sweep)
                }
                Look::Lens { first, count } => latest.lens(&self.engine, first..first + count, &stop.look),
                other => latest.outcome.look(other, &self.engine, &stop.look),
            };
            let view = match view {
                Err(EditError::Cancelled) => return Err(EditError::Cancelled),
                Err(error) => View::Nothing(error.to_string()),
                Ok(view) => view,
            };
            report(Report::Saw { run, look, view: Arc::new(view) });
        }
        Ok(())
    }
}

impl Latest {
    fn lens(&mut self, engine: &Engine, positions: Range<usize>, cancel: &AtomicBool) -> Result<View, EditError> {
        let missing: Vec<usize> = positions.clone().filter(|pos| !self.lens.contains_key(pos)).collect();
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let columns = engine.lens(&self.outcome, *first..last + 1, cancel)?;
            self.lens.extend((*first..).zip(columns));
        }
        let columns: Vec<&LensColumn> = positions.clone().filter_map(|pos| self.lens.get(&pos)).collect();
        Ok(View::lens(positions.start, &columns))
    }
}

/// How often a sweep that is under way is told of.
const EVERY: Duration = Duration::from_millis(60);

/// Heads whose joint effect is put beside that of random ones, and how many random sets.
const STRONGEST: usize = 3;
const SEEDS: u64 = 10;

impl Latest {
    /// Sweep a map from where it was left, telling what there is now and then.
    fn sweep(
        &mut self,
        engine: &mut Engine,
        map: Map,
        question: Question,
        cancel: &AtomicBool,
        tell: &dyn Fn(&Filling),
    ) -> Result<Filling, EditError> {
        let spec = &self.outcome.spec;
        let at = self.sweeps.iter().position(|(of, filling)| *of == question && filling.map == map);
        let grid = map.grid(&engine.schema, spec.tokens.len());
        let new = || Filling {
            measures: vec![None; grid.cells.len()],
            map,
            grid,
            before: Measure { kl: 0.0, logit_diff: f64::NAN, prob: f64::NAN },
            contrast: None,
            left: None,
            comparison: None,
        };
        let mut filling = at.map_or_else(new, |at| self.sweeps.swap_remove(at).1);
        let missing: Vec<usize> = (0..filling.measures.len()).filter(|i| filling.measures[*i].is_none()).collect();
        let cells: Vec<Vec<Edit>> = missing.iter().map(|i| vec![filling.grid.cells[*i].clone()]).collect();
        let control = Control { cancel, progress: &|_, _| {} };
        let (began, mut told) = (Instant::now(), Instant::now());
        let swept = engine.sweep(spec, &cells, question, control, &mut |swept| match swept {
            Swept::Begun { before, contrast } => {
                (filling.before, filling.contrast) = (before, contrast.filter(|_| map.is_patch()));
                tell(&filling);
            }
            Swept::Cell(number, measure) => {
                filling.measures[missing[number]] = Some(measure);
                if told.elapsed() > EVERY {
                    told = Instant::now();
                    filling.left = Some(left(began, missing.len(), filling.measures.len() - filling.done()));
                    tell(&filling);
                }
            }
        });
        filling.left = None;
        let compared = match (&swept, map) {
            (Ok(()), Map::Ablate(op)) if filling.comparison.is_none() => {
                tell(&filling);
                let values: Vec<f64> =
                    (0..filling.measures.len()).map(|i| filling.value(i, Metric::Kl).unwrap_or(0.0)).collect();
                let heads = strongest(&filling.grid, &values, STRONGEST.min(engine.schema.dims.n_heads));
                engine.compare_heads(spec, &heads, op, Metric::Kl, question, SEEDS, control).map(Some)
            }
            _ => Ok(None),
        };
        // what was done stays, also when the rest was cancelled
        let result =
            swept.and(compared).map(|comparison| filling.comparison = comparison.or(filling.comparison.take()));
        self.sweeps.push((question, filling.clone()));
        result.map(|()| filling)
    }
}

/// Seconds until `missing` of `all` cells are done, at the pace so far.
#[allow(clippy::cast_precision_loss, reason = "numbers of cells")]
fn left(began: Instant, all: usize, missing: usize) -> f64 {
    began.elapsed().as_secs_f64() / (all - missing).max(1) as f64 * missing as f64
}

/// Debug builds panic on the first edit when told to, so that a test can see the terminal survive it.
fn forced_panic(want: &Want) -> bool {
    cfg!(debug_assertions) && !want.spec.edits.is_empty() && std::env::var_os("PYTHIA_TUI_PANIC").is_some()
}
