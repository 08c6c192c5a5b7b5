//! Head scores, summed over prompts.

use std::cell::RefCell;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{super::host::with_values, CorpusPrompt};
use crate::{
    analysis::{HeadScores, Score, head_scores},
    hooks::{BlockHook, Dims, HookPoint, Observer, RunError},
};

/// The sum of each head's scores over the prompts so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadSums {
    /// `[layer][head][score]`
    sums: Vec<Vec<Vec<f64>>>,
    prompts: u64,
}

impl HeadSums {
    #[must_use]
    pub fn new(dims: &Dims) -> Self {
        Self { sums: vec![vec![vec![0.0; Score::ALL.len()]; dims.n_heads]; dims.n_layers], prompts: 0 }
    }

    /// The mean over the prompts, `[layer][head]`; NaN without a prompt.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of prompts")]
    pub fn means(&self) -> Vec<Vec<HeadScores>> {
        let place = |score: Score| Score::ALL.iter().position(|other| *other == score).unwrap_or(0);
        let mean = |sums: &Vec<f64>| HeadScores::each(|score| sums[place(score)] / self.prompts as f64);
        self.sums.iter().map(|heads| heads.iter().map(mean).collect()).collect()
    }

    /// Add what some prompts of a batch showed.
    pub fn add(&mut self, seen: WatchHeads<'_>, prompts: &[usize]) {
        self.prompts += prompts.len() as u64;
        for (block, scores) in seen.scores.into_inner() {
            // every prompt's heads, one after the other
            let heads = self.sums[block].len();
            for (number, scores) in
                scores.into_iter().enumerate().filter(|(number, _)| prompts.contains(&(number / heads)))
            {
                let sums = &mut self.sums[block][number % heads];
                sums.iter_mut().zip(Score::ALL).for_each(|(sum, score)| *sum += score.of(&scores));
            }
        }
    }
}

/// Computes the head scores of a batch while it runs, so that patterns need not be kept.
pub struct WatchHeads<'a> {
    prompts: Vec<&'a CorpusPrompt>,
    scores: RefCell<Vec<(usize, Vec<HeadScores>)>>,
}

impl<'a> WatchHeads<'a> {
    #[must_use]
    pub fn new(prompts: &[&'a CorpusPrompt]) -> Self {
        Self { prompts: prompts.to_vec(), scores: RefCell::default() }
    }
}

impl Observer for WatchHeads<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point.block_hook() == Some(BlockHook::Pattern)
    }

    fn see(&self, point: HookPoint, value: &Tensor, _: &[usize]) -> Result<(), RunError> {
        let Some(block) = point.block() else { return Ok(()) };
        let (_, heads, n_pos, _) = value.dims4()?;
        let scores = with_values(value, |all| {
            let prompts = &self.prompts;
            let of = |(number, pattern): (usize, &[f32])| head_scores(pattern, &prompts[number / heads].tokens);
            all.par_chunks((n_pos * n_pos).max(1)).enumerate().map(of).collect()
        })?;
        self.scores.borrow_mut().push((block, scores));
        Ok(())
    }
}
