use std::path::PathBuf;

use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{PathBufValueParser, TypedValueParser},
};

use super::{colors, completions};
use crate::{
    fs,
    model::{Dtype, Place},
    ui::ColorDepth,
};

/// Step through the activations of a Pythia language model, and edit them live.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    // the last one counts, so that a script's options can be changed at its end
    args_override_self = true,
    override_usage = "pythia-tui [OPTIONS] [PROMPT]\n       pythia-tui [OPTIONS] <COMMAND>"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub explore: ExploreArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every hook with its shape, in execution order
    Hooks(HooksArgs),
    /// One run without the explorer: likeliest next tokens, edits and their effect
    Run(RunArgs),
    /// The effect of ablating every head and MLP, or a patching map
    Sweep(SweepArgs),
    /// How fast a model is on this machine
    Bench(BenchArgs),
    /// The module trees, and how hooks map to modules
    Structure(StructureArgs),
    /// The known models, and which of them are cached
    Models(ModelsArgs),
    /// Shell completions, on stdout
    Completions { shell: clap_complete::Shell },
}

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
    /// How many threads compute on the CPU [default: one for each core]
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
    /// The text to run the model on; behind `--` if it begins with `-` or is a command's name
    #[arg(value_name = "PROMPT", conflicts_with = "tokens")]
    pub prompt: Option<String>,
    /// Token ids instead of a text: 7910,21761
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id, overrides_with = "tokens")]
    pub tokens: Option<Vec<u32>>,
    /// Put the beginning-of-sequence token before the prompt (and the contrast prompt)
    #[arg(long)]
    pub prepend_bos: bool,
    /// Turn on an opt-in hook, such as `hook_tokens` or `attn.hook_result` (repeatable)
    #[arg(long, value_name = "HOOK")]
    pub enable: Vec<String>,
}

/// A path, expanded where the shell left that: `--log="~/log"`.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| fs::expanded(&path))
}

fn token_id(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "a token id is a non-negative integer".into())
}

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct EditArgs {
    /// Experiment file; other options override it, and --edit lines are appended
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub experiment: Option<PathBuf>,
    /// An edit, such as `blocks.0.attn.hook_z[head=3] = 0` (repeatable)
    #[arg(long, value_name = "LINE")]
    pub edit: Vec<String>,
    /// The prompt that `= patch` takes values from
    #[arg(long, value_name = "PROMPT", conflicts_with = "contrast_tokens")]
    pub contrast: Option<String>,
    /// The same as token ids
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id, overrides_with = "contrast_tokens")]
    pub contrast_tokens: Option<Vec<u32>>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExploreArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// How many colours to use [default: what the terminal has]
    #[arg(long, value_enum, hide_default_value = true)]
    pub color: Option<Color>,
    /// The terminal's background [default: from COLORFGBG, else dark]
    #[arg(long, value_enum)]
    pub background: Option<Background>,
    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,
    /// Keys and appearance [default: pythia-tui/config.toml in the configuration directory]
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// What is done to each head and MLP: `= 0`, `= mean`, `= patch`, `*= 0.5` [default: the experiment's, else `= 0`]
    #[arg(long, value_name = "OP", allow_hyphen_values = true, conflicts_with = "patch")]
    pub op: Option<String>,
    /// Instead, a map of `transformer_lens.patching`: `resid_pre`, `attn_head_out_all_pos`, `block_every`, ...
    #[arg(long, value_name = "MAP")]
    pub patch: Option<String>,
    /// What is measured [default: the experiment's, else kl; with --patch logit-diff]
    #[arg(long, value_enum)]
    pub metric: Option<MetricArg>,
    /// The token whose logit and probability are measured [default: the likeliest]
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// Token whose logit is subtracted [default: the likeliest other]
    #[arg(long, value_name = "TOKEN")]
    pub distractor: Option<String>,
    /// One JSON object on stdout
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// CSV on stdout
    #[arg(long)]
    pub csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum MetricArg {
    Kl,
    LogitDiff,
    Prob,
}

#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompt lengths in tokens
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [2, 16, 64, 256], overrides_with = "lengths")]
    pub lengths: Vec<usize>,
    /// How often each is measured; the median is reported
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// A JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StructureArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Hugging Face's modules with their parameters, each with the hooks at it
    #[arg(long, conflicts_with = "hooks")]
    pub hf: bool,
    /// TransformerLens's hooks, each with its module (the default)
    #[arg(long)]
    pub hooks: bool,
    /// A JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ModelsArgs {
    /// A JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct HooksArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// A JSON array, with axes, description and checkpoint tensors
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// How many next tokens to report at each position
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// Write every activation and the logits of the (edited) run: .safetensors or .npz
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub save_cache: Option<PathBuf>,
    /// Write a script that repeats the run with TransformerLens and asserts its logits
    #[arg(long, value_name = "FILE.py", value_parser = path())]
    pub export_python: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Background {
    Auto,
    Dark,
    Light,
}

impl Background {
    /// Whether it is light; where it was not said, as terminals that set COLORFGBG tell.
    pub fn is_light(self) -> bool {
        match self {
            Self::Auto => std::env::var("COLORFGBG").is_ok_and(|value| is_light(&value)),
            other => other == Self::Light,
        }
    }
}

/// `foreground;background`, each a number of the 16 colours: white and light grey are light.
fn is_light(colorfgbg: &str) -> bool {
    matches!(colorfgbg.rsplit(';').next(), Some("7" | "15"))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Color {
    Auto,
    Truecolor,
    #[value(name = "256")]
    C256,
    #[value(name = "16")]
    C16,
    None,
}

impl Color {
    /// What the terminal can do, unless the user said.
    pub fn depth(self) -> ColorDepth {
        match self {
            Self::Auto => colors::depth(|name| std::env::var(name).ok()),
            Self::Truecolor => ColorDepth::True,
            Self::C256 => ColorDepth::Ansi256,
            Self::C16 => ColorDepth::Ansi16,
            Self::None => ColorDepth::None,
        }
    }
}
