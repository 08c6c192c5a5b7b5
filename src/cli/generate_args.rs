//! Arguments of `generate`.

use std::path::PathBuf;

use super::shared_args::{EditArgs, ModelArgs, PromptArgs, path};

#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// Stop after N new tokens; the end-of-text token and the model's context length stop earlier
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
    /// Draw tokens at random, with logits divided by T; 0 takes the likeliest [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = temperature)]
    pub temperature: Option<f64>,
    /// Draw from the K likeliest tokens
    #[arg(long, value_name = "K", requires = "temperature", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// Draw from the fewest likeliest tokens whose probabilities sum to P (after --top-k)
    #[arg(long, value_name = "P", allow_negative_numbers = true, requires = "temperature", value_parser = share)]
    pub top_p: Option<f64>,
    /// Seed of the draws: the same seed draws the same tokens again [default: 0]
    #[arg(long, value_name = "SEED", requires = "temperature")]
    pub seed: Option<u64>,
    /// Continue the prompt N times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: u32,
    /// Write every activation and the logits of the prompt with the new tokens, of the (edited) text: .safetensors or .npz
    #[arg(long, value_name = "FILE", value_parser = path(), conflicts_with = "samples")]
    pub save_cache: Option<PathBuf>,
    /// Stop after the token at which PREDICATE is true of the (edited) text (repeatable): the grammar is that of `grep`
    #[arg(long = "break", value_name = "PREDICATE")]
    pub breakpoints: Vec<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0".into())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number.ok_or_else(|| "expected a number above 0, at most 1".into())
}
