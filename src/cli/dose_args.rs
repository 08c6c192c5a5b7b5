//! Arguments of `dose`.

use super::shared_args::{EditArgs, ModelArgs, PromptArgs};

#[derive(Debug, clap::Args)]
pub(super) struct DoseArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub edits: EditArgs,
    /// The edit whose number is varied, counted from 1 [default: the only one with a vector, else the only one with a number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub vary: Option<u16>,
    /// The first amount [default: -2 times the edit's number; 0 for `*=` and noise]
    #[arg(long, value_name = "A", allow_negative_numbers = true, value_parser = amount)]
    pub from: Option<f32>,
    /// The last amount [default: 2 times the edit's number]
    #[arg(long, value_name = "A", allow_negative_numbers = true, value_parser = amount)]
    pub to: Option<f32>,
    /// The number of amounts, evenly spaced
    #[arg(long, value_name = "N", default_value_t = 17, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    pub points: u16,
    /// A token whose probability is listed too (repeatable)
    #[arg(long, value_name = "TOKEN")]
    pub token: Vec<String>,
    /// The token whose logit and probability are measured [default: the likeliest without edits]
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

fn amount(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "expected a finite number".into())
}
