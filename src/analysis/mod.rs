//! Pure functions over activations and logits: statistics, comparison, head scores.

mod agreement;
mod compare;
mod graph;
mod heads;
mod matrix;
mod objective;
mod significance;
mod stats;
mod sums;

pub use agreement::Agreement;
pub use compare::{
    Change, Ranked, TokenRank, cell, descending, exact_number, kl_divergence, log_normaliser, rank_correlation,
    short_number, token_rank, top_k, undefined,
};
pub use graph::{Edge, GraphShape, NoEdge, Node, Port, Receiver};
pub use heads::{HeadScores, Score, ScoreUnit, head_scores, score_table};
pub use matrix::{Matrix64, Singular, eigen, factored_svd, norm_between, svd, svd_between};
pub use objective::{Objective, ObjectiveKind};
pub use significance::{Alternative, MeanEffect, RESAMPLES, bootstrap_interval, mean, sign_flip_p_value};
pub use stats::{Stats, stats};
