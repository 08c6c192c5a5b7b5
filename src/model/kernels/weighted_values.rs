//! Values weighted by the attention pattern.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    heads::{ByHead, QUERIES, by_queries, shared},
    is_supported, row_of, values, with_rows,
};

/// The number of keys whose values fit the first-level cache.
const KEYS: usize = 96;

/// Queries computed at once.
const TILE: usize = 4;

/// `pattern · v` by head: the values summed over keys, weighted by each query's pattern.
///
/// # Shapes
/// `pattern`: `[batch, head, query, key]`, `v`: `[batch, key, head, d_head]`; returns `[batch, query, head, d_head]`.
pub(in crate::model) fn weighted_values(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    if is_supported(pattern) {
        return pattern.contiguous()?.apply_op2_no_bwd(&v.contiguous()?, &WeightedValues);
    }
    let rows = pattern.dim(0)?.max(v.dim(0)?);
    let v = with_rows(v, rows)?.transpose(1, 2)?.contiguous()?;
    with_rows(pattern, rows)?.contiguous()?.matmul(&v)?.transpose(1, 2)?.contiguous()
}

/// Adds the weighted values of some queries, of one head and one row of the batch, to `out`.
pub(super) struct WeightedTile<'a> {
    /// `[query, key]`, `width` keys in a row.
    pub pattern: &'a [f32],
    pub width: usize,
    pub v: ByHead<'a>,
    pub row: usize,
    pub head: usize,
    /// `[query, head, d_head]`
    pub out: &'a mut [f32],
    /// The number of keys that the first query sees, and how many more each following one does; other keys are ignored.
    pub seen: usize,
    pub more: usize,
}

impl WithSimd for WeightedTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let queries = self.pattern.len() / self.width;
        let seen = |query: usize, all: &Self| (all.seen + query * all.more).min(all.width);
        let all = seen(queries - 1, &self);
        for from in (0..all).step_by(KEYS) {
            let mut query = 0;
            while query < queries {
                let is_tile = query + TILE <= queries;
                let next = if is_tile { query + TILE } else { query + 1 };
                let to = (from + KEYS).min(seen(next - 1, &self));
                if from < to {
                    match is_tile {
                        true => self.queries::<S, TILE>(simd, query, from, to),
                        false => self.queries::<S, 1>(simd, query, from, to),
                    }
                }
                query = next;
            }
        }
    }
}

impl WeightedTile<'_> {
    /// `M` queries from `query` on, with keys `from..to`.
    #[inline(always)]
    fn queries<S: Simd, const M: usize>(&mut self, simd: S, query: usize, from: usize, to: usize) {
        let d_head = self.v.d_head;
        let mut at = 0;
        while at + 4 * S::F32_LANES <= d_head {
            self.registers::<S, M, 4>(simd, query, from, to, at);
            at += 4 * S::F32_LANES;
        }
        while at + S::F32_LANES <= d_head {
            self.registers::<S, M, 1>(simd, query, from, to, at);
            at += S::F32_LANES;
        }
        // dimensions that do not fill a register
        let (stride, within) = (self.v.width(), self.head * d_head);
        for m in query..query + M {
            let pattern = &self.pattern[m * self.width..][from..to];
            for i in at..d_head {
                let v = self.v.row(self.row)[from * stride + within + i..].iter().step_by(stride);
                let out = &mut self.out[m * stride + within + i];
                *out = pattern.iter().zip(v).fold(*out, |sum, (p, v)| p.mul_add(*v, sum));
            }
        }
    }

    /// The same for `V` registers of dimensions, from `at` on.
    #[inline(always)]
    fn registers<S: Simd, const M: usize, const V: usize>(
        &mut self,
        simd: S,
        query: usize,
        from: usize,
        to: usize,
        at: usize,
    ) {
        let (stride, within) = (self.v.width(), self.head * self.v.d_head + at);
        let mut pattern: [&[f32]; M] = [&[]; M];
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        for m in 0..M {
            pattern[m] = &self.pattern[(query + m) * self.width + from..][..to - from];
            let out = &self.out[(query + m) * stride + within..][..V * S::F32_LANES];
            sums[m].copy_from_slice(S::as_simd_f32s(out).0);
        }
        for (key, v) in self.v.row(self.row)[from * stride..to * stride].chunks_exact(stride).enumerate() {
            let v = S::as_simd_f32s(&v[within..within + V * S::F32_LANES]).0;
            for m in 0..M {
                let weight = simd.splat_f32s(pattern[m][key]);
                for i in 0..V {
                    sums[m][i] = simd.mul_add_e_f32s(weight, v[i], sums[m][i]);
                }
            }
        }
        for m in 0..M {
            let out = &mut self.out[(query + m) * stride + within..][..V * S::F32_LANES];
            S::as_mut_simd_f32s(out).0.copy_from_slice(&sums[m]);
        }
    }
}

struct WeightedValues;

impl CustomOp2 for WeightedValues {
    fn name(&self) -> &'static str {
        "weighted values"
    }

    fn cpu_fwd(
        &self,
        pattern: &CpuStorage,
        p_at: &Layout,
        v: &CpuStorage,
        v_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (have, heads, queries, keys) = p_at.shape().dims4()?;
        let (pattern, v) = (values(pattern, p_at)?, ByHead::new(v, v_at)?);
        let rows = have.max(v.rows);
        let mut out = vec![0.0; rows * queries * v.width()];
        let arch = Arch::new();
        by_queries(&mut out, queries, v.width(), shared(queries, QUERIES)).into_par_iter().for_each(
            |(row, first, out)| {
                let count = out.len() / v.width();
                for head in 0..heads {
                    let pattern =
                        &pattern[((row_of(row, have) * heads + head) * queries + first) * keys..][..count * keys];
                    arch.dispatch(WeightedTile { pattern, width: keys, v, row, head, out, seen: keys, more: 0 });
                }
            },
        );
        Ok((CpuStorage::F32(out), (rows, queries, heads, v.d_head).into()))
    }
}
