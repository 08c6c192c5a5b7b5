//! Attention on activations as they lie: `[batch, pos, head, d_head]`.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    here,
    mix::{Mixed, mix},
    norm::SUMMED,
    row_of,
    scores::{Pairs, Scored, scores},
    softmax::{Exponents, softmax},
    values,
};

/// Queries that are done together, at most.
pub(super) const QUERIES: usize = 64;

/// [`scores`], [`softmax`] and [`mix`] in one, equal but for the sign of a zero, where nobody wants to see what lies
/// between: some queries at a time, and the keys that they see. Returns also how many queries had no softmax.
///
/// # Shapes
/// `q`: `[batch, query, head, d_head]`, of the last positions; `k` and `v`: `[batch, key, head, d_head]`, of all; returns
/// `[batch, query, head, d_head]`.
pub(in crate::model) fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, usize)> {
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    // where only values differ by row, patterns do not; and 0 times what is not finite is not 0, so no key can be left out
    if here(&q) && v.dim(0)? <= q.dim(0)?.max(k.dim(0)?) && is_finite(&v)? {
        let undefined = AtomicUsize::new(0);
        let z = q.apply_op3_no_bwd(&k, &v, &Attend { undefined: &undefined })?;
        return Ok((z, undefined.into_inner()));
    }
    let (pattern, undefined) = softmax(&scores(&q, &k)?)?;
    Ok((mix(&pattern, &v)?, undefined))
}

fn is_finite(x: &Tensor) -> Result<bool> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { candle_core::bail!("not on the CPU") };
    let finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
    Ok(values(storage, layout)?.par_chunks(1 << 16).all(finite))
}

/// An activation `[batch, pos, head, d_head]`, in which rows may be missing.
#[derive(Clone, Copy)]
pub(super) struct ByHead<'a> {
    values: &'a [f32],
    pub rows: usize,
    pub n_pos: usize,
    pub heads: usize,
    pub d_head: usize,
}

impl<'a> ByHead<'a> {
    pub fn new(storage: &'a CpuStorage, at: &Layout) -> Result<Self> {
        let (rows, n_pos, heads, d_head) = at.shape().dims4()?;
        Ok(Self { values: values(storage, at)?, rows, n_pos, heads, d_head })
    }

    /// Numbers at a position.
    pub fn width(self) -> usize {
        self.heads * self.d_head
    }

    /// `[pos, head, d_head]`
    pub fn row(self, row: usize) -> &'a [f32] {
        let each = self.n_pos * self.width();
        &self.values[row_of(row, self.rows) * each..][..each]
    }

    /// One head from a position on; its next position is [`Self::width`] numbers further.
    pub fn from(self, row: usize, head: usize, pos: usize) -> &'a [f32] {
        &self.row(row)[pos * self.width() + head * self.d_head..]
    }
}

/// Of `n`, so many at once that every thread gets some, and at most `most`.
pub(super) fn shared(n: usize, most: usize) -> usize {
    n.div_ceil(rayon::current_num_threads()).clamp(1, most)
}

/// `[row, query, ...]` in parts of at most `together` queries of a row, with the numbers of row and first query.
pub(super) fn by_queries(
    out: &mut [f32],
    queries: usize,
    width: usize,
    together: usize,
) -> Vec<(usize, usize, &mut [f32])> {
    let rows = out.chunks_mut((queries * width).max(1)).enumerate();
    let parts = rows.flat_map(|(row, out)| {
        out.chunks_mut((together * width).max(1)).enumerate().map(move |(at, out)| (row, at * together, out))
    });
    parts.collect()
}

struct Attend<'a> {
    undefined: &'a AtomicUsize,
}

impl CustomOp3 for Attend<'_> {
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
        parts.into_par_iter().for_each_init(<(Vec<f32>, Vec<f32>)>::default, |(turned, scores), (row, first, out)| {
            let undefined = arch.dispatch(Attended { pairs, v, row, first, turned, scores, out });
            if undefined > 0 {
                self.undefined.fetch_add(undefined, Ordering::Relaxed);
            }
        });
        Ok((CpuStorage::F32(out), (pairs.rows, q.n_pos, q.heads, v.d_head).into()))
    }
}

/// Some queries of one row, all heads; how many of them had no softmax.
struct Attended<'a> {
    pairs: &'a Pairs<'a>,
    v: ByHead<'a>,
    row: usize,
    first: usize,
    turned: &'a mut Vec<f32>,
    scores: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl WithSimd for Attended<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self { pairs, v, row, first, turned, scores, out } = self;
        let count = out.len() / v.width();
        // as many lanes as a sum has: what is left out would be added last, and is 0
        let width = pairs.seen(first + count - 1).next_multiple_of(SUMMED).min(pairs.keys);
        scores.resize(count * width, 0.0);
        let mut undefined = 0;
        for head in 0..v.heads {
            Scored { pairs, row, head, first, turned, out: scores, width }.with_simd(simd);
            for scores in scores.chunks_exact_mut(width) {
                undefined += usize::from(!Exponents(scores).with_simd(simd));
            }
            let seen = pairs.seen(first);
            Mixed { pattern: scores, width, v, row, head, out, seen, more: 1 }.with_simd(simd);
        }
        undefined
    }
}
