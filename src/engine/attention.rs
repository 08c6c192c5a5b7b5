//! Scores and patterns as they are looked at: kept by a run, or computed again from its queries and keys.

use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::{D, DType, Tensor};

use super::{
    Compare, Engine, Outcome, Run, View,
    changes::{each, go_on},
    effects::values,
};
use crate::hooks::{BlockHook, HookPoint, RunError};

/// Which of a head's square matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichAttention {
    Pattern,
    Scores,
    /// The pattern times the L2 norm of each key's value vector (`hook_v`): how much is moved, not only how much is looked
    /// at. After Kobayashi et al., "Attention is Not Only a Weight" (2020), whose norm is taken behind `W_O`.
    ValueWeighted,
}

impl WhichAttention {
    pub const ALL: [Self; 3] = [Self::Pattern, Self::Scores, Self::ValueWeighted];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Scores => "scores",
            Self::ValueWeighted => "value-weighted",
        }
    }

    /// The hook that holds it, or that it is made from.
    #[must_use]
    pub fn hook(self) -> BlockHook {
        match self {
            Self::Pattern | Self::ValueWeighted => BlockHook::Pattern,
            Self::Scores => BlockHook::AttnScores,
        }
    }
}

/// Heads' matrices, pooled: each cell is the largest of `pool` x `pool` values, or of a difference the one furthest from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnails {
    /// Rows and columns of each.
    pub side: usize,
    pub pool: usize,
    /// `[block][head]`, each row-major `[query, key]`; NaN where every value is masked.
    pub heads: Vec<Vec<Vec<f32>>>,
}

impl Outcome {
    pub(super) fn look_at_head(
        &self,
        block: usize,
        head: usize,
        which: WhichAttention,
        engine: &Engine,
    ) -> Result<View, RunError> {
        let one = |run: &Run| -> Result<Option<Vec<f32>>, RunError> {
            engine.matrix(run, block, which, head)?.map(|t| values(&t)).transpose()
        };
        let baseline = self.unedited().map(one).transpose()?.flatten();
        Ok(match one(&self.run)? {
            Some(values) => View::Attention { values, baseline },
            None => View::Nothing(format!("{} was not kept in this run", HookPoint::Block(block, which.hook()))),
        })
    }

    pub(super) fn thumbnails(
        &self,
        engine: &Engine,
        blocks: std::ops::Range<usize>,
        (which, compare): (WhichAttention, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<View, RunError> {
        let n = self.spec.tokens.len();
        let pool = n.div_ceil(side.max(1)).max(1);
        let side = n.div_ceil(pool);
        let compare = if self.spec.edits.is_empty() { Compare::Edited } else { compare };
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            go_on(cancel)?;
            let thumbnail = |head: usize| -> Result<Option<Vec<f32>>, RunError> {
                let of = |run: &Run| -> Result<Option<Vec<f32>>, RunError> {
                    engine.matrix(run, block, which, head)?.map(|t| values(&t)).transpose()
                };
                let now = if compare == Compare::Baseline { None } else { of(&self.run)? };
                let before = if compare == Compare::Edited { None } else { of(&self.baseline)? };
                if now.is_none() && before.is_none() {
                    return Ok(None);
                }
                let at = |matrix: &Option<Vec<f32>>, i: usize| matrix.as_ref().map_or(0.0, |m| m[i]);
                let value = |i| compare.of(at(&now, i), at(&before, i));
                Ok(Some(pooled(n, pool, compare == Compare::Difference, value)))
            };
            let heads = each(engine.schema.dims.n_heads, self.run.logits.device().is_cpu(), thumbnail)?;
            all.push(heads.into_iter().flatten().collect());
        }
        Ok(View::Patterns(Thumbnails { side, pool, heads: all }))
    }
}

impl Engine {
    /// Scores or pattern of a block: kept, or computed again; None if it is neither. Of all heads and queries, or of some
    /// queries of one head with the keys up to the last of them.
    ///
    /// # Shapes
    /// Returns `[1, head, query, key]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub(super) fn attention(
        &self,
        run: &Run,
        block: usize,
        hook: BlockHook,
        part: Option<(usize, Range<usize>)>,
    ) -> Result<Option<Tensor>, RunError> {
        let kept = |hook| run.cache.get(HookPoint::Block(block, hook));
        if let Some(found) = kept(hook) {
            let Some((head, queries)) = part else { return Ok(Some(found.clone())) };
            let rows = found.narrow(1, head, 1)?.narrow(2, queries.start, queries.len())?;
            return Ok(Some(rows.narrow(3, 0, queries.end)?));
        }
        if !run.cache.is_left_out(HookPoint::Block(block, hook)) {
            return Ok(None);
        }
        if hook == BlockHook::Pattern {
            let scores = self.attention(run, block, BlockHook::AttnScores, part)?;
            return scores.map(|scores| self.loaded.model.pattern(&scores)).transpose();
        }
        let Some((q, k)) = kept(BlockHook::RotQ).zip(kept(BlockHook::RotK)) else { return Ok(None) };
        let Some((head, queries)) = part else { return Ok(Some(self.loaded.model.attn_scores(q, k)?)) };
        let q = q.narrow(1, queries.start, queries.len())?.narrow(2, head, 1)?;
        let k = k.narrow(1, 0, queries.end)?.narrow(2, head, 1)?;
        Ok(Some(self.loaded.model.attn_scores(&q, &k)?))
    }

