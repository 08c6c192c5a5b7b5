//! Arguments of `lens`.

use super::shared_args::{EditArgs, ModelArgs, PromptArgs};
use crate::experiment::LensChoice;

#[derive(Debug, clap::Args)]
pub(super) struct LensArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// `logit`, `tuned`, `tuned=DIR`, `jacobian`, `jacobian=FILE`; without a place, the published one (repeatable) [default: logit]
    #[arg(long, value_name = "LENS")]
    pub lens: Vec<LensChoice>,
    /// How many tokens to report at each layer
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// The token whose rank and probability are reported at each layer
    #[arg(long, value_name = "TOKEN")]
    pub target: Option<String>,
    /// One position, counted as in Python [default: all with --json, else the last]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pos: Option<i64>,
    /// One JSON object on stdout, or an array of them for several lenses
    #[arg(long)]
    pub json: bool,
}
