//! The worker with a stand-in engine that waits at gates: the newest request wins; cancellation; panics.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use pythia_tui::{
    engine::{Ask, Finished, Needs, Reads, Report, Request, Serve, Spec, Stop, Unseen, Want, Worker},
    hooks::RunError,
};

const LONG: Duration = Duration::from_secs(20);

/// Reports the beginning of a run, and continues when its gate opens or it is cancelled.
struct Gated {
    begun: Sender<u64>,
    gate: Receiver<()>,
}

impl Serve for Gated {
    fn serve(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError> {
        self.begun.send(want.run).unwrap();
        loop {
            let stopped = if !want.requests.is_empty() { &stop.request } else { &stop.run };
            if stopped.load(Ordering::Relaxed) {
                return Err(RunError::Cancelled);
            }
            match self.gate.try_recv() {
                Ok(()) => break,
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        assert!(want.run != 13, "run 13");
        report(Report::Progress { run: want.run, block: 1, blocks: 1 });
        Ok(())
    }
}

/// A request that the stand-in never answers.
#[derive(Debug, PartialEq)]
struct Nothing;

impl Ask for Nothing {
    type Answer = ();

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Anything
    }

    fn both(
        &self,
        _: &mut Finished<'_>,
        _: &mut Finished<'_>,
        _: &AtomicBool,
        _: &mut dyn FnMut(()),
    ) -> Result<(), Unseen> {
        Ok(())
    }

    fn answer(&self, _: &mut Finished<'_>, _: &AtomicBool, _: &mut dyn FnMut(())) -> Result<(), Unseen> {
        Ok(())
    }
}

struct Setting {
    worker: Worker,
    begun: Receiver<u64>,
    open: Sender<()>,
    reports: Receiver<Report>,
}

fn setting() -> Setting {
    let (begin, begun) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let (report, reports) = mpsc::channel();
    let worker = Worker::start(Gated { begun: begin, gate }, move |r| drop(report.send(r))).unwrap();
    Setting { worker, begun, open, reports }
}

fn want(run: u64) -> Want {
    Want { run, spec: Spec::default(), requests: vec![], measure: false, hold: None }
}

fn finished(report: Report) -> u64 {
    match report {
        Report::Progress { run, .. } => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_request_wins_and_the_running_one_is_cancelled() {
    let s = setting();
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    for run in 2..=5 {
        s.worker.post(want(run));
    }
    // with the gate closed, run 1 ends by cancellation, and 2 to 4 do not begin, since they arrive faster than runs
    // end (on a stalled machine one may begin, and is cancelled too)
    let mut latest = 1;
    while latest != 5 {
        latest = s.begun.recv_timeout(LONG).unwrap();
    }
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 5);
    assert!(s.reports.try_recv().is_err(), "a cancelled run reports nothing");
}

#[test]
fn another_view_request_for_the_same_run_does_not_cancel_the_run() {
    let s = setting();
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    s.worker.post(want(1));
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 1);
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 1);
}

#[test]
fn another_view_request_cancels_the_current_one() {
    let s = setting();
    s.worker.post(Want { requests: vec![Request::new(Nothing)], ..want(1) });
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    // the gate stays closed, so only cancellation ends the first
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 1);
    assert!(s.reports.try_recv().is_err());
}

#[test]
fn cancelling_stops_the_run_and_forgets_the_request() {
    let s = setting();
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    s.worker.cancel();
    s.worker.post(want(2));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 2);
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 2);
}

#[test]
fn a_panic_is_reported_and_the_worker_lives_on() {
    let s = setting();
    s.worker.post(want(13));
    s.open.send(()).unwrap();
    match s.reports.recv_timeout(LONG).unwrap() {
        Report::Failed { run: 13, message } => assert!(message.contains("run 13"), "{message}"),
        other => panic!("{other:?}"),
    }
    s.worker.post(want(14));
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 14);
}

#[test]
fn dropping_the_worker_cancels_and_joins() {
    let s = setting();
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    drop(s.worker);
    assert!(s.reports.recv_timeout(LONG).is_err(), "the thread has ended");
}
