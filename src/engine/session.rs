//! The engine behind the worker, with what it keeps of the latest run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Control, Engine, Outcome,
    find::FindError,
    finished::{Finished, Memo},
    hold::{HeldPass, Hold, Stopped},
    request::Unseen,
    worker::{Report, Serve, Stop, Want},
};
use crate::hooks::{Capture, RunError};

/// How many next tokens a summary lists.
const TOP: usize = 20;

/// Serves the explorer from an engine, keeping the latest outcome so that a request costs no run.
pub struct Session {
    engine: Engine,
    latest: Option<Latest>,
    /// The pass that is held, or was held last and may go on.
    held: Option<HeldPass>,
    /// Another model that this one is compared with.
    other: Option<Other>,
}

/// A model that others are compared with, with its latest run, which stays while they change.
#[derive(Clone)]
pub struct Other(Arc<Mutex<Session>>);

impl Other {
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self(Arc::new(Mutex::new(Session::new(engine))))
    }

    /// A run that panicked may have left other hooks on, but every run sets them.
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The latest outcome, and the answers about it.
struct Latest {
    /// The run number under which it was last reported.
    reported: Option<u64>,
    outcome: Outcome,
    /// How it was asked to be held, and where that is.
    hold: Option<Hold>,
    stopped: Option<Stopped>,
    /// The run number under which its metrics were reported.
    measured: Option<u64>,
    memo: Memo,
}

impl Session {
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, latest: None, held: None, other: None }
    }

    /// Compare with another model, whose runs are then in the place of baselines. Where a pass is held, they are whole.
    #[must_use]
    pub fn against(mut self, other: Other) -> Self {
        self.other = Some(other);
        self
    }

    /// Run what is wanted, unless the latest outcome is of that.
    fn update(&mut self, want: &Want, control: Control<'_>) -> Result<(), RunError> {
        let is_of = |latest: &Latest| latest.outcome.spec == want.spec && latest.hold == want.hold;
        if !self.latest.as_ref().is_some_and(is_of) {
            self.latest = Some(self.run(want, control)?);
        }
        Ok(())
    }

    /// Run what is wanted, to its end or as far as it is to go.
    fn run(&mut self, want: &Want, control: Control<'_>) -> Result<Latest, RunError> {
        if let Some(given) = &self.engine.given {
            let outcome = given.outcome(&want.spec, want.hold.is_some())?;
            return Ok(Latest {
                reported: None,
                outcome,
                hold: None,
                stopped: None,
                measured: None,
                memo: Memo::default(),
            });
        }
        let last = want.spec.tokens.len().saturating_sub(1);
        let mut stopped = None;
        let outcome = if let Some(hold) = &want.hold {
            let held = self.held.take();
            let mut pass = self.engine.hold(&want.spec, held)?;
            let gone = self.engine.go_on(&mut pass, hold, control);
            // what was computed is kept, however it ended
            let pass = self.held.insert(pass);
            stopped = gone.map_err(FindError::into_run)?;
            match &stopped {
                Some(stopped) => self.engine.held_at(pass, stopped.at, control)?,
                None => self.engine.finish(pass, last, control)?,
            }
        } else {
            self.held = None;
            self.engine.run(&want.spec, &Capture::All, last, control)?
        };
        let hold = want.hold.clone();
        Ok(Latest { reported: None, outcome, hold, stopped, measured: None, memo: Memo::default() })
    }
}

impl Serve for Session {
    fn serve(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError> {
        let run = want.run;
        let progress = |block, blocks| report(Report::Progress { run, block, blocks });
        let control = Control { cancel: &stop.run, progress: &progress };
        self.update(want, control)?;
        let shared = self.other.clone();
        let mut other = shared.as_ref().map(Other::lock);
        if let Some(other) = &mut other {
            other.update(&Want { hold: None, ..want.clone() }, control)?;
        }
        let Some(latest) = &mut self.latest else {
            return Ok(());
        };
        if latest.reported != Some(run) {
            let that = other.as_ref().and_then(|other| Some((&other.engine, &other.latest.as_ref()?.outcome)));
            if let Some(stopped) = &latest.stopped {
                let mut so_far = latest.outcome.summary_so_far(&self.engine, &stop.run)?;
                if let Some((engine, that)) = that {
                    so_far.changes = self.engine.distances(&latest.outcome.run, (engine, &that.run), &stop.run)?;
                }
                report(Report::Stopped { run, stopped: stopped.clone(), so_far: Arc::new(so_far) });
            } else {
                let mut summary = latest.outcome.summary(TOP, &self.engine, &stop.run)?;
                if let Some((engine, that)) = that {
                    let beside = (engine, &*that.run, that.summary(TOP, engine, &stop.run)?);
                    summary = self.engine.summary_of_two((&*latest.outcome.run, summary), beside, &stop.run)?;
                }
                report(Report::Ran { run, summary: Arc::new(summary) });
            }
            latest.reported = Some(run);
        }
        for request in &want.requests {
            if let Some(why) = latest.stopped.as_ref().and_then(|stopped| stopped.lacks(request.needs())) {
                report(Report::Saw { run, request: request.clone(), answer: Err(why) });
                continue;
            }
            if let Some(why) = self.engine.lacks(&request.reads()) {
                report(Report::Saw { run, request: request.clone(), answer: Err(why) });
                continue;
            }
            // a run that failed or was cancelled may have left other hooks on
            self.engine.enable(&latest.outcome.spec);
            let mut finished = Finished { engine: &mut self.engine, outcome: &latest.outcome, memo: &mut latest.memo };
            let mut tell = |answer| report(Report::Saw { run, request: request.clone(), answer: Ok(answer) });
            let that = other.as_mut().and_then(|other| {
                let Self { engine, latest: that, .. } = &mut **other;
                engine.enable(&latest.outcome.spec);
                let Latest { outcome, memo, .. } = that.as_mut()?;
                Some(Finished { engine, outcome, memo })
            });
            let answered = match that {
                Some(mut that) => request.both(&mut finished, &mut that, &stop.request, &mut tell),
                None => request.answer(&mut finished, &stop.request, &mut tell),
            };
            let answer = match answered {
                Ok(answer) => Ok(answer),
                Err(Unseen::Run(RunError::Cancelled)) => return Err(RunError::Cancelled),
                Err(Unseen::Run(error)) => Err(error.to_string()),
                Err(Unseen::Nothing(why)) => Err(why),
            };
            report(Report::Saw { run, request: request.clone(), answer });
        }
        if want.measure && latest.stopped.is_none() && latest.measured != Some(run) {
            let mut measured = self.engine.measure(&latest.outcome, &stop.request)?;
            if let Some((engine, that)) = other.as_ref().and_then(|other| Some((&other.engine, other.latest.as_ref()?)))
            {
                measured.baseline = Some(engine.measure(&that.outcome, &stop.request)?.run);
            }
            report(Report::Measured { run, measured: Arc::new(measured) });
            latest.measured = Some(run);
        }
        Ok(())
    }
}
