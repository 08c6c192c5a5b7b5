//! Arguments that several subcommands take: model, prompt, edits.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::completions;
use crate::{
    experiment::DictionaryChoice,
    fs,
    model::{Dtype, Place},
};

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ModelArgs {
    /// `demo`, a directory in the published layout, or a model on the Hugging Face hub: `pythia-160m`, `OWNER/NAME`
    /// [default: pythia-70m-deduped]
    #[arg(long, value_name = "MODEL", add = completions::models())]
    pub model: Option<String>,
    /// A branch, tag or commit of the model: `step3000` [default: main]
    #[arg(long, value_name = "REVISION", add = completions::revisions())]
    pub revision: Option<String>,
    /// Download nothing: use what is in the Hugging Face cache
    #[arg(long)]
    pub offline: bool,
    /// Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `metal`
    #[arg(long, value_name = "DEVICE", default_value = "auto", add = completions::words(&["auto", "cpu", "cuda", "metal"]))]
    pub device: Place,
    /// Precision: `f32`, `f16`, `bf16`
    #[arg(long, value_name = "TYPE", default_value = "f32", add = completions::words(&["f32", "f16", "bf16"]))]
    pub dtype: Dtype,
    /// The number of CPU threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Write a timestamped log to FILE
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub log: Option<PathBuf>,
    /// Use the weights as they are (TransformerLens's `from_pretrained_no_processing`)
    #[arg(long)]
    pub no_processing: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PromptArgs {
    /// The text to run the model on; after `--` if it begins with `-` or is a command's name
    #[arg(value_name = "PROMPT", conflicts_with = "tokens")]
    pub prompt: Option<String>,
    /// Token ids instead of a text: 7910,21761
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id, overrides_with = "tokens")]
    pub tokens: Option<Vec<u32>>,
    /// Prepend the beginning-of-sequence token to the prompt (and to the contrast prompt)
    #[arg(long)]
    pub prepend_bos: bool,
    /// Turn on an opt-in hook, such as `hook_tokens` or `attn.hook_result` (repeatable)
    #[arg(long, value_name = "HOOK")]
    pub enable: Vec<String>,
}

/// A path with `~` and variables expanded where the shell did not, as in `--log="~/log"`.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| fs::expanded(&path))
}

fn token_id(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "a token id is a non-negative integer".into())
}

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SaeArgs {
    /// A sparse dictionary: a directory, a name on the hub followed by a folder in it, or `demo`; preceded by its hook where its
    /// config names none (repeatable)
    #[arg(long, value_name = "[HOOK=]NAME|DIR")]
    pub sae: Vec<DictionaryChoice>,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct EditArgs {
    /// Experiment file; other options override it, and --edit lines are appended
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub experiment: Option<PathBuf>,
    /// An edit, such as `blocks.0.attn.hook_z[head=3] = 0` (repeatable)
    #[arg(long, value_name = "LINE")]
    pub edit: Vec<String>,
    /// A vector for edits, `NAME=FILE#KEY`, `NAME=diff:POSITIVE|NEGATIVE`, `NAME=diff@FILE.jsonl`, `NAME=unembed:TOKEN`,
    /// `NAME=embed:TOKEN` or `NAME=sae:HOOK#FEATURE` (repeatable)
    #[arg(long, value_name = "NAME=SOURCE")]
    pub vector: Vec<String>,
    #[command(flatten)]
    pub dictionaries: SaeArgs,
    /// Labels of a dictionary's features: Neuronpedia's export, as JSON or JSON lines (repeatable, in the order of `--sae`)
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub labels: Vec<PathBuf>,
    /// The prompt that `= patch` takes values from
    #[arg(long, value_name = "PROMPT", conflicts_with = "contrast_tokens")]
    pub contrast: Option<String>,
    /// The contrast prompt as token ids
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id, overrides_with = "contrast_tokens")]
    pub contrast_tokens: Option<Vec<u32>>,
}
