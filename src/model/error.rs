use std::path::{Path, PathBuf};

use super::sniff;
use crate::fs::ReadError;

/// A model that can't be loaded or run as asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "`{0}` is no model: expected `demo`, a directory, or a name on the Hugging Face hub such as pythia-160m or EleutherAI/pythia-160m"
    )]
    NoName(String),
    #[error("`{0}` is no revision: expected a branch, a tag or a commit, such as step3000")]
    NoRevisionName(String),
    #[error("{name} at revision `{revision}` is not in the Hugging Face cache at {cache}")]
    NotCached { name: String, revision: String, cache: PathBuf },
    #[error(transparent)]
    Hub(#[from] super::hub::HubError),
    #[error("`{0}` has no revisions; those are of models on the Hugging Face hub")]
    NoRevisions(String),
    #[error("no model directory at {0}; a model is `demo` or a directory with config.json, weights and tokenizer.json")]
    NoDirectory(PathBuf),
    #[error(
        "{0} has no {1}; a checkpoint directory holds config.json, model.safetensors or pytorch_model.bin (or shards and their index) and tokenizer.json"
    )]
    MissingFile(PathBuf, &'static str),
    #[error("{0} names {1}, which is not there; fetch the checkpoint again")]
    MissingShard(PathBuf, PathBuf),
    #[error("{path}: not valid JSON: {reason}")]
    Json { path: PathBuf, reason: String },
    #[error("can't read {path}: {reason}")]
    Read { path: PathBuf, reason: ReadError },
    #[error("config.json: {0}")]
    Config(String),
    #[error("{path}: not a readable file of weights: {reason}")]
    Broken { path: PathBuf, reason: String },
    #[error("the checkpoint does not fit its config.json:\n{}", .0.join("\n"))]
    Tensors(Vec<String>),
    #[error("{path}: not a readable tokenizer: {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    #[error("the text can't be made into tokens: {0}")]
    Encode(String),
    #[error(
        "this checkpoint has no tokenizer.json, so text can't be encoded; give token ids instead: --tokens 7910,21761"
    )]
    NoTokenizer,
    #[error("the prompt has no tokens; give at least one")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens; this model's context holds {context}")]
    TooLong { tokens: usize, context: usize },
    #[error("token id {id} is out of range; this model's vocabulary has ids 0 to {}", .d_vocab - 1)]
    NoSuchToken { id: u32, d_vocab: usize },
    #[error("{0}")]
    NoDevice(String),
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

impl ModelError {
    /// A file that could not be read whole.
    pub(super) fn read(path: &Path) -> impl FnOnce(ReadError) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Read { path, reason }
    }

    /// A file that is not the JSON that its name promises.
    pub(super) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_path_buf();
        move |error| {
            let reason = sniff::explain(&path).map_or_else(|| error.to_string(), String::from);
            Self::Json { path, reason }
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
