use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Engine, Outcome, Prediction, Run,
    changes::{each, go_on},
    effects::with_values,
    run::rows,
};
use crate::{
    analysis::{HeadScores, head_scores, kl_divergence, log_normaliser, top_k},
    hooks::{ActivationCache, BlockHook, Capture, Edit, HookPoint, Interventions, References, RunError, Target},
    model::Start,
};

/// What the residual stream at one place would predict.
#[derive(Clone, Debug, PartialEq)]
pub struct LensCell {
    /// The likeliest next tokens; `baseline_prob` is what the final layer gives them.
    pub top: Vec<Prediction>,
    /// KL(final layer || here) in nats.
    pub kl: f64,
    /// KL(baseline || edited) in nats of the same stream, where there are edits.
    pub moved: Option<f64>,
}

/// The lens at one position: a cell for each of [`lens_points`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LensColumn {
    pub cells: Vec<LensCell>,
    /// The baseline's; empty without edits.
    pub baseline: Vec<LensCell>,
}

/// Tokens told for each cell.
const TOP: usize = 20;

/// The streams that the lens reads: what enters each block, and what leaves the last.
#[must_use]
pub fn lens_points(n_layers: usize) -> Vec<HookPoint> {
    let last = HookPoint::Block(n_layers.saturating_sub(1), BlockHook::ResidPost);
    (0..n_layers).map(|block| HookPoint::Block(block, BlockHook::ResidPre)).chain([last]).collect()
}

/// Whether an edit has no part in the lens: those of the final LayerNorm.
#[must_use]
pub fn left_out(edit: &Edit) -> bool {
    matches!(edit.target, Target::Global(HookPoint::LnFinalScale | HookPoint::LnFinalNormalized))
}

impl Engine {
    /// The logit lens (nostalgebraist, 2020): logits of a run's residual stream, as if the model ended there. Equal to
    /// TransformerLens's `accumulated_resid` with `apply_ln` on the cache of the same run, followed by the unembedding: each
    /// stream is normalised by a scale of its own, so edits of the final LayerNorm reach the logits alone, and are left out
    /// ([`left_out`]).
    ///
    /// # Shapes
    /// Returns `[1, pos, vocab]`, or None if the run did not keep that stream.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn lens_logits(&self, cache: &ActivationCache, stream: HookPoint) -> Result<Option<Tensor>, RunError> {
        cache.get(stream).map(|stream| self.unembedded(stream)).transpose()
    }

    /// The logits of a residual stream at the end of the last block.
    fn unembedded(&self, stream: &Tensor) -> Result<Tensor, RunError> {
        let start = Start::Residual { block: self.schema.dims.n_layers, stream: stream.clone(), past: None };
        let mut hooks = Interventions::new(&[], &[], Capture::None, References::default(), self.schema.dims.d_vocab);
        self.loaded.model.forward(start, &self.schema, &mut hooks)
    }

    /// The lens at some positions, a column each.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn lens(
        &self,
        outcome: &Outcome,
        positions: Range<usize>,
        cancel: &AtomicBool,
    ) -> Result<Vec<LensColumn>, RunError> {
        let edited = !outcome.spec.edits.is_empty();
        let part = |t: &Tensor| t.narrow(1, positions.start, positions.len());
        let read = |run: &Run, point| -> Result<Vec<Vec<f32>>, RunError> {
            let Some(stream) = run.cache.get(point) else { return Ok(Vec::new()) };
            rows(&self.unembedded(&part(stream)?)?)
        };
        let last = |run: &Run| rows(&self.logits(run, positions.clone())?);
        let (last, last_before) = (last(&outcome.run)?, if edited { last(&outcome.baseline)? } else { Vec::new() });
        let mut columns = vec![LensColumn::default(); positions.len()];
        for point in lens_points(self.schema.dims.n_layers) {
            go_on(cancel)?;
            let now = read(&outcome.run, point)?;
            let before = if edited { read(&outcome.baseline, point)? } else { Vec::new() };
            columns.par_iter_mut().enumerate().for_each(|(i, column)| {
                let (Some(row), before) = (now.get(i), before.get(i)) else { return };
                let moved = before.map(|before| kl_divergence(before, row));
                column.cells.push(LensCell { moved, ..self.lens_cell(row, &last[i]) });
                column.baseline.extend(before.map(|before| self.lens_cell(before, &last_before[i])));
            });
        }
        Ok(columns)
    }

    fn lens_cell(&self, row: &[f32], last: &[f32]) -> LensCell {
        let norm = log_normaliser(last);
        let predict = |ranked: crate::analysis::Ranked| Prediction {
            id: ranked.id,
            text: self.loaded.tokenizer.token(ranked.id),
            logit: ranked.logit,
            prob: ranked.prob,
            baseline_prob: (f64::from(last[ranked.id as usize]) - norm).exp(),
        };
        LensCell { top: top_k(row, TOP).into_iter().map(predict).collect(), kl: kl_divergence(last, row), moved: None }
    }

    /// The scores of every head, `[layer][head]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn head_map(&self, run: &Run) -> Result<Vec<Vec<HeadScores>>, RunError> {
        let tokens = match run.cache.get(HookPoint::Tokens) {
            // edited, perhaps
            Some(kept) => kept.flatten_all()?.to_vec1::<u32>()?,
            None => run.tokens.clone(),
        };
        let tokens = &tokens;
        let scores = |block: usize| -> Result<Vec<HeadScores>, RunError> {
            let score = |head| -> Result<Option<HeadScores>, RunError> {
                let pattern = self.attention(run, block, BlockHook::Pattern, Some((head, 0..tokens.len())))?;
                pattern.map(|pattern| with_values(&pattern, |all| head_scores(all, tokens))).transpose()
            };
            let heads = each(self.schema.dims.n_heads, run.logits.device().is_cpu(), score)?;
            Ok(heads.into_iter().flatten().collect())
        };
        // one block after the other: of a long prompt, patterns are made for this alone
        (0..self.schema.dims.n_layers).map(scores).collect()
    }
}
