//! Ctrl-C, and a scheduler's SIGTERM, in a command that keeps what is done.

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Ctrl-C ended the command: exit code 130, as of a process that the signal ends.
#[derive(Debug, thiserror::Error)]
#[error("stopped by Ctrl-C{0}")]
pub(super) struct Interrupted(pub String);

/// A flag that Ctrl-C sets. A second one ends the process.
pub(super) fn stopped_by_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 130, stopped.clone()).context("catching SIGINT")?;
    flag::register(SIGINT, stopped.clone()).context("catching SIGINT")?;
    Ok(stopped)
}

/// A flag that Ctrl-C and SIGTERM set. A second signal ends the process.
pub(super) fn stopped_by_signals() -> Result<Arc<AtomicBool>> {
    let stopped = stopped_by_ctrl_c()?;
    flag::register_conditional_shutdown(SIGTERM, 143, stopped.clone()).context("catching SIGTERM")?;
    flag::register(SIGTERM, stopped.clone()).context("catching SIGTERM")?;
    Ok(stopped)
}
