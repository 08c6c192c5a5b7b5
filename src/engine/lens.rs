use candle_core::Tensor;
use rayon::prelude::*;

use super::{Engine, Outcome, Prediction, Run};
use crate::{
    analysis::{HeadScores, head_scores, kl_divergence, log_normaliser, top_k},
    hooks::{ActivationCache, BlockHook, Capture, EditError, HookPoint, Interventions, References},
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

/// Tokens told for each cell.
const TOP: usize = 5;

/// The streams that the lens reads: what enters each block, and what leaves the last.
#[must_use]
pub fn lens_points(n_layers: usize) -> Vec<HookPoint> {
    let last = HookPoint::Block(n_layers.saturating_sub(1), BlockHook::ResidPost);
    (0..n_layers).map(|block| HookPoint::Block(block, BlockHook::ResidPre)).chain([last]).collect()
}

impl Engine {
    /// The logit lens (nostalgebraist, 2020): logits of a run's residual stream, as if the model ended there. Equal to
    /// TransformerLens's `accumulated_resid` with `apply_ln` followed by the unembedding. Edits of the final LayerNorm are
    /// left out.
    ///
    /// # Shapes
    /// Returns `[1, pos, vocab]`, or None if the run did not keep that stream.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn lens_logits(&self, cache: &ActivationCache, stream: HookPoint) -> Result<Option<Tensor>, EditError> {
        let Some(stream) = cache.get(stream).cloned() else { return Ok(None) };
        let start = Start::Residual { block: self.schema.dims.n_layers, stream };
        let mut hooks = Interventions::new(&[], &[], Capture::None, References::default(), self.schema.dims.d_vocab);
        self.loaded.model.forward(start, &self.schema, &mut hooks).map(Some)
    }

    /// The lens over layers and positions, `[layer][pos]`, in the order of [`lens_points`]; and the baseline's, where there
    /// are edits.
    ///
    /// # Errors
    /// Tensor errors.
    #[allow(clippy::type_complexity, reason = "two grids of cells")]
    pub fn lens(&self, outcome: &Outcome) -> Result<(Vec<Vec<LensCell>>, Option<Vec<Vec<LensCell>>>), EditError> {
        let edited = !outcome.spec.edits.is_empty();
        let rows = |run: &Run, point| -> Result<Vec<Vec<f32>>, EditError> {
            let logits = self.lens_logits(&run.cache, point)?;
            let rows = |logits: Tensor| logits.squeeze(0)?.to_dtype(candle_core::DType::F32)?.to_vec2();
            Ok(logits.map(rows).transpose()?.unwrap_or_default())
        };
        let (last, last_before) = (outcome.run.logit_rows()?, outcome.baseline.logit_rows()?);
        let (mut cells, mut baseline) = (Vec::new(), Vec::new());
        for point in lens_points(self.schema.dims.n_layers) {
            let now = rows(&outcome.run, point)?;
            let before = if edited { rows(&outcome.baseline, point)? } else { Vec::new() };
            let cell = |(pos, row): (usize, &Vec<f32>)| LensCell {
                moved: before.get(pos).map(|before| kl_divergence(before, row)),
                ..self.lens_cell(row, &last[pos])
            };
            cells.push(now.par_iter().enumerate().map(cell).collect());
            baseline.push(before.par_iter().zip(&last_before).map(|(row, last)| self.lens_cell(row, last)).collect());
        }
        Ok((cells, edited.then_some(baseline)))
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
    pub fn head_map(&self, run: &Run) -> Result<Vec<Vec<HeadScores>>, EditError> {
        let tokens = &run.tokens;
        (0..self.schema.dims.n_layers)
            .into_par_iter()
            .map(|block| {
                let Some(pattern) = run.cache.get(HookPoint::Block(block, BlockHook::Pattern)) else {
                    return Ok(vec![]);
                };
                let values = super::effects::values(pattern)?;
                Ok(values.chunks(tokens.len() * tokens.len()).map(|head| head_scores(head, tokens)).collect())
            })
            .collect()
    }
}
