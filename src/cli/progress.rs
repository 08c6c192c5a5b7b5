//! The progress bar of a download.

use std::io::IsTerminal;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    model::{Progress, Waiting},
    printed::{self, escaped},
};

/// A bar on a terminal; elsewhere, one line that says what is downloaded.
pub(super) struct Bar {
    target: Option<ProgressDrawTarget>,
    bar: Option<ProgressBar>,
}

impl Bar {
    pub fn on_stderr() -> Self {
        Self { target: std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr), bar: None }
    }

    /// On the terminal that the explorer will take.
    pub fn on_stdout() -> Self {
        Self { target: Some(ProgressDrawTarget::stdout()), bar: None }
    }

    /// The callback of a download, which never stops it.
    pub fn into_callback(mut self) -> impl FnMut(Progress) -> bool {
        move |progress| {
            self.show(&progress);
            true
        }
    }

    pub fn show(&mut self, progress: &Progress) {
        let Progress { repository, revision, done, total, waiting } = progress;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = if let Some(target) = self.target.take() {
                ProgressBar::with_draw_target(None, target)
            } else {
                let size = DecimalBytes(*total);
                printed::note(format_args!("fetching {} ({}, {size})", escaped(repository), escaped(revision)));
                ProgressBar::hidden()
            };
            // bytes of an earlier attempt do not count for the speed
            bar.set_position(*done);
            bar.reset_eta();
            bar.set_message(escaped(&format!("{repository} {revision}")).into_owned());
            bar
        });
        let rest = match waiting {
            Waiting::ForOther => "another process is downloading it".into(),
            Waiting::ForHub(left) => format!("the hub asks to wait {} s", left.as_secs() + 1),
            Waiting::Nothing => "{decimal_bytes_per_sec}, {eta} left".to_string(),
        };
        let template = format!("{{msg}} {{wide_bar}} {{decimal_bytes}} of {{decimal_total_bytes}}, {rest}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_length(*total);
        bar.set_position(*done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            // leaves the cursor at the beginning of a line
            bar.finish_and_clear();
        }
    }
}
