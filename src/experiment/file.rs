//! A file that holds an experiment.

use std::{
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{Experiment, ExperimentError, View, Wrong};
use crate::fs::read_toml;

/// An experiment with its text, so that errors can state their position.
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
    /// An experiment that is part of a file with this text.
    pub(crate) fn part(path: &Path, text: &str, experiment: Experiment<V>) -> Self {
        Self { path: path.to_path_buf(), text: text.into(), experiment }
    }

    /// The directory that it lies in.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// An error at a place in its text, given as bytes.
    pub(crate) fn wrong(&self, at: Range<usize>, reason: impl Display) -> ExperimentError {
        placed(&self.path, &self.text, Wrong { at, reason: reason.to_string() })
    }
}

/// An error in a file, with its place as line and column.
pub(crate) fn placed(path: &Path, text: &str, wrong: Wrong) -> ExperimentError {
    let (line, column) = wrong.place(text);
    ExperimentError::File { path: path.to_path_buf(), line, column, reason: wrong.reason }
}
