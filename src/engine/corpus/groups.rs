//! Prompts of equal length, gathered into batches.

use std::collections::BTreeMap;

use super::{super::Engine, CorpusPrompt, CorpusTask};

/// Indices of prompts that go through the model together: they are equally long, and so are their contrast prompts.
pub type Group = Vec<usize>;

/// About how many positions go through the model together: on a CPU, where fewer stay in the caches and need less fresh memory,
/// and on a GPU.
const POSITIONS: usize = 1024;
const POSITIONS_ON_GPU: usize = 4 * POSITIONS;

/// The most prompts that go through the model together: the logits after their last positions are held at once.
const ROWS: usize = 256;

/// About how many values of an attention pattern are computed together.
const PATTERN: usize = 1 << 26;

impl Engine {
    /// How many prompts of `n_pos` tokens go through the model together.
    #[must_use]
    pub fn corpus_rows(&self, task: &CorpusTask, n_pos: usize) -> usize {
        // a dictionary reads one run at a time
        if task.spec.edits.iter().any(|edit| edit.features) {
            return 1;
        }
        let n_pos = n_pos.max(1);
        let positions = if self.loaded.model.place().device.is_cpu() { POSITIONS } else { POSITIONS_ON_GPU };
        (positions / n_pos).min(ROWS).min(PATTERN / (self.schema.dims.n_heads * n_pos * n_pos)).max(1)
    }
}

/// The prompts in groups of at most `rows(length)`: every prompt once, short ones first, in their order where lengths are
/// equal.
pub fn groups<'a>(
    prompts: impl IntoIterator<Item = (usize, &'a CorpusPrompt)>,
    rows: impl Fn(usize) -> usize,
) -> Vec<Group> {
    let mut by_length: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (number, prompt) in prompts {
        let lengths = (prompt.tokens.len(), prompt.contrast.as_ref().map_or(0, Vec::len));
        by_length.entry(lengths).or_default().push(number);
    }
    let parts = by_length.into_iter().flat_map(|((length, _), numbers)| {
        numbers.chunks(rows(length).max(1)).map(<[usize]>::to_vec).collect::<Vec<_>>()
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_prompt_is_in_one_group_of_its_length(lengths in proptest::collection::vec((1usize..6, 0usize..3), 0..40), most in 1usize..5) {
            let prompt = |(tokens, contrast): &(usize, usize)| CorpusPrompt {
                tokens: vec![0; *tokens],
                contrast: (*contrast > 0).then(|| vec![0; *contrast]),
                ..CorpusPrompt::default()
            };
            let prompts: Vec<CorpusPrompt> = lengths.iter().map(prompt).collect();
            let found = groups(prompts.iter().enumerate(), |_| most);
            let mut all: Vec<usize> = found.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..prompts.len()).collect::<Vec<_>>());
            for group in &found {
                prop_assert!(!group.is_empty() && group.len() <= most);
                prop_assert!(group.iter().all(|i| lengths[*i] == lengths[group[0]]));
            }
            // as few as possible
            let mut kinds = lengths.clone();
            kinds.sort_unstable();
            let fewest: usize = kinds.chunk_by(|a, b| a == b).map(|same| same.len().div_ceil(most)).sum();
            prop_assert_eq!(found.len(), fewest);
        }
    }
}
