//! The worker with a stand-in engine that waits at gates: newest wins, stale, cancelled, panicked.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use pythia_tui::{
    engine::{Answer, Look, Report, Spec, Stop, Want, Worker},
    hooks::RunError,
};

const LONG: Duration = Duration::from_secs(20);

/// Says when it begins a run, and goes on when told to, or when cancelled.
struct Gated {
    begun: Sender<u64>,
    gate: Receiver<()>,
}

impl Answer for Gated {
    fn answer(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError> {
        self.begun.send(want.run).unwrap();
        loop {
            let stopped = if want.look.is_some() { &stop.look } else { &stop.run };
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
    Want { run, spec: Spec::default(), look: None, measure: false }
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
    // without the gate being opened, run 1 ends by cancellation, and 2 to 4 are not begun: they come faster than runs
    // settle (and one that was begun all the same, on a machine that stood still, is cancelled too)
    let mut latest = 1;
    while latest != 5 {
        latest = s.begun.recv_timeout(LONG).unwrap();
    }
    s.open.send(()).unwrap();
    assert_eq!(finished(s.reports.recv_timeout(LONG).unwrap()), 5);
    assert!(s.reports.try_recv().is_err(), "a cancelled run reports nothing");
}

#[test]
fn another_look_at_the_same_run_does_not_cancel_it() {
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
fn another_look_cancels_the_look_that_is_under_way() {
    let s = setting();
    s.worker.post(Want { look: Some(Look::Heads), ..want(1) });
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    // the gate stays shut: only cancellation ends the first
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
fn dropping_it_cancels_and_joins() {
    let s = setting();
    s.worker.post(want(1));
    assert_eq!(s.begun.recv_timeout(LONG).unwrap(), 1);
    drop(s.worker);
    assert!(s.reports.recv_timeout(LONG).is_err(), "the thread has ended");
}
