//! A file that holds an experiment.

use std::{
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{Experiment, ExperimentError, View, Wrong};
use crate::fs::read_toml;

/// An experiment with the text that it was read from, so that what is wrong with it can be placed.
pub struct File<V> {
    path: PathBuf,
    text: String,
    pub experiment: Experiment<V>,
}

impl<V: View> File<V> {
    /// # Errors
    /// It can't be read, or is not an experiment.
    pub fn read(path: &Path) -> Result<Self, ExperimentError> {
        let text = read_toml(path).map_err(|reason| ExperimentError::Read { path: path.to_path_buf(), reason })?;
        let experiment = Experiment::parse(&text).map_err(|wrong| placed(path, &text, wrong))?;
        Ok(Self { path: path.to_path_buf(), text, experiment })
    }
}

impl<V> File<V> {
    /// What is wrong with a place of it: bytes of its text.
    pub(super) fn wrong(&self, at: Range<usize>, reason: impl Display) -> ExperimentError {
        placed(&self.path, &self.text, Wrong { at, reason: reason.to_string() })
    }
}

fn placed(path: &Path, text: &str, wrong: Wrong) -> ExperimentError {
    let (line, column) = wrong.place(text);
    ExperimentError::File { path: path.to_path_buf(), line, column, reason: wrong.reason }
}
