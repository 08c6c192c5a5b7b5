//! Arguments of `grid` and `merge`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::shared_args::{ModelArgs, SaeArgs, path};
use crate::experiment::ShardChoice;

#[derive(Debug, clap::Args)]
pub(super) struct GridArgs {
    /// An experiment with a table `[grid]`: models, seeds, revisions, prompts
    #[arg(value_name = "FILE.toml", value_parser = path())]
    pub file: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub dictionaries: SaeArgs,
    /// Where the rows go, one a cell: .parquet, .csv or .jsonl; `{shard}` in the name becomes 03-of-64
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub out: PathBuf,
    /// Run one of N shares of the cells, `3/64`, or the one that the variables of Slurm, Grid Engine, AWS Batch or Kubernetes name:
    /// `auto`
    #[arg(long, value_name = "I/N")]
    pub shard: Option<ShardChoice>,
    /// Whether models that are downloaded for this stay in the cache [default: yes]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "yes|no")]
    pub keep_cache: Option<KeepCache>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KeepCache {
    Yes,
    No,
}

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// The files of every shard of an experiment
    #[arg(value_name = "PART.parquet", value_parser = path(), required = true)]
    pub parts: Vec<PathBuf>,
    /// Where all rows go: .parquet, .csv or .jsonl
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub out: PathBuf,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}
