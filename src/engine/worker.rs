//! The worker thread: a mailbox of one, in which the newest request wins.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Look, Measured, Spec, Summary, View};
use crate::{hooks::RunError, panics::caught};

/// All that the explorer wants to see. Each request says everything, so an unread one can be replaced by a newer one.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Number of the run; goes up whenever `spec` changes.
    pub run: u64,
    pub spec: Spec,
    pub look: Option<Look>,
    /// The run is to be measured, to be held beside others.
    pub measure: bool,
}

/// What the worker tells. Every report says which run it belongs to; the receiver drops those of an earlier one.
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
    Saw {
        run: u64,
        look: Look,
        view: Arc<View>,
    },
    Measured {
        run: u64,
        measured: Arc<Measured>,
    },
    /// The run could not be done, or the worker panicked.
    Failed {
        run: u64,
        message: String,
    },
}

/// A run begins no sooner after the one before: of changes that come faster, as from a key that is held down, only the
/// newest in so much time is run.
const SETTLE: Duration = Duration::from_millis(25);

/// What whoever answers is to stop, once it is set.
#[derive(Debug, Default)]
pub struct Stop {
    /// The run: another one is wanted, or none.
    pub run: AtomicBool,
    /// The look at it: there is a newer request, be it of the same run.
    pub look: AtomicBool,
}

impl Stop {
    fn all(&self) {
        self.run.store(true, Ordering::Relaxed);
        self.look.store(true, Ordering::Relaxed);
    }
}

/// Whoever answers requests; the engine, or a stand-in in tests.
pub trait Answer {
    /// # Errors
    /// [`RunError::Cancelled`] when it was told to stop; any other error is reported.
    fn answer(&mut self, want: &Want, stop: &Stop, report: &dyn Fn(Report)) -> Result<(), RunError>;
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
    /// Number of the run that is being answered.
    running: Option<u64>,
    /// The latest run that was begun, and when.
    begun: Option<(u64, Instant)>,
    closed: bool,
}

impl Mailbox {
    /// The slot holds plain data, so a panic while it was locked can't have left it half-changed.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait for a request; None once the worker is to end.
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
                self.stop.look.store(false, Ordering::Relaxed);
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
    /// Answer requests with `answer`, telling `report` from the thread that answers.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start<A: Answer + Send + 'static>(
        answer: A,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let inbox = mailbox.clone();
        let thread = std::thread::Builder::new().name("worker".into()).spawn(move || work(&inbox, answer, &report))?;
        Ok(Self { mailbox, thread: Some(thread) })
    }

    /// Ask for `want`. It replaces a request that was not begun; of one that was, it cancels the look, and the run if that
    /// is another.
    pub fn post(&self, want: Want) {
        let mut slot = self.mailbox.lock();
        if slot.running.is_some_and(|run| run != want.run) {
            self.mailbox.stop.all();
        }
        self.mailbox.stop.look.store(true, Ordering::Relaxed);
        slot.want = Some(want);
        drop(slot);
        self.mailbox.filled.notify_one();
    }

    /// Stop what is being done and forget what was asked.
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

fn work(inbox: &Mailbox, mut answer: impl Answer + Send, report: &(dyn Fn(Report) + Sync)) {
    while let Some(want) = inbox.take() {
        let run = want.run;
        let (began, edits, look) = (Instant::now(), want.spec.edits.len(), want.look);
        let answered = caught(|| in_pool(|| answer.answer(&want, &inbox.stop, report)));
        log::debug!("run {run}, {edits} edits, {look:?}: {answered:?} after {:?}", began.elapsed());
        let message = match answered {
            Ok(Ok(()) | Err(RunError::Cancelled)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(message) => message,
        };
        report(Report::Failed { run, message });
    }
}

/// `work` done by one of rayon's threads. What it does in parallel begins there at once; each time that another thread asks,
/// one has to be woken, which takes longer than some of the products of a short run.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}
