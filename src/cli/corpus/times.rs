//! How long the parts of a run took.

use std::time::Instant;

use serde::Serialize;

/// Durations in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Times {
    pub load: f64,
    /// Reading the file for the first time.
    pub read: f64,
    pub means: f64,
    pub run: f64,
    pub total: f64,
}

pub(super) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
