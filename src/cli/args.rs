use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(super) use super::circuit_args::{
    AttributeArgs, By, CircuitArgs, ExplainArgs, MethodArg, MethodArgs, ObjectiveArgs,
};
use super::colors;
pub(super) use super::corpus_args::CorpusArgs;
pub(super) use super::dictionary_args::FeaturesArgs;
pub(super) use super::dose_args::DoseArgs;
pub(super) use super::generate_args::GenerateArgs;
pub(super) use super::grep_args::GrepArgs;
pub(super) use super::grid_args::{GridArgs, MergeArgs};
pub(super) use super::lens_args::LensArgs;
pub(super) use super::shared_args::{EditArgs, ModelArgs, PromptArgs, path};
pub(super) use super::weights_args::WeightsArgs;
use crate::{experiment::LensChoice, paint::ColorDepth, term::Protocol};

/// Step through the activations of a Pythia language model, and edit them live.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    // the last one counts, so that options appended to a command line override earlier ones
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
    /// The prediction over the number of one edit, such as the multiple of a vector
    Dose(DoseArgs),
    /// Attribution patching: the effect of patching each component or edge from a contrast prompt, estimated or exact
    Attribute(AttributeArgs),
    /// The faithfulness of a circuit (a set of edges) to the whole model
    Circuit(CircuitArgs),
    /// An attention score split by upstream component, or a logit by component and source position
    Explain(ExplainArgs),
    /// What each layer would predict, by the logit, tuned or Jacobian lens
    Lens(LensArgs),
    /// What sparse dictionaries find at each position
    Features(FeaturesArgs),
    /// What weights say: a neuron's tokens, a head's circuits, composition between heads
    Weights(WeightsArgs),
    /// Continue a prompt, with the edits and without, token by token
    Generate(GenerateArgs),
    /// Every place of a run where a predicate holds
    Grep(GrepArgs),
    /// An experiment over every prompt of a file
    Corpus(CorpusArgs),
    /// An experiment over models, seeds, training checkpoints and prompts, as a table
    Grid(GridArgs),
    /// The tables of every shard of an experiment as one
    Merge(MergeArgs),
    /// How fast a model is on this machine
    Bench(BenchArgs),
    /// The module trees, the hooks with their modules, and a block's wiring diagram
    Structure(StructureArgs),
    /// The known models, and which of them are cached
    Models(ModelsArgs),
    /// Which checkpoints of a training have the same weights; whether a cache of activations equals ours
    ///
    /// Of a model on the hub every branch and tag is read, of a directory those of the same training. With `--cache`, an
    /// activation cache of another program is held to our run of its tokens instead.
    Doctor(DoctorArgs),
    /// Shell completions, on stdout
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, clap::Args)]
pub(super) struct ExploreArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// A lens for the Lens view beside the logit lens: `tuned`, `tuned=DIR`, `jacobian`, `jacobian=FILE` (repeatable)
    #[arg(long, value_name = "LENS")]
    pub lens: Vec<LensChoice>,
    /// Another model for the same prompt and edits, such as a checkpoint, a seed or a fine-tune: views show this one, that one or the
    /// difference
    #[arg(long, value_name = "MODEL[@REVISION]", conflicts_with_all = ["cache", "tour"])]
    pub against: Option<String>,
    /// Look at a cache of activations without the weights: of TransformerLens, Hugging Face, nnsight or `run --save-cache`. `--model`
    /// names the model that it was taken from, for its sizes and its tokenizer
    #[arg(long, value_name = "FILE", value_parser = path(),
          conflicts_with_all = ["experiment", "tour", "lens", "edit", "vector", "sae", "labels", "contrast", "contrast_tokens"])]
    pub cache: Option<PathBuf>,
    /// Start with the guided tour of the demo, or with the tour in FILE
    #[arg(long, value_name = "FILE", value_parser = path(), conflicts_with = "experiment")]
    #[allow(clippy::option_option, reason = "left out, without a file, with one")]
    pub tour: Option<Option<PathBuf>>,
    /// A table of effects that `grid` or `corpus` wrote, for the views Training and Corpus
    #[arg(long, value_name = "FILE.parquet", value_parser = path())]
    pub grid: Option<PathBuf>,
    /// How many colours to use [default: what the terminal has]
    #[arg(long, value_enum, hide_default_value = true)]
    pub color: Option<Color>,
    /// The terminal's background [default: from COLORFGBG, else dark]
    #[arg(long, value_enum)]
    pub background: Option<Background>,
    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,
    /// The protocol for drawing maps of more than 64 tokens in pixels, if the terminal supports it [default: auto]
    #[arg(long, value_enum)]
    pub graphics: Option<Graphics>,
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
    /// The operation on each head and MLP: `= 0`, `= mean`, `= patch`, `*= 0.5` [default: the experiment's, else `= 0`]
    #[arg(long, value_name = "OP", allow_hyphen_values = true, conflicts_with = "patch")]
    pub op: Option<String>,
    /// Sweep a map of `transformer_lens.patching` instead: `resid_pre`, `attn_head_out_all_pos`, `block_every`, ...
    #[arg(long, value_name = "MAP")]
    pub patch: Option<String>,
    /// Estimate the cells by attribution patching, from one backward pass, instead of running them
    #[arg(long)]
    pub estimate: bool,
    /// The metric [default: the experiment's, else kl; with --patch or --estimate logit-diff]
    #[arg(long, value_enum)]
    pub metric: Option<MetricArg>,
    /// The token whose logit and probability are measured [default: the likeliest]
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// Token whose logit is subtracted [default: the likeliest other]
    #[arg(long, value_name = "TOKEN")]
    pub distractor: Option<String>,
    /// Stop where PREDICATE is true in the run of a cell (repeatable): the grammar is that of `grep`
    #[arg(long = "break", value_name = "PREDICATE", conflicts_with = "estimate")]
    pub breakpoints: Vec<String>,
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
    /// How often to repeat each measurement; the median is reported
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// A JSON array
    #[arg(long)]
    pub json: bool,
}

