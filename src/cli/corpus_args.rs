//! Arguments of `corpus`.

use std::path::PathBuf;

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::shared_args::{EditArgs, ModelArgs, path};
use crate::{
    analysis::ObjectiveKind,
    experiment::{CorpusFormat, ShardChoice},
};

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags")]
pub(super) struct CorpusArgs {
    /// The prompts: text (one a line, or documents with --window), JSON lines, or a CSV of clean and corrupted prompts
    #[arg(value_name = "FILE", value_parser = path())]
    pub file: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// `text`, `jsonl` or `csv` [default: by the file's name, else text]
    #[arg(long, value_name = "FORMAT", value_parser = format())]
    pub format: Option<CorpusFormat>,
    /// The field of a JSON line that holds its text [default: text]
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// Cut documents into windows of N tokens; in a text file `<|endoftext|>` separates documents, JSON lines are one each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub window: Option<u32>,
    /// Prepend the beginning-of-sequence token to every prompt, or to every window as one of its N tokens
    #[arg(long)]
    pub prepend_bos: bool,
    /// Turn on an opt-in hook, such as `attn.hook_result` (repeatable)
    #[arg(long, value_name = "HOOK")]
    pub enable: Vec<String>,
    /// The metric of every prompt [default: the experiment's, else logit-diff for a CSV and loss otherwise]
    #[arg(long, value_parser = metric())]
    pub metric: Option<ObjectiveKind>,
    /// The token whose logit or probability is measured, in prompts that name none [default: the likeliest of each prompt]
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// The token whose logit is subtracted, in prompts that name none [default: the likeliest other]
    #[arg(long, value_name = "TOKEN")]
    pub distractor: Option<String>,
    /// The effect of ablating every head, mean over the prompts
    #[arg(long)]
    pub ablate_heads: bool,
    /// The operation on each head with --ablate-heads [default: `= 0`]
    #[arg(long, value_name = "OP", allow_hyphen_values = true, requires = "ablate_heads")]
    pub op: Option<String>,
    /// What every head attends to: its scores, mean over the prompts
    #[arg(long)]
    pub scores: bool,
    /// The places where units are most active, at most one of each prompt: `blocks.3.mlp.hook_post[d_mlp=17]`; the norm of several
    /// units; `HOOK.hook_sae_acts_post[d_sae=5]` (repeatable)
    #[arg(long, value_name = "HOOK[UNIT]")]
    pub top_contexts: Vec<String>,
    /// How many of them
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub top: u16,
    /// Save a hook's activations at every position of every prompt, as safetensors in --save-to (repeatable)
    #[arg(long, value_name = "HOOK", requires = "save_to")]
    pub save: Vec<String>,
    /// The directory of saved activations
    #[arg(long, value_name = "DIR", value_parser = path(), requires = "save")]
    pub save_to: Option<PathBuf>,
    /// Their precision
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32", requires = "save")]
    pub save_dtype: SaveDtype,
    /// One row a prompt, as `.parquet`, `.csv` or `.jsonl`; a run that was stopped goes on when it is started again
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub out: Option<PathBuf>,
    /// Run one of N shares of the prompts, `3/64`, or the one that a scheduler's variables name: `auto`; `merge` joins the tables, in
    /// whose names `{shard}` becomes 03-of-64
    #[arg(
        long,
        value_name = "I/N",
        requires = "out",
        conflicts_with_all = ["scores", "ablate_heads", "top_contexts", "save"]
    )]
    pub shard: Option<ShardChoice>,
    /// The seed of bootstrap intervals and p-values
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SaveDtype {
    F16,
    F32,
}

fn metric() -> impl TypedValueParser<Value = ObjectiveKind> {
    PossibleValuesParser::new(ObjectiveKind::ALL.map(ObjectiveKind::name)).try_map(|name| name.parse())
}

fn format() -> impl TypedValueParser<Value = CorpusFormat> {
    PossibleValuesParser::new(CorpusFormat::ALL.map(CorpusFormat::name)).try_map(|name| name.parse())
}
