use std::path::PathBuf;

use super::corpus::CorpusError;
use crate::{
    fs::ReadError,
    hooks::{HookError, HookPoint, ParseError},
    model::ModelError,
    printed,
    table::TableError,
};

/// An experiment that can't be run as requested, or a model that can't be loaded for it.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: ReadError },
    /// A place in the file, line and column from 1. Foreign text in the reason is escaped.
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
    #[error("--against {}: {}", printed::escaped(.name), printed::escaped(.reason))]
    Against { name: String, reason: String },
    #[error("--enable: {0}")]
    Enable(HookError),
    #[error("--edit: {0}")]
    Edit(ParseError),
    #[error("--vector {}: {reason}", printed::escaped(.given))]
    Vector { given: String, reason: String },
    #[error("there is no published {name} lens for a model that is not from the hub; give a path: --lens {name}=PATH")]
    NoPublishedLens { name: &'static str },
    #[error("--sae {}: {reason}", printed::escaped(.name))]
    Sae { name: String, reason: Box<Self> },
    #[error(
        "{labels} --labels for {dictionaries} dictionaries: expected at most one for each --sae, in the same order"
    )]
    Labels { labels: usize, dictionaries: usize },
    #[error("the dictionary's config names no hook of this model; give it: --sae HOOK=NAME or --sae HOOK=DIR")]
    NoHook,
    #[error("{0}")]
    Dictionary(HookError),
    #[error("{hook} has no vector at each position for a dictionary to read")]
    NoVectors { hook: HookPoint },
    #[error("the dictionary reads vectors of {d_in} numbers; {hook} has {size} at each position")]
    OtherSize { hook: HookPoint, size: usize, d_in: usize },
    /// What does not fit the demo may fit the model that it replaces.
    #[error("on the demo ({note}): {reason}")]
    OnDemo { note: String, reason: Box<Self> },
    #[error(transparent)]
    Corpus(#[from] Box<CorpusError>),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl ExperimentError {
    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::File { .. }
            | Self::NoPrompt
            | Self::NotOneToken { .. }
            | Self::Enable(_)
            | Self::Vector { .. }
            | Self::NoPublishedLens { .. }
            | Self::Labels { .. }
            | Self::NoHook
            | Self::Dictionary(_)
            | Self::NoVectors { .. }
            | Self::OtherSize { .. }
            | Self::Against { .. }
            | Self::Edit(_) => true,
            Self::Model(reason) => reason.is_usage(),
            Self::Corpus(reason) => reason.is_usage(),
            Self::Table(reason) => reason.is_usage(),
            Self::Prompt { reason, .. } => reason.is_usage(),
            Self::Sae { reason, .. } | Self::OnDemo { reason, .. } => reason.is_usage(),
        }
    }
}
