//! Ctrl-C, and a scheduler's SIGTERM, in a command that keeps what is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// A signal ended the command, which has printed or kept what was done.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {}{rest}", .signal.name())]
pub(super) struct Interrupted {
    signal: Signal,
    rest: String,
}

impl Interrupted {
    /// The code of a process that the signal killed: 128 plus its number.
    pub fn exit_code(&self) -> u8 {
        self.signal.exit_code()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Int,
    Term,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Int, Self::Term];

    fn number(self) -> i32 {
        match self {
            Self::Int => SIGINT,
            Self::Term => SIGTERM,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Int => "Ctrl-C",
            Self::Term => "SIGTERM",
        }
    }

    fn exit_code(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
        }
    }
}

/// Catches Ctrl-C and SIGTERM. The first sets a flag; a second one ends the process.
pub(super) struct Signals {
    pub stopped: Arc<AtomicBool>,
    /// The number of the signal that came last.
    latest: Arc<AtomicUsize>,
}

impl Signals {
    pub fn catch() -> Result<Self> {
        let (stopped, latest) = (Arc::new(AtomicBool::new(false)), Arc::default());
        for signal in Signal::ALL {
            let number = signal.number();
            let catching = || format!("catching {}", signal.name());
            let value = usize::try_from(number).with_context(catching)?;
            flag::register_conditional_shutdown(number, signal.exit_code().into(), stopped.clone())
                .with_context(catching)?;
            flag::register_usize(number, Arc::clone(&latest), value).with_context(catching)?;
            flag::register(number, stopped.clone()).with_context(catching)?;
        }
        Ok(Self { stopped, latest })
    }

    /// The error for the signal received; `rest` follows its name.
    pub fn interrupted(&self, rest: impl Into<String>) -> Interrupted {
        let latest = self.latest.load(Ordering::Relaxed);
        let came = Signal::ALL.into_iter().find(|signal| usize::try_from(signal.number()) == Ok(latest));
        Interrupted { signal: came.unwrap_or(Signal::Int), rest: rest.into() }
    }
}
