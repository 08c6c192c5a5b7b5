use std::sync::{Arc, atomic::AtomicBool};

use super::{Answer, Control, Engine, Outcome, Report, Want};
use crate::hooks::{Capture, EditError};

/// How many next tokens the explorer is told.
const TOP: usize = 20;

/// Answers the explorer from an engine, keeping the latest outcome so that a look costs no run.
pub struct Live {
    engine: Engine,
    /// The latest outcome and the run that it was last reported for.
    latest: Option<(u64, Outcome)>,
}

impl Live {
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, latest: None }
    }
}

impl Answer for Live {
    fn answer(&mut self, want: &Want, cancel: &AtomicBool, report: &dyn Fn(Report)) -> Result<(), EditError> {
        assert!(!forced_panic(want), "forced by PYTHIA_TUI_PANIC");
        let run = want.run;
        let known = self.latest.as_ref().filter(|(_, outcome)| outcome.spec == want.spec).map(|(run, _)| *run);
        if known.is_none() {
            let progress = |block, blocks| report(Report::Progress { run, block, blocks });
            let outcome = self.engine.run(&want.spec, &Capture::All, Control { cancel, progress: &progress })?;
            self.latest = Some((run, outcome));
        }
        let Some((reported, outcome)) = &mut self.latest else {
            return Ok(());
        };
        if known != Some(run) {
            let last = want.spec.tokens.len().saturating_sub(1);
            let summary = outcome.summary(TOP, last, &self.engine.loaded.tokenizer)?;
            report(Report::Ran { run, summary: Arc::new(summary) });
            *reported = run;
        }
        if let Some(look) = want.look {
            let view = outcome.look(look, &self.engine)?;
            report(Report::Saw { run, look, view: Arc::new(view) });
        }
        Ok(())
    }
}

/// Debug builds panic on the first edit when told to, so that a test can see the terminal survive it.
fn forced_panic(want: &Want) -> bool {
    cfg!(debug_assertions) && !want.spec.edits.is_empty() && std::env::var_os("PYTHIA_TUI_PANIC").is_some()
}
