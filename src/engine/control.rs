//! Following and stopping a run.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::hooks::RunError;

/// How a caller follows and stops a run.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    pub cancel: &'a AtomicBool,
    /// Called with (blocks entered, blocks in all).
    pub progress: &'a dyn Fn(usize, usize),
}

/// # Errors
/// Cancellation.
pub(super) fn go_on(cancel: &AtomicBool) -> Result<(), RunError> {
    if cancel.load(Ordering::Relaxed) { Err(RunError::Cancelled) } else { Ok(()) }
}

/// Do `work` for each number below `n`, in parallel or one after the other.
pub(super) fn each<T: Send>(
    n: usize,
    parallel: bool,
    work: impl Fn(usize) -> Result<T, RunError> + Sync + Send,
) -> Result<Vec<T>, RunError> {
    if parallel { (0..n).into_par_iter().map(work).collect() } else { (0..n).map(work).collect() }
}
