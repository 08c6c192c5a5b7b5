//! What parts of a grid cost, and which shard runs which. Everything here depends only on what is written in the experiment, so
//! that every shard divides the work in the same way, whether a model is on its machine or not.

use std::ops::Range;

use super::{checkpoints::GridCheckpoint, prompts::GridPrompt};
use crate::{
    experiment::shard::{Shard, balanced},
    model::pythia::SIZES,
};

/// Loading a checkpoint costs about as much as running it on this many tokens (measured on 70m's size, from the page cache).
const LOADING: u128 = 500;

/// The parameters of a model whose name does not say.
const UNKNOWN: u128 = 100_000_000;

/// Prompts that are run on one checkpoint in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub checkpoint: usize,
    pub prompts: Range<usize>,
    /// Parameters times tokens, loading included.
    pub cost: u128,
}

/// The units of a shard, in the order of their cells. A checkpoint is one unit unless there are more shards than checkpoints.
pub(super) fn units(checkpoints: &[GridCheckpoint], prompts: &[GridPrompt], shard: Shard) -> Vec<Unit> {
    let pieces = shard.of.div_ceil(checkpoints.len().max(1)).clamp(1, prompts.len().max(1));
    let cut = |piece: usize| prompts.len() * piece / pieces;
    let tokens = |range: &Range<usize>| prompts[range.clone()].iter().map(GridPrompt::estimated_tokens).sum::<usize>();
    let ranges: Vec<(Range<usize>, usize)> =
        (0..pieces).map(|piece| cut(piece)..cut(piece + 1)).map(|range| (range.clone(), tokens(&range))).collect();
    let mut units = Vec::with_capacity(checkpoints.len() * pieces);
    for (checkpoint, GridCheckpoint { model, .. }) in checkpoints.iter().enumerate() {
        for (prompts, tokens) in &ranges {
            let cost = parameters(model) * (LOADING + *tokens as u128);
            units.push(Unit { checkpoint, prompts: prompts.clone(), cost });
        }
    }
    let costs: Vec<u128> = units.iter().map(|unit| unit.cost).collect();
    let shard_of = balanced(&costs, shard.of);
    units.into_iter().zip(shard_of).filter(|(_, at)| *at == shard.at).map(|(unit, _)| unit).collect()
}

/// The parameters of a model, by the size in its name.
fn parameters(model: &str) -> u128 {
    let name = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let mut words = name.split(['-', '_']);
    let size = words.find_map(|word| SIZES.iter().find(|size| size.name == word).map(|size| size.parameters() as u128));
    size.or_else(|| name.split(['-', '_']).find_map(written_size)).unwrap_or(UNKNOWN)
}

/// `410m`, `1.4b`
fn written_size(word: &str) -> Option<u128> {
    let (number, unit) = match (word.strip_suffix('m'), word.strip_suffix('b')) {
        (Some(number), _) => (number, 1_000_000),
        (None, Some(number)) => (number, 1_000_000_000),
        (None, None) => return None,
    };
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let tenth = rest.chars().next().map_or(Some(0), |digit| digit.to_digit(10))?;
    Some(u128::from(whole.parse::<u32>().ok()?) * unit + u128::from(tenth) * unit / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_names() {
        assert_eq!(parameters("EleutherAI/pythia-70m-seed3"), 70_426_624);
        assert_eq!(parameters("pythia-1.4b-deduped"), SIZES[6].parameters() as u128);
        assert_eq!(parameters("./my-model-3.2b/"), 3_200_000_000);
        assert_eq!(parameters("owner/some-250m"), 250_000_000);
        assert_eq!(parameters("demo"), UNKNOWN);
    }
}
