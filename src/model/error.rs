use std::path::{Path, PathBuf};

use super::checkpoint::{HubError, explain};
use crate::{
    fs::{ReadError, plain},
    printed::{escaped, path as shown},
};

/// Why a model can't be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {}", shown(.path), plain(.reason))]
    Io { path: PathBuf, reason: std::io::Error },
    #[error("can't read {}: {reason}", shown(.path))]
    Read { path: PathBuf, reason: ReadError },
    #[error(
        "`{}` is not a model: expected `demo`, a directory, or a name on the Hugging Face hub such as pythia-160m or EleutherAI/pythia-160m",
        escaped(.0)
    )]
    NoName(String),
    #[error("`{}` is not a revision: expected a branch, a tag or a commit, such as step3000", escaped(.0))]
    NoRevisionName(String),
    #[error("{name} at revision `{}` is not in the Hugging Face cache at {}", escaped(.revision), shown(.cache))]
    NotCached { name: String, revision: String, cache: PathBuf },
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("`{}` has no revisions; only models on the Hugging Face hub have them", escaped(.0))]
    NoRevisions(String),
    #[error(
        "no model directory at {}; a model is `demo` or a directory with config.json, weights and tokenizer.json",
        shown(.0)
    )]
    NoDirectory(PathBuf),
    #[error(
        "{} has no {}; a checkpoint directory holds config.json, model.safetensors or pytorch_model.bin (or shards and their index) and tokenizer.json",
        shown(.0),
        .1
    )]
    MissingFile(PathBuf, &'static str),
    #[error("{} names {}, which is not there; fetch the checkpoint again", shown(.0), shown(.1))]
    MissingShard(PathBuf, PathBuf),
    #[error("{}: not valid JSON: {}", shown(.path), escaped(.reason))]
    Json { path: PathBuf, reason: String },
    #[error("config.json: {}", escaped(.0))]
    Config(String),
    #[error("{}: not a readable file of weights: {}", shown(.path), escaped(.reason))]
    Broken { path: PathBuf, reason: String },
    #[error("{}: {}", shown(.path), escaped(.reason))]
    Misfit { path: PathBuf, reason: String },
    #[error("the checkpoint does not fit its config.json:{}", lines(.0))]
    Tensors(Vec<String>),
    #[error("{}: not a readable tokenizer: {}", shown(.path), escaped(.reason))]
    Tokenizer { path: PathBuf, reason: String },
    #[error("the text can't be made into tokens: {}", escaped(.0))]
    Encode(String),
    #[error(
        "this checkpoint has no tokenizer.json, so text can't be encoded; give token ids instead: --tokens 7910,21761"
    )]
    NoTokenizer,
    #[error("no tokens; give at least one")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens; this model's context holds {context}")]
    TooLong { tokens: usize, context: usize },
    #[error("the prompt has {bytes} bytes, at least {tokens} tokens; this model's context holds {context}")]
    FarTooLong { bytes: usize, tokens: usize, context: usize },
    #[error("token id {id} is out of range; this model's vocabulary has ids 0 to {}", .d_vocab - 1)]
    NoSuchToken { id: u32, d_vocab: usize },
    #[error("{} holds activations and no weights: name a model", shown(.0))]
    NoWeights(PathBuf),
    #[error("loading was stopped")]
    Stopped,
    #[error("{0}")]
    NoDevice(String),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl ModelError {
    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        let too_long = matches!(self, Self::TooLong { .. } | Self::FarTooLong { .. });
        too_long || matches!(self, Self::EmptyPrompt | Self::NoSuchToken { .. } | Self::NoTokenizer)
    }

    /// The error for a file that can't be read.
    pub(super) fn read(path: &Path) -> impl FnOnce(ReadError) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Read { path, reason }
    }

    /// The error for a file that is not valid JSON.
    pub(super) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_path_buf();
        move |error| {
            let reason = explain(&path).map_or_else(|| error.to_string(), String::from);
            Self::Json { path, reason }
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { path, reason }
    }
}

fn lines(all: &[String]) -> String {
    all.iter().flat_map(|line| ["\n".into(), escaped(line)]).collect()
}
