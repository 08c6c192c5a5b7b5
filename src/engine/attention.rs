//! Scores and patterns on demand: kept by a run, or recomputed from its queries and keys.

use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::{D, DType, Tensor};

use super::{
    Compare, Engine, Numbers, Outcome, Run, Unseen, WithBaseline,
    control::{each, go_on},
    finished::Finished,
    host::values,
};
use crate::hooks::{BlockHook, HookPoint, RunError};

/// One of a head's square matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichAttention {
    Pattern,
    Scores,
    /// The pattern times the L2 norm of each key's value vector (`hook_v`): how much a head moves, and not only where
    /// it attends. After Kobayashi et al., "Attention is Not Only a Weight" (2020), who take the norm after `W_O`.
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

    /// Every hook that it is computed from.
    pub fn hooks(self) -> impl Iterator<Item = BlockHook> {
        let values = (self == Self::ValueWeighted).then_some(BlockHook::V);
        [self.hook()].into_iter().chain(values)
    }

    /// The hook that holds it, or that it is computed from.
    #[must_use]
    pub fn hook(self) -> BlockHook {
        match self {
            Self::Pattern | Self::ValueWeighted => BlockHook::Pattern,
            Self::Scores => BlockHook::AttnScores,
        }
    }
}

/// Pooled matrices of heads: each cell is the largest of `pool` x `pool` values or, for a difference, the one furthest
/// from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnails {
    /// Rows and columns of each.
    pub side: usize,
    pub pool: usize,
    /// `[block][head]`, each row-major `[query, key]`; NaN where every value is masked.
    pub heads: Vec<Vec<Vec<f32>>>,
}

impl Outcome {
    /// One head's matrix, row-major `[query, key]`.
    ///
    /// # Errors
    /// The run did not keep what is needed; tensor errors.
    pub fn head_attention(
        &self,
        block: usize,
        head: usize,
        which: WhichAttention,
        engine: &Engine,
    ) -> Result<WithBaseline<Vec<f32>>, Unseen> {
        let one = |run: &Run| -> Result<Option<Vec<f32>>, RunError> {
            engine.matrix(run, block, which, head)?.map(|t| values(&t)).transpose()
        };
        let missing = || Unseen::Nothing(format!("{} was not kept in this run", HookPoint::Block(block, which.hook())));
        let run = one(&self.run)?.ok_or_else(missing)?;
        Ok(WithBaseline { run, baseline: self.unedited().map(one).transpose()?.flatten() })
    }

    /// Every head of some blocks, each max-pooled to at most `side` rows and columns.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn thumbnails(
        &self,
        engine: &Engine,
        blocks: Range<usize>,
        (which, compare): (WhichAttention, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<Thumbnails, RunError> {
        let compare = if self.spec.edits.is_empty() { Compare::Edited } else { compare };
        thumbnails((engine, &*self.run), (engine, &*self.baseline), blocks, (which, compare), side, cancel)
    }
}

/// Every head of some blocks of two runs, compared and max-pooled to at most `side` rows and columns.
fn thumbnails(
    now: (&Engine, &Run),
    before: (&Engine, &Run),
    blocks: Range<usize>,
    (which, compare): (WhichAttention, Compare),
    side: usize,
    cancel: &AtomicBool,
) -> Result<Thumbnails, RunError> {
    let n = now.1.tokens.len();
    let pool = n.div_ceil(side.max(1)).max(1);
    let side = n.div_ceil(pool);
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks {
        go_on(cancel)?;
        let thumbnail = |head: usize| -> Result<Option<Vec<f32>>, RunError> {
            let of = |(engine, run): (&Engine, &Run)| -> Result<Option<Vec<f32>>, RunError> {
                engine.matrix(run, block, which, head)?.map(|t| values(&t)).transpose()
            };
            let now = if compare == Compare::Baseline { None } else { of(now)? };
            let before = if compare == Compare::Edited { None } else { of(before)? };
            if now.is_none() && before.is_none() {
                return Ok(None);
            }
            let at = |matrix: &Option<Vec<f32>>, i: usize| matrix.as_ref().map_or(0.0, |m| m[i]);
            let value = |i| compare.of(at(&now, i), at(&before, i));
            Ok(Some(pooled(n, pool, compare == Compare::Difference, value)))
        };
        let heads = each(now.0.schema.dims.n_heads, now.1.logits.device().is_cpu(), thumbnail)?;
        all.push(heads.into_iter().flatten().collect());
    }
    Ok(Thumbnails { side, pool, heads: all })
}

impl Finished<'_> {
    /// One head's matrix, or the gradients with respect to it, row-major `[query, key]`.
    ///
    /// # Errors
    /// As [`Outcome::head_attention`], and what [`Finished::numbers`] refuses.
    pub fn head_attention(
        &mut self,
        block: usize,
        head: usize,
        (which, numbers): (WhichAttention, Numbers),
        cancel: &AtomicBool,
    ) -> Result<WithBaseline<Vec<f32>>, Unseen> {
        if numbers == Numbers::Values {
            return self.outcome.head_attention(block, head, which, self.engine);
        }
        let WithBaseline { run, baseline } = self.attention_gradients(block, which, numbers, cancel)?;
        let of = |tensor: Tensor| values(&tensor.narrow(1, head, 1)?);
        Ok(WithBaseline { run: of(run)?, baseline: baseline.map(of).transpose()? })
    }

