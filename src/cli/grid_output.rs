//! What `grid` says while it runs, on stderr.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::Bar;
use crate::{
    experiment::GridProgress,
    model::Progress,
    printed::{self, escaped},
};

/// A bar on a terminal; elsewhere a line for each checkpoint.
pub(super) struct Output {
    bar: ProgressBar,
    download: Option<Bar>,
    began: Instant,
    /// The cells to run, and those that are done.
    cells: usize,
    done: usize,
    /// The checkpoint at hand, and the reason why its last cell failed.
    checkpoint: String,
    reason: Option<String>,
    cancel: Arc<AtomicBool>,
}

impl Output {
    pub fn new(cells: usize, cancel: Arc<AtomicBool>) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(cells as u64), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} cells, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let (checkpoint, reason) = (String::new(), None);
        Self { bar, download: None, began: Instant::now(), cells, done: 0, checkpoint, reason, cancel }
    }

    pub fn finish(&mut self) {
        self.download = None;
        self.bar.finish_and_clear();
    }

    /// What is left at the rate so far; None before a cell is done.
    fn left(&self) -> Option<Duration> {
        let rest = u32::try_from(self.cells.saturating_sub(self.done)).ok()?;
        let done = u32::try_from(self.done).ok().filter(|done| *done > 0)?;
        self.began.elapsed().checked_mul(rest)?.checked_div(done)
    }
}

impl GridProgress for Output {
    fn begins(&mut self, model: &str, revision: Option<&str>, cells: usize) {
        self.checkpoint = escaped(&format!("{model} {}", revision.unwrap_or_default())).trim_end().to_string();
        self.reason = None;
        self.bar.set_message(self.checkpoint.clone());
        if self.bar.is_hidden() {
            let left = self.left().map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
            let (done, all) = (self.done, self.cells);
            printed::note(format_args!("{done} of {all} cells{left}; {}: {cells} cells", self.checkpoint));
        }
    }

    fn fetches(&mut self, progress: Progress) {
        // the bar of the download takes the place of the bar of cells
        let download = self.download.get_or_insert_with(Bar::on_stderr);
        download.show(&progress);
    }

    fn ends(&mut self, error: Option<&str>) {
        self.download = None;
        self.done += 1;
        self.bar.inc(1);
        // a checkpoint that can't be loaded fails for every prompt
        if let Some(reason) = error.filter(|reason| self.reason.as_deref() != Some(*reason)) {
            self.reason = Some(reason.into());
            if !self.cancel.load(Ordering::Relaxed) {
                let checkpoint = &self.checkpoint;
                self.bar.suspend(|| printed::note(format_args!("{checkpoint}: {}", escaped(reason))));
            }
        }
    }
}
