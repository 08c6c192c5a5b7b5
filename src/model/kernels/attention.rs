//! Scores and the mixing of values, on activations as they lie: `[batch, pos, head, d_head]`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, here, row_of, values, with_rows};

/// Causal attention scores: `q · k / sqrt(d_head)`, and -inf for keys after their query.
///
/// # Shapes
/// `q`: `[batch, query, head, d_head]`, of the last positions; `k`: `[batch, key, head, d_head]`, of all; returns
/// `[batch, head, query, key]`.
pub(in crate::model) fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (queries, keys, d_head) = (q.dim(1)?, k.dim(1)?, q.dim(3)?);
    #[allow(clippy::cast_precision_loss, reason = "d_head is small")]
    let root = (d_head as f64).sqrt();
    if here(q) {
        #[allow(clippy::cast_possible_truncation, reason = "the kernel computes in f32")]
        return q.contiguous()?.apply_op2_no_bwd(&k.contiguous()?, &Scores { factor: (1.0 / root) as f32 });
    }
    let rows = q.dim(0)?.max(k.dim(0)?);
    let by_head = |x: &Tensor| with_rows(x, rows)?.transpose(1, 2)?.contiguous();
    let scores = (by_head(q)?.matmul(&by_head(k)?.transpose(2, 3)?)? / root)?;
    let future = (0..queries).flat_map(|query| (0..keys).map(move |key| u8::from(key > query + keys - queries)));
    let future = Tensor::from_iter(future, q.device())?.reshape((queries, keys))?.broadcast_as(scores.shape())?;
    let masked = Tensor::new(f32::NEG_INFINITY, q.device())?.to_dtype(q.dtype())?.broadcast_as(scores.shape())?;
    future.where_cond(&masked, &scores)
}

struct Scores {
    factor: f32,
}

impl CustomOp2 for Scores {
    fn name(&self) -> &'static str {
        "attention scores"
    }

    fn cpu_fwd(&self, q: &CpuStorage, q_at: &Layout, k: &CpuStorage, k_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (have_q, queries, heads, d_head) = q_at.shape().dims4()?;
        let (have_k, keys, ..) = k_at.shape().dims4()?;
        let (q, k) = (values(q, q_at)?, values(k, k_at)?);
        let rows = have_q.max(have_k);
        let mut out = vec![0.0; rows * heads * queries * keys];
        let arch = Arch::new();
        out.par_chunks_mut((queries * keys).max(1)).enumerate().for_each(|(at, out)| {
            let (row, head) = (at / heads, at % heads);
            let q = &q[row_of(row, have_q) * queries * heads * d_head..];
            let k = &k[row_of(row, have_k) * keys * heads * d_head..];
            arch.dispatch(HeadScores {
                q,
                k,
                head,
                heads,
                d_head,
                keys,
                before: keys - queries,
                factor: self.factor,
                out,
            });
        });
        Ok((CpuStorage::F32(out), (rows, heads, queries, keys).into()))
    }
}

/// One head's scores of one row.
struct HeadScores<'a> {
    q: &'a [f32],
    k: &'a [f32],
    head: usize,
    heads: usize,
    d_head: usize,
    keys: usize,
    /// Keys before the first query.
    before: usize,
    factor: f32,
    out: &'a mut [f32],
}

impl HeadScores<'_> {
    /// `M` queries from `first` on.
    #[inline(always)]
    fn queries<S: Simd, const M: usize>(&mut self, simd: S, first: usize) {
        let (d_head, keys) = (self.d_head, self.keys);
        let (width, within) = (self.heads * d_head, self.head * d_head);
        let mut q: [&[f32]; M] = [&[]; M];
        for m in 0..M {
            q[m] = &self.q[(first + m) * width + within..][..d_head];
        }
        // the last of these queries sees so many keys
        let seen = (self.before + first + M).min(keys);
        let mut key = 0;
        while key < seen {
            if key + 4 <= keys {
                let mut k: [&[f32]; 4] = [&[]; 4];
                for n in 0..4 {
                    k[n] = &self.k[(key + n) * width + within..][..d_head];
                }
                let sums = tile::<S, M, 4>(simd, q, k);
                for m in 0..M {
                    for n in 0..4 {
                        self.out[(first + m) * keys + key + n] = sums[m][n] * self.factor;
                    }
                }
                key += 4;
            } else {
                let sums = tile::<S, M, 1>(simd, q, [&self.k[key * width + within..][..d_head]]);
                for m in 0..M {
                    self.out[(first + m) * keys + key] = sums[m][0] * self.factor;
                }
                key += 1;
            }
        }
        for m in 0..M {
            self.out[(first + m) * keys..][self.before + first + m + 1..keys].fill(f32::NEG_INFINITY);
        }
    }
}