    /// Every head of some blocks, as in [`Outcome::thumbnails`], or the gradients; for gradients, each cell is the
    /// value furthest from 0.
    ///
    /// # Errors
    /// Cancellation, what [`Finished::numbers`] refuses, tensor errors.
    pub fn thumbnails(
        &mut self,
        blocks: Range<usize>,
        (which, numbers, compare): (WhichAttention, Numbers, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<Thumbnails, Unseen> {
        if numbers == Numbers::Values {
            return Ok(self.outcome.thumbnails(self.engine, blocks, (which, compare), side, cancel)?);
        }
        self.pooled_gradients(None, blocks, (which, numbers, compare), side, cancel)
    }

    /// The same for this model beside another.
    ///
    /// # Errors
    /// As [`Self::thumbnails`].
    pub fn thumbnails_of_two(
        &mut self,
        that: &mut Finished<'_>,
        blocks: Range<usize>,
        (which, numbers, compare): (WhichAttention, Numbers, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<Thumbnails, Unseen> {
        if numbers == Numbers::Values {
            let of = |finished: &Finished<'_>| finished.outcome.run.clone();
            let (this_run, that_run) = (of(self), of(that));
            let (now, before) = ((&*self.engine, &*this_run), (&*that.engine, &*that_run));
            return Ok(thumbnails(now, before, blocks, (which, compare), side, cancel)?);
        }
        self.pooled_gradients(Some(that), blocks, (which, numbers, compare), side, cancel)
    }

    /// Gradients, each cell the value furthest from 0; beside those of the baseline, or of another model.
    fn pooled_gradients(
        &mut self,
        mut that: Option<&mut Finished<'_>>,
        blocks: Range<usize>,
        (which, numbers, compare): (WhichAttention, Numbers, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<Thumbnails, Unseen> {
        let n = self.outcome.spec.tokens.len();
        let pool = n.div_ceil(side.max(1)).max(1);
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            let WithBaseline { run, baseline } = self.attention_gradients(block, which, numbers, cancel)?;
            let baseline = match &mut that {
                Some(that) => Some(that.attention_gradients(block, which, numbers, cancel)?.run),
                None => baseline,
            };
            let baseline = baseline.as_ref().map(values).transpose()?;
            let shown = WithBaseline { run: values(&run)?, baseline }.compared(compare);
            let heads = shown.chunks(n * n).map(|head| pooled(n, pool, true, |at| head[at]));
            all.push(heads.collect());
        }
        Ok(Thumbnails { side: n.div_ceil(pool), pool, heads: all })
    }

    /// Gradients with respect to every head's matrix, `[1, head, query, key]`.
    fn attention_gradients(
        &mut self,
        block: usize,
        which: WhichAttention,
        numbers: Numbers,
        cancel: &AtomicBool,
    ) -> Result<WithBaseline<Tensor>, Unseen> {
        match which {
            WhichAttention::Pattern | WhichAttention::Scores => {
                self.numbers(HookPoint::Block(block, which.hook()), numbers, cancel)
            }
            WhichAttention::ValueWeighted => {
                Err(Unseen::Nothing("the value-weighted pattern is made of two hooks, and has no gradient".into()))
            }
        }
    }
}

impl Engine {
    /// The scores or the pattern of a block, kept or recomputed; None if neither is possible. Returns all heads and
    /// queries, or some queries of one head, with the keys up to the last of these.
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

    /// A head's matrix `[query, key]`; None if it can't be computed.
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
