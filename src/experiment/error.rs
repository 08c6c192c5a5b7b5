use std::path::PathBuf;

use crate::{
    fs::ReadError,
    hooks::{HookError, ParseError},
    model::ModelError,
    printed,
};

/// An experiment that can't be run as asked, or a model that can't be loaded for it.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: ReadError },
    /// A place of the file, line and column from 1. The reason holds no foreign text that is not escaped.
    #[error("{}, line {line}, column {column}: {reason}", printed::path(.path))]
    File { path: PathBuf, line: usize, column: usize, reason: String },
    #[error("a prompt is needed: a text, or --tokens IDS")]
    NoPrompt,
    /// `what` is "the prompt" or "the contrast prompt".
    #[error("{what}: {reason}")]
    Prompt { what: &'static str, reason: Box<ModelError> },
    /// A text of `n` tokens, of which `parts` are the first, in quotation marks.
    #[error("{text:?} is {n} tokens, not one: {}", .parts.join(" "))]
    NotOneToken { text: String, n: usize, parts: Vec<String> },
    #[error("--enable: {0}")]
    Enable(HookError),
    #[error("--edit: {0}")]
    Edit(ParseError),
    /// What does not fit the demo may fit the model that it stands in for.
    #[error("on the demo ({note}): {reason}")]
    OnDemo { note: String, reason: Box<Self> },
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl ExperimentError {
    /// Whether what was asked for is wrong, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::File { .. }
            | Self::NoPrompt
            | Self::NotOneToken { .. }
            | Self::Enable(_)
            | Self::Edit(_) => true,
            Self::Model(reason) => reason.is_usage(),
            Self::Prompt { reason, .. } => reason.is_usage(),
            Self::OnDemo { reason, .. } => reason.is_usage(),
        }
    }
}
