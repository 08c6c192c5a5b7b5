//! Arguments of the commands that use gradients: metrics, attribution, circuits, explanations.

use std::path::PathBuf;

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::shared_args::{EditArgs, ModelArgs, PromptArgs, path};
use crate::analysis::ObjectiveKind;

/// The metric that gradients, attributions and circuits are about.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ObjectiveArgs {
    /// The metric to differentiate [default: the experiment's, else logit-diff]
    #[arg(long, value_parser = kind())]
    pub metric: Option<ObjectiveKind>,
    /// The target: the token whose logit or probability is measured
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// The token whose logit is subtracted; without it, logit-diff is the target's logit
    #[arg(long, value_name = "TOKEN")]
    pub distractor: Option<String>,
    /// The position whose prediction is measured, counted as in Python [default: -1, the last]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pos: Option<i64>,
}

/// Parses the name of a metric.
fn kind() -> impl TypedValueParser<Value = ObjectiveKind> {
    PossibleValuesParser::new(ObjectiveKind::ALL.map(ObjectiveKind::name)).try_map(|name| name.parse())
}

/// How scores of components and edges are computed.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MethodArgs {
    /// `eap` (attribution patching), `eap-ig` (with integrated gradients), `exact` (each one is patched) [default: eap]
    #[arg(long, value_enum, hide_possible_values = true)]
    pub method: Option<MethodArg>,
    /// Steps of eap-ig [default: 5]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodArg {
    Eap,
    EapIg,
    Exact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    Node,
    Edge,
    Feature,
}

#[derive(Debug, clap::Args)]
pub(super) struct AttributeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    #[command(flatten)]
    pub objective: ObjectiveArgs,
    /// Score the components that write to the residual stream, the edges from them to their readers, or the features of
    /// dictionaries (`--sae`)
    #[arg(long, value_enum, default_value = "node")]
    pub by: By,
    #[command(flatten)]
    pub method: MethodArgs,
    /// Only the strongest N [default: all]
    #[arg(long, value_name = "N")]
    pub top: Option<u64>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Write the graph JSON of EAP-IG, with the reported edges in the graph; needs --by edge
    #[arg(long, value_name = "FILE.json", value_parser = path())]
    pub graph: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CircuitArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    #[command(flatten)]
    pub objective: ObjectiveArgs,
    #[command(flatten)]
    pub method: MethodArgs,
    /// The circuit of the strongest N edges [default: the experiment's circuit, else a curve over the number of edges]
    #[arg(long, value_name = "N", conflicts_with = "edges")]
    pub top: Option<u64>,
    /// The circuit in a file: the edges that are in the graph, in EAP-IG's graph JSON
    #[arg(long, value_name = "FILE.json", value_parser = path())]
    pub edges: Option<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Write a script that runs the circuit with TransformerLens and asserts the metric and the faithfulness
    #[arg(long, value_name = "FILE.py", value_parser = path())]
    pub export_python: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// `blocks.3.attn.hook_attn_scores[head=2 query=5 key=1]`, or `logits[pos=-1]`
    #[arg(long, value_name = "CELL")]
    pub cell: String,
    /// The token whose logit is explained
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}