impl WithSimd for HeadScores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let queries = self.keys - self.before;
        let mut first = 0;
        while first < queries {
            if first + 4 <= queries {
                self.queries::<S, 4>(simd, first);
                first += 4;
            } else {
                self.queries::<S, 1>(simd, first);
                first += 1;
            }
        }
    }
}

/// The dot product of each of `x` with each of `w`, all of one length.
///
/// Plain loops over arrays: closures given to `map` were not compiled for the vector instructions.
#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(simd: S, x: [&[f32]; M], w: [&[f32]; N]) -> [[f32; N]; M] {
    let zero = simd.splat_f32s(0.0);
    let mut sums = [[zero; N]; M];
    let steps = x[0].len() / S::F32_LANES;
    let mut body_x: [&[S::f32s]; M] = [&[]; M];
    let mut body_w: [&[S::f32s]; N] = [&[]; N];
    for row in 0..M {
        body_x[row] = &S::as_simd_f32s(x[row]).0[..steps];
    }
    for column in 0..N {
        body_w[column] = &S::as_simd_f32s(w[column]).0[..steps];
    }
    for step in 0..steps {
        let mut values = [zero; M];
        for row in 0..M {
            values[row] = body_x[row][step];
        }
        for column in 0..N {
            let w = body_w[column][step];
            for row in 0..M {
                sums[row][column] = simd.mul_add_e_f32s(values[row], w, sums[row][column]);
            }
        }
    }
    let mut totals = [[0.0; N]; M];
    for row in 0..M {
        // by way of memory of its own: registers whose address is taken are kept in memory all along
        let mut lanes = [0.0; LANES * 4];
        S::as_mut_simd_f32s(&mut lanes).0[..N].copy_from_slice(&sums[row]);
        for column in 0..N {
            totals[row][column] = total(&lanes[column * S::F32_LANES..(column + 1) * S::F32_LANES]);
        }
    }
    // what does not fill a register
    for at in steps * S::F32_LANES..x[0].len() {
        for row in 0..M {
            for column in 0..N {
                totals[row][column] += x[row][at] * w[column][at];
            }
        }
    }
    totals
}

