use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    fs::{ReadError, plain},
    model::ModelError,
    printed,
};

/// What is wrong in a file of prompts, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {reason}", printed::path(.path), .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct CorpusError {
    pub path: PathBuf,
    pub line: Option<u64>,
    pub reason: Box<Misfit>,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    #[error("can't read it: {0}")]
    Read(ReadError),
    #[error("can't read it: {}", plain(.0))]
    Io(io::Error),
    #[error("the line is not UTF-8; expected a UTF-8 text")]
    NotUtf8,
    #[error("the line has more than {} MiB; expected at most that", .limit >> 20)]
    LineTooLong { limit: usize },
    #[error("expected a JSON object with the text in the field {field:?}: {reason}")]
    NotARecord { field: String, reason: String },
    #[error("the record has no field {field:?}; its fields are {}: name one with --field", list(.fields))]
    NoField { field: String, fields: Vec<String> },
    #[error("the field {field:?} is not a text; expected a string")]
    NotText { field: String },
    #[error("there is no column {column:?}; expected the columns clean, corrupted, correct_idx and incorrect_idx, and found {}", list(.columns))]
    NoColumn { column: &'static str, columns: Vec<String> },
    #[error("{0}")]
    Csv(String),
    #[error("{column} is {value:?}; expected one token id below {d_vocab}")]
    NotAToken { column: &'static str, value: String, d_vocab: usize },
    #[error("a pair of prompts is not cut into windows; leave out --window")]
    WindowsOfPairs,
    #[error("windows of {window} tokens are longer than the context of {context}")]
    WindowTooLong { window: usize, context: usize },
    #[error("a window has at least two tokens of text")]
    WindowTooShort,
    #[error("{what}: {reason}")]
    Prompt { what: &'static str, reason: Box<ModelError> },
    #[error("there is no prompt in it")]
    Empty,
}

impl CorpusError {
    pub(super) fn of_file(path: &Path, reason: Misfit) -> Self {
        Self { path: path.to_path_buf(), line: None, reason: Box::new(reason) }
    }

    pub(super) fn at(path: &Path, line: u64, reason: Misfit) -> Self {
        Self { path: path.to_path_buf(), line: Some(line), reason: Box::new(reason) }
    }

    /// There was no prompt in a file.
    #[must_use]
    pub fn empty(path: &Path) -> Self {
        Self::of_file(path, Misfit::Empty)
    }

    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match &*self.reason {
            Misfit::Io(_) => false,
            Misfit::Prompt { reason, .. } => reason.is_usage(),
            Misfit::Read(_)
            | Misfit::NotUtf8
            | Misfit::LineTooLong { .. }
            | Misfit::NotARecord { .. }
            | Misfit::NoField { .. }
            | Misfit::NotText { .. }
            | Misfit::NoColumn { .. }
            | Misfit::Csv(_)
            | Misfit::NotAToken { .. }
            | Misfit::WindowsOfPairs
            | Misfit::WindowTooLong { .. }
            | Misfit::WindowTooShort
            | Misfit::Empty => true,
        }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    if shown.is_empty() { "none".into() } else { shown.join(", ") + more }
}
