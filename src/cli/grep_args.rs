//! Arguments of `grep`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::shared_args::{EditArgs, ModelArgs, PromptArgs, path};

#[derive(Debug, clap::Args)]
pub(super) struct GrepArgs {
    /// What to look for: `blocks.*.attn.hook_pattern[query=-1 key=0] > 0.9`, `norm(blocks.3.hook_mlp_out) > 20`, `blocks.* is nan`
    #[arg(value_name = "PREDICATE")]
    pub predicate: String,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Several prompts, one a line of FILE; empty lines are left out
    #[arg(long, value_name = "FILE", value_parser = path(), conflicts_with_all = ["prompt", "tokens"])]
    pub prompts: Option<PathBuf>,
    #[command(flatten)]
    pub edits: EditArgs,
    /// Print only how many places there are
    #[arg(long, conflicts_with = "sort")]
    pub count: bool,
    /// Stop after N places; with --sort, print the first N in that order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// Order by value, `descending` or `ascending`; NaN comes last [default when given: descending]
    #[arg(
        long,
        value_enum,
        value_name = "ORDER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "descending",
        hide_possible_values = true
    )]
    pub sort: Option<Order>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    Descending,
    Ascending,
}