/// The sum of a register's lanes, pairwise.
#[inline(always)]
fn total(lanes: &[f32]) -> f32 {
    if !lanes.len().is_multiple_of(8) {
        return lanes.iter().sum();
    }
    let mut sums = [0.0f32; 8];
    for part in lanes.chunks_exact(8) {
        for lane in 0..8 {
            sums[lane] += part[lane];
        }
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

/// Each query's mix of the values.
///
/// # Shapes
/// `pattern`: `[batch, head, query, key]`, `v`: `[batch, key, head, d_head]`; returns `[batch, query, head, d_head]`.
pub(in crate::model) fn mix(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    if here(pattern) {
        return pattern.contiguous()?.apply_op2_no_bwd(&v.contiguous()?, &Mix);
    }
    let rows = pattern.dim(0)?.max(v.dim(0)?);
    let v = with_rows(v, rows)?.transpose(1, 2)?.contiguous()?;
    with_rows(pattern, rows)?.contiguous()?.matmul(&v)?.transpose(1, 2)?.contiguous()
}

struct Mix;

impl CustomOp2 for Mix {
    fn name(&self) -> &'static str {
        "mix of values"
    }

    fn cpu_fwd(
        &self,
        pattern: &CpuStorage,
        p_at: &Layout,
        v: &CpuStorage,
        v_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (have_p, heads, queries, keys) = p_at.shape().dims4()?;
        let (have_v, _, _, d_head) = v_at.shape().dims4()?;
        let (pattern, v) = (values(pattern, p_at)?, values(v, v_at)?);
        let rows = have_p.max(have_v);
        let mut out = vec![0.0; rows * queries * heads * d_head];
        let arch = Arch::new();
        // some queries of one row, all heads: what they write lies together
        let block = QUERIES.min(queries.max(1));
        let blocks = queries.div_ceil(block);
        let mut parts: Vec<(usize, &mut [f32])> = Vec::with_capacity(rows * blocks);
        for (row, out) in out.chunks_mut((queries * heads * d_head).max(1)).enumerate() {
            for (number, out) in out.chunks_mut(block * heads * d_head).enumerate() {
                parts.push((row * blocks + number, out));
            }
        }
        parts.into_par_iter().for_each(|(at, out)| {
            let (row, first) = (at / blocks, at % blocks * block);
            let pattern = &pattern[row_of(row, have_p) * heads * queries * keys..][..heads * queries * keys];
            let v = &v[row_of(row, have_v) * keys * heads * d_head..][..keys * heads * d_head];
            arch.dispatch(Mixed { pattern, v, first, queries, keys, heads, d_head, out });
        });
        Ok((CpuStorage::F32(out), (rows, queries, heads, d_head).into()))
    }
}

/// Queries that are mixed at once.
const QUERIES: usize = 4;

struct Mixed<'a> {
    pattern: &'a [f32],
    v: &'a [f32],
    first: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    d_head: usize,
    out: &'a mut [f32],
}

impl Mixed<'_> {
    /// `M` queries from `number` of this part on, for `V` registers of a head's dimensions from `from` on.
    #[inline(always)]
    fn mixed<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, head: usize, number: usize, from: usize) {
        let width = self.heads * self.d_head;
        let within = head * self.d_head + from;
        let mut pattern: [&[f32]; M] = [&[]; M];
        for m in 0..M {
            let query = self.first + number + m;
            pattern[m] = &self.pattern[(head * self.queries + query) * self.keys..][..self.keys];
        }
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        for (key, v) in self.v.chunks_exact(width).enumerate() {
            let v = S::as_simd_f32s(&v[within..within + V * S::F32_LANES]).0;
            for m in 0..M {
                let weight = simd.splat_f32s(pattern[m][key]);
                for i in 0..V {
                    sums[m][i] = simd.mul_add_e_f32s(weight, v[i], sums[m][i]);
                }
            }
        }
        for m in 0..M {
            let out = &mut self.out[(number + m) * width + within..][..V * S::F32_LANES];
            S::as_mut_simd_f32s(out).0.copy_from_slice(&sums[m]);
        }
    }

    /// `M` queries of one head.
    #[inline(always)]
    fn head<S: Simd, const M: usize>(&mut self, simd: S, head: usize, number: usize) {
        let mut from = 0;
        while from + 4 * S::F32_LANES <= self.d_head {
            self.mixed::<S, M, 4>(simd, head, number, from);
            from += 4 * S::F32_LANES;
        }
        while from + S::F32_LANES <= self.d_head {
            self.mixed::<S, M, 1>(simd, head, number, from);
            from += S::F32_LANES;
        }
        // what does not fill a register
        let width = self.heads * self.d_head;
        for m in 0..M {
            let query = self.first + number + m;
            let pattern = &self.pattern[(head * self.queries + query) * self.keys..][..self.keys];
            for i in from..self.d_head {
                let v = self.v.iter().skip(head * self.d_head + i).step_by(width);
                self.out[(number + m) * width + head * self.d_head + i] =
                    pattern.iter().zip(v).map(|(p, v)| p * v).sum();
            }
        }
    }
}

impl WithSimd for Mixed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let queries = self.out.len() / (self.heads * self.d_head);
        for head in 0..self.heads {
            if queries == QUERIES {
                self.head::<S, QUERIES>(simd, head, 0);
            } else {
                for number in 0..queries {
                    self.head::<S, 1>(simd, head, number);
                }
            }
        }
    }
}