#[allow(clippy::struct_excessive_bools, reason = "flags")]
#[derive(Debug, clap::Args)]
pub(super) struct StructureArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Hugging Face's module tree instead of TransformerLens's, as `print(model)` shows it
    #[arg(long, conflicts_with = "hooks")]
    pub hf: bool,
    /// Every hook with its shape and the Hugging Face module that computes it
    #[arg(long)]
    pub hooks: bool,
    /// A block as a wiring diagram, with every hook on its wire
    #[arg(long, conflicts_with_all = ["hf", "hooks", "json"])]
    pub diagram: bool,
    /// The diagram's width in columns, 50 to 1000 [default: the terminal's, or 110]
    #[arg(long, value_name = "N", requires = "diagram", value_parser = clap::value_parser!(u16).range(50..=1000))]
    pub width: Option<u16>,
    /// Draw the diagram in ASCII
    #[arg(long, requires = "diagram")]
    pub ascii: bool,
    /// A JSON array: of hooks, or with `--hf` of modules with their parameters and hooks
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Hold a cache of TransformerLens, Hugging Face or nnsight (.safetensors, .npz, .pt) to our run of the same tokens
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub cache: Option<PathBuf>,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// The largest difference that counts as agreement, as a share of the hook's largest value
    #[arg(long, value_name = "X", default_value_t = 1e-4, value_parser = tolerance, requires = "cache")]
    pub tolerance: f64,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
    number.ok_or_else(|| "expected a number from 0, such as 1e-4".into())
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
    /// Another model for the same prompt and edits: how far apart every hook and the predictions are
    #[arg(long, value_name = "MODEL[@REVISION]")]
    pub against: Option<String>,
    #[command(flatten)]
    pub objective: ObjectiveArgs,
    /// Write the metric's gradient at every hook of the (edited) run: .safetensors or .npz
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub save_gradients: Option<PathBuf>,
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
    /// Whether the background is light; `auto` reads `COLORFGBG`.
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

/// The protocol for drawing maps in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Graphics {
    /// Whichever the terminal supports; none inside tmux, screen or Zellij
    Auto,
    /// Kitty's graphics protocol, if the terminal supports it
    Kitty,
    /// Sixel, if the terminal supports it
    Sixel,
    /// No pictures: the smallest dot is half a character cell
    None,
}

impl Graphics {
    /// The protocols to ask the terminal about; `auto` reads the environment.
    pub fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::Auto if is_multiplexed(|name| std::env::var(name).ok()) => &[],
            Self::Auto => &Protocol::ALL,
            Self::Kitty => &[Protocol::Kitty],
            Self::Sixel => &[Protocol::Sixel],
            Self::None => &[],
        }
    }
}

/// Whether a terminal multiplexer is in between, which may draw over pictures that it does not know about.
fn is_multiplexed(variable: impl Fn(&str) -> Option<String>) -> bool {
    let term = variable("TERM").unwrap_or_default();
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    ["TMUX", "STY", "ZELLIJ"].into_iter().any(is_set) || term.starts_with("tmux") || term.starts_with("screen")
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
    /// The colour depth; `auto` asks the environment.
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
