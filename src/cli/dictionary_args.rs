//! Arguments of `features`.

use super::shared_args::{EditArgs, ModelArgs, PromptArgs};

#[derive(Debug, clap::Args)]
pub(super) struct FeaturesArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// How many features to report at each position, the strongest first
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// One position, counted as in Python [default: all with --json, else the last]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pos: Option<i64>,
    /// One JSON object on stdout, or an array of them for several dictionaries
    #[arg(long)]
    pub json: bool,
}
