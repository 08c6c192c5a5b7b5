//! How far a corpus is, on stderr.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::reading::Surveyed;
use crate::printed;

/// A line that is overwritten on a terminal; elsewhere a line now and then, for a job's log.
pub(super) struct Progress {
    what: &'static str,
    prompts: u64,
    positions: u64,
    done: u64,
    /// Positions that were run since the start, on which the rate is based.
    run: u64,
    /// The share of the positions that were done before, as far as it is known from the prompts.
    before: u64,
    began: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// `before` prompts are done already.
    pub fn new(what: &'static str, surveyed: &Surveyed, before: u64) -> Self {
        let Surveyed { prompts, positions, .. } = *surveyed;
        let terminal = std::io::stderr().is_terminal();
        let began = Instant::now();
        Self { what, prompts, positions, done: before, run: 0, before, began, shown: None, terminal }
    }

    /// Prompts of these lengths are done.
    pub fn add(&mut self, lengths: &[usize]) {
        self.done += lengths.len() as u64;
        self.run += lengths.iter().map(|length| *length as u64).sum::<u64>();
        let every = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(30) };
        let since = self.shown.unwrap_or(self.began);
        if since.elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        let line = self.line(self.began.elapsed().as_secs_f64());
        if self.terminal {
            // overwriting fails only where nothing is seen
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        } else {
            printed::note(line);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts for people")]
    fn line(&self, seconds: f64) -> String {
        let (run, rate) = (self.done - self.before, self.run as f64 / seconds.max(1e-9));
        // what is left has the mean length of the whole
        let left =
            self.positions as f64 * (self.prompts - self.done.min(self.prompts)) as f64 / self.prompts.max(1) as f64;
        let what = if self.what.is_empty() { String::new() } else { format!("{}: ", self.what) };
        format!(
            "{what}{} of {} prompts · {:.1} prompts/s · {rate:.0} tokens/s · {} left",
            self.done,
            self.prompts,
            run as f64 / seconds.max(1e-9),
            time(left / rate.max(1e-9))
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            // see above
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Seconds as people read them.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a duration")]
fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_rate_and_the_time_left() {
        let mut surveyed = Surveyed::default();
        (surveyed.prompts, surveyed.positions) = (100, 1000);
        let mut progress = Progress::new("", &surveyed, 40);
        progress.add(&[10; 20]);
        assert_eq!(progress.line(10.0), "60 of 100 prompts · 2.0 prompts/s · 20 tokens/s · 20 s left");
        assert_eq!([time(0.0), time(61.2), time(7300.0)], ["0 s", "1 min 2 s", "2 h 1 min"].map(String::from));
    }
}
