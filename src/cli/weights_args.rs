//! Arguments of `weights`.

use clap::ValueEnum;

use super::shared_args::ModelArgs;

#[derive(Debug, clap::Args)]
pub(super) struct WeightsArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The tokens that a neuron promotes and suppresses: `3.1017` is neuron 1017 of block 3
    #[arg(long, value_name = "L.N", conflicts_with_all = ["head", "composition"])]
    pub neuron: Option<String>,
    /// A head's circuit by singular directions: `1.2` is head 2 of block 1
    #[arg(long, value_name = "L.H", conflicts_with = "composition")]
    pub head: Option<String>,
    /// `ov` (what is read and written) or `qk` (queries and keys)
    #[arg(long, value_enum, default_value = "ov", hide_possible_values = true)]
    pub circuit: CircuitArg,
    /// How many singular directions
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub svd: u16,
    /// With `--circuit qk`, how many positions the query lies after its key, which turns it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub distance: usize,
    /// With `--circuit qk`, how many distances the table lists
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub distances: u16,
    /// Composition scores between all heads, into the queries, keys or values of later ones
    #[arg(long, value_enum)]
    pub composition: Option<CompositionArg>,
    /// How many tokens, or pairs of heads, to list
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CircuitArg {
    Ov,
    Qk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompositionArg {
    Q,
    K,
    V,
}
