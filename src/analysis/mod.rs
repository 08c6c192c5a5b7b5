//! Pure functions over activations and logits: statistics, comparison, head scores.

mod compare;
mod heads;
mod stats;
mod sums;

pub use compare::{
    Change, Ranked, cell, descending, exact_number, kl_divergence, log_normaliser, short_number, top_k, undefined,
};
pub use heads::{HeadScores, Score, ScoreUnit, head_scores, score_table};
pub use stats::{Stats, stats};