    /// A head's matrix `[query, key]`; None if it was not kept.
    fn matrix(&self, run: &Run, block: usize, which: WhichAttention, head: usize) -> Result<Option<Tensor>, RunError> {
        let part = Some((head, 0..run.tokens.len()));
        let Some(found) = self.attention(run, block, which.hook(), part)? else { return Ok(None) };
        let matrix = found.squeeze(0)?.squeeze(0)?;
        if which != WhichAttention::ValueWeighted {
            return Ok(Some(matrix));
        }
        let Some(v) = run.cache.get(HookPoint::Block(block, BlockHook::V)) else { return Ok(None) };
        let v = v.narrow(2, head, 1)?.squeeze(2)?.squeeze(0)?.to_dtype(DType::F32)?;
        let norms = v.sqr()?.sum(D::Minus1)?.sqrt()?;
        Ok(Some(matrix.broadcast_mul(&norms.unsqueeze(0)?)?))
    }
}

/// An `n` x `n` matrix pooled by `pool`: the largest value that is not masked, or with `furthest` the one furthest from 0.
#[allow(clippy::float_cmp, reason = "the mask's own values")]
fn pooled(n: usize, pool: usize, furthest: bool, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let side = n.div_ceil(pool);
    let mut out = vec![f32::NAN; side * side];
    for query in 0..n {
        for key in 0..n {
            let (new, old) = (value(query * n + key), &mut out[query / pool * side + key / pool]);
            // the future is masked, unless an edit opened it
            if key > query && (new == 0.0 || new == f32::NEG_INFINITY) {
                continue;
            }
            let wins = if furthest { new.abs() > old.abs() } else { new > *old };
            if old.is_nan() || wins {
                *old = new;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn pooling_keeps_the_largest_below_the_diagonal() {
        // row-major 3 x 3; what is above the diagonal is the future
        let m = [1.0, 0.0, 0.0, -4.0, 2.0, 0.0, 3.0, -5.0, 0.5];
        assert_eq!(pooled(3, 2, false, |i| m[i])[0], 2.0);
        assert_eq!(pooled(3, 2, true, |i| m[i])[0], -4.0);
        assert_eq!(pooled(3, 2, false, |i| m[i])[2..], [3.0, 0.5]);
        assert!(pooled(3, 2, false, |i| m[i])[1].is_nan());
    }
}
