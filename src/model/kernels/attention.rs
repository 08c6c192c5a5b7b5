//! Fused attention on activations `[batch, pos, head, d_head]`.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    heads::{ByHead, by_queries},
    is_supported,
    norm::SUMMED,
    scores::{Pairs, ScoreTile, scores},
    softmax::{SoftmaxInPlace, softmax},
    values,
    weighted_values::{WeightedTile, weighted_values},
};

/// [`scores`], [`softmax`] and [`weighted_values`] in one pass, for when scores and pattern are not needed; equal up to the
/// sign of zeros. Works on a few queries at a time and only on the keys they see. Also returns the number of rows without a
/// softmax.
///
/// # Shapes
/// `q`: `[batch, query, head, d_head]`, the last positions; `k` and `v`: `[batch, key, head, d_head]`, all positions; returns
/// `[batch, query, head, d_head]`.
pub(in crate::model) fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, usize)> {
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    // the separate steps compute a pattern once for rows that differ only in values; and masked keys can be skipped
    // only if their values are finite, since 0 times infinity is NaN
    if is_supported(&q) && v.dim(0)? <= q.dim(0)?.max(k.dim(0)?) && is_finite(&v)? {
        let undefined = AtomicUsize::new(0);
        let z = q.apply_op3_no_bwd(&k, &v, &Attention { undefined: &undefined })?;
        return Ok((z, undefined.into_inner()));
    }
    let (pattern, undefined) = softmax(&scores(&q, &k)?)?;
    Ok((weighted_values(&pattern, &v)?, undefined))
}

fn is_finite(x: &Tensor) -> Result<bool> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { candle_core::bail!("not on the CPU") };
    let finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
    Ok(values(storage, layout)?.par_chunks(1 << 16).all(finite))
}

struct Attention<'a> {
    undefined: &'a AtomicUsize,
}

impl CustomOp3 for Attention<'_> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_at: &Layout,
        k: &CpuStorage,
        k_at: &Layout,
        v: &CpuStorage,
        v_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let pairs = &Pairs::new(ByHead::new(q, q_at)?, ByHead::new(k, k_at)?);
        let (v, q, arch) = (ByHead::new(v, v_at)?, pairs.q, Arch::new());
        let mut out = vec![0.0; pairs.rows * q.n_pos * v.width()];
        let parts = by_queries(&mut out, q.n_pos, v.width(), pairs.together());
        parts.into_par_iter().for_each_init(
            <(Vec<f32>, Vec<f32>)>::default,
            |(transposed, scores), (row, first, out)| {
                let undefined = arch.dispatch(AttentionTile { pairs, v, row, first, transposed, scores, out });
                if undefined > 0 {
                    self.undefined.fetch_add(undefined, Ordering::Relaxed);
                }
            },
        );
        Ok((CpuStorage::F32(out), (pairs.rows, q.n_pos, q.heads, v.d_head).into()))
    }
}

/// Some queries of one row of the batch, all heads. Returns the number of rows without a softmax.
struct AttentionTile<'a> {
    pairs: &'a Pairs<'a>,
    v: ByHead<'a>,
    row: usize,
    first: usize,
    transposed: &'a mut Vec<f32>,
    scores: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl WithSimd for AttentionTile<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self { pairs, v, row, first, transposed, scores, out } = self;
        let count = out.len() / v.width();
        // a multiple of the lanes of `sum`, so that the skipped keys, all 0, would be added last
        let width = pairs.seen(first + count - 1).next_multiple_of(SUMMED).min(pairs.keys);
        scores.resize(count * width, 0.0);
        let mut undefined = 0;
        for head in 0..v.heads {
            ScoreTile { pairs, row, head, first, transposed, out: scores, width }.with_simd(simd);
            for scores in scores.chunks_exact_mut(width) {
                undefined += usize::from(!SoftmaxInPlace(scores).with_simd(simd));
            }
            let seen = pairs.seen(first);
            WeightedTile { pattern: scores, width, v, row, head, out, seen, more: 1 }.with_simd(simd);
        }
        undefined
    }
}
