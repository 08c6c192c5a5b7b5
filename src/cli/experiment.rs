//! A file that holds an experiment.

use std::{
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
};

use super::Usage;
use crate::{
    app::{Experiment, Wrong},
    fs::read_toml,
    printed,
};

pub(super) struct File {
    pub path: PathBuf,
    text: String,
    pub experiment: Experiment,
}

impl File {
    /// # Errors
    /// It can't be read, or is no experiment.
    pub fn read(path: &Path) -> Result<Self, Usage> {
        let text = read_toml(path).map_err(|e| Usage(format!("can't read {}: {e}", printed::path(path))))?;
        let experiment = Experiment::parse(&text).map_err(|wrong| told(path, &text, &wrong))?;
        Ok(Self { path: path.to_path_buf(), text, experiment })
    }

    /// What is wrong with a place of it.
    pub fn wrong(&self, at: Range<usize>, reason: impl Display) -> Usage {
        told(&self.path, &self.text, &Wrong { at, reason: format!("{reason}") })
    }
}

fn told(path: &Path, text: &str, wrong: &Wrong) -> Usage {
    let (line, column) = wrong.place(text);
    Usage(format!("{}, line {line}, column {column}: {}", printed::path(path), wrong.reason))
}
