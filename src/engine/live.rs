use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    Answer, Control, Engine, Filling, LensColumn, Look, Map, Metric, Outcome, Question, Report, Stop, View, Want,
};
use crate::hooks::{Capture, RunError};

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
    reported: Option<u64>,
    outcome: Outcome,
    /// The run that its measures were reported for.
    measured: Option<u64>,
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
    fn answer(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError> {
        assert!(!forced_panic(want), "forced by PYTHIA_TUI_PANIC");
        let run = want.run;
        if self.latest.as_ref().is_none_or(|latest| latest.outcome.spec != want.spec) {
            let progress = |block, blocks| report(Report::Progress { run, block, blocks });
            let control = Control { cancel: &stop.run, progress: &progress };
            let last = want.spec.tokens.len().saturating_sub(1);
            let outcome = self.engine.run(&want.spec, &Capture::All, last, control)?;
            self.latest =
                Some(Latest { reported: None, outcome, measured: None, lens: BTreeMap::new(), sweeps: Vec::new() });
        }
        let Some(latest) = &mut self.latest else {
            return Ok(());
        };
        if latest.reported != Some(run) {
            let summary = latest.outcome.summary(TOP, &self.engine, &stop.run)?;
            report(Report::Ran { run, summary: Arc::new(summary) });
            latest.reported = Some(run);
        }
        if let Some(look) = want.look {
            // a run that failed or was cancelled may have left other hooks on
            self.engine.enable(&latest.outcome.spec);
            let view = match look {
                Look::Sweep { map, question } => {
                    let mut tell = |filling: &Filling| {
                        report(Report::Saw { run, look, view: Arc::new(View::Sweep(filling.clone())) });
                    };
                    latest.sweep(&mut self.engine, map, question, &stop.look, &mut tell)
                }
                Look::Lens { first, count } => latest.lens(&self.engine, first..first + count, &stop.look),
                other => latest.outcome.look(other, &self.engine, &stop.look),
            };
            let view = match view {
                Err(RunError::Cancelled) => return Err(RunError::Cancelled),
                Err(error) => View::Nothing(error.to_string()),
                Ok(view) => view,
            };
            report(Report::Saw { run, look, view: Arc::new(view) });
        }
        if want.measure && latest.measured != Some(run) {
            let measured = self.engine.measure(&latest.outcome, &stop.look)?;
            report(Report::Measured { run, measured: Arc::new(measured) });
            latest.measured = Some(run);
        }
        Ok(())
    }
}

impl Latest {
    fn lens(&mut self, engine: &Engine, positions: Range<usize>, cancel: &AtomicBool) -> Result<View, RunError> {
        let missing: Vec<usize> = positions.clone().filter(|pos| !self.lens.contains_key(pos)).collect();
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let columns = engine.lens(&self.outcome, *first..last + 1, cancel)?;
            self.lens.extend((*first..).zip(columns));
        }
        let columns: Vec<&LensColumn> = positions.clone().filter_map(|pos| self.lens.get(&pos)).collect();
        Ok(View::lens(positions.start, &columns))
    }

    /// Sweep a map from where it was left.
    fn sweep(
        &mut self,
        engine: &mut Engine,
        map: Map,
        question: Question,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(&Filling),
    ) -> Result<View, RunError> {
        let spec = &self.outcome.spec;
        let at = self.sweeps.iter().position(|(of, filling)| *of == question && filling.grid.map == map);
        let new = || Filling::new(map, &engine.schema, spec.tokens.len());
        let mut filling = at.map_or_else(new, |at| self.sweeps.swap_remove(at).1);
        let control = Control { cancel, progress: &|_, _| {} };
        let result = engine.fill(spec, question, Metric::Kl, &mut filling, control, tell);
        self.sweeps.push((question, filling.clone()));
        result.map(|()| View::Sweep(filling))
    }
}

/// Debug builds panic on the first edit when told to, so that a test can see the terminal survive it.
fn forced_panic(want: &Want) -> bool {
    cfg!(debug_assertions) && !want.spec.edits.is_empty() && std::env::var_os("PYTHIA_TUI_PANIC").is_some()
}
