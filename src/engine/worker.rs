//! The worker thread: a mailbox of one, in which the newest request wins.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Answer, CheckpointMetrics, Hold, Request, Spec, Stopped, Summary};
use crate::{hooks::RunError, panics::caught};

/// Everything that the explorer wants to see. Each request is complete, so a newer one can replace an unread one.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Number of the run; goes up whenever `spec` changes.
    pub run: u64,
    pub spec: Spec,
    /// Questions about the run, the most urgent first.
    pub requests: Vec<Request>,
    /// Whether to measure the run, for comparison with others.
    pub measure: bool,
    /// How far the pass is to go, if it is held.
    pub hold: Option<Hold>,
}

/// A report of the worker. Each says which run it belongs to; the receiver drops those of earlier runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    Progress {
        run: u64,
        block: usize,
        blocks: usize,
    },
    Ran {
        run: u64,
        summary: Arc<Summary>,
    },
    /// The pass is held.
    Stopped {
        run: u64,
        stopped: Stopped,
        /// What is known of the run: what the edits did, and how far each hook moved.
        so_far: Arc<Summary>,
    },
    Saw {
        run: u64,
        request: Request,
        /// The answer, or why there is nothing to see.
        answer: Result<Answer, String>,
    },
    Measured {
        run: u64,
        measured: Arc<CheckpointMetrics>,
    },
    /// The run failed, or the worker panicked.
    Failed {
        run: u64,
        message: String,
    },
}

/// The shortest time between the beginnings of two runs. If changes come faster, as from a key held down, only the
/// newest is run.
const SETTLE: Duration = Duration::from_millis(25);

/// Cancellation flags of the current request.
#[derive(Debug, Default)]
pub struct Stop {
    /// Stops the run: another one is wanted, or none.
    pub run: AtomicBool,
    /// Stops the answer: there is a newer request, perhaps about the same run.
    pub request: AtomicBool,
}

impl Stop {
    fn all(&self) {
        self.run.store(true, Ordering::Relaxed);
        self.request.store(true, Ordering::Relaxed);
    }
}

/// Runs what is wanted and answers requests: the engine, or a stand-in in tests.
pub trait Serve {
    /// # Errors
    /// [`RunError::Cancelled`] after it was stopped; any other error is reported.
    fn serve(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError>;
}

#[derive(Default)]
struct Mailbox {
    slot: Mutex<Slot>,
    filled: Condvar,
    stop: Stop,
}

#[derive(Default)]
struct Slot {
    want: Option<Want>,
    /// The number of the run in progress.
    running: Option<u64>,
    /// The latest run that began, and when.
    begun: Option<(u64, Instant)>,
    closed: bool,
}

impl Mailbox {
    /// The slot holds plain data, so a panic while it was locked can't have left it half-changed.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait for a request; None when the worker should end.
    fn take(&self) -> Option<Want> {
        let mut slot = self.lock();
        loop {
            if slot.closed {
                return None;
            }
            let settles = slot.begun.zip(slot.want.as_ref()).filter(|((run, _), want)| *run != want.run);
            let left = settles.map_or(Duration::ZERO, |((_, at), _)| SETTLE.saturating_sub(at.elapsed()));
            if !left.is_zero() {
                slot.running = None;
                slot = self.filled.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(want) = slot.want.take() {
                if slot.begun.is_none_or(|(run, _)| run != want.run) {
                    slot.begun = Some((want.run, Instant::now()));
                }
                slot.running = Some(want.run);
                self.stop.run.store(false, Ordering::Relaxed);
                self.stop.request.store(false, Ordering::Relaxed);
                return Some(want);
            }
            slot.running = None;
            slot = self.filled.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A thread that answers one request at a time. Dropping it cancels what it does and waits for it to end.
pub struct Worker {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Serve requests with `server`, calling `report` from the worker's thread.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start<S: Serve + Send + 'static>(
        server: S,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let inbox = mailbox.clone();
        let thread = std::thread::Builder::new().name("worker".into()).spawn(move || work(&inbox, server, &report))?;
        Ok(Self { mailbox, thread: Some(thread) })
    }

    /// Ask for `want`. It replaces a request that has not begun. If one has begun, its answer is cancelled, and its run
    /// too if `want` is another run.
    pub fn post(&self, want: Want) {
        let mut slot = self.mailbox.lock();
        if slot.running.is_some_and(|run| run != want.run) {
            self.mailbox.stop.all();
        }
        self.mailbox.stop.request.store(true, Ordering::Relaxed);
        slot.want = Some(want);
        drop(slot);
        self.mailbox.filled.notify_one();
    }

    /// Stop the current work, and forget the pending request.
    pub fn cancel(&self) {
        let mut slot = self.mailbox.lock();
        slot.want = None;
        self.mailbox.stop.all();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.mailbox.lock().closed = true;
        self.mailbox.stop.all();
        self.mailbox.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // a panic there was already reported
            let _ = thread.join();
        }
    }
}

fn work(inbox: &Mailbox, mut server: impl Serve + Send, report: &(dyn Fn(Report) + Sync)) {
    while let Some(want) = inbox.take() {
        let run = want.run;
        let (began, edits, requests) = (Instant::now(), want.spec.edits.len(), want.requests.clone());
        let answered = caught(|| in_pool(|| server.serve(&want, &inbox.stop, report)));
        log::debug!("run {run}, {edits} edits, {requests:?}: {answered:?} after {:?}", began.elapsed());
        let message = match answered {
            Ok(Ok(()) | Err(RunError::Cancelled)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(message) => message,
        };
        report(Report::Failed { run, message });
    }
}

/// Do `work` on one of rayon's threads, where its parallel operations begin at once. Another thread would have to wake
/// one for each operation, which takes longer than some products of a short run.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}
