//! Attention on activations as they lie: `[batch, pos, head, d_head]`.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    LANES, here,
    norm::SUMMED,
    panels::{Fit, GROUP, Turn, WIDE, tile},
    row_of,
    softmax::{Exponents, softmax},
    values, with_rows,
};

/// Scores of a head that stay in the second cache, about.
const SCORES: usize = 1 << 16;

/// Queries that the keys go by together, at most.
const QUERIES: usize = 64;

/// Keys whose values stay in the first cache.
const KEYS: usize = 96;

/// Queries that are mixed at once.
const MIXED: usize = 4;

/// Causal attention scores: `q · k / sqrt(d_head)`, and -inf for keys after their query.
///
/// # Shapes
/// `q`: `[batch, query, head, d_head]`, of the last positions; `k`: `[batch, key, head, d_head]`, of all; returns
/// `[batch, head, query, key]`.
pub(in crate::model) fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    if here(q) {
        return q.contiguous()?.apply_op2_no_bwd(&k.contiguous()?, &Scores);
    }
    let (queries, keys, rows) = (q.dim(1)?, k.dim(1)?, q.dim(0)?.max(k.dim(0)?));
    let by_head = |x: &Tensor| with_rows(x, rows)?.transpose(1, 2)?.contiguous();
    let scores = (by_head(q)?.matmul(&by_head(k)?.transpose(2, 3)?)? / root(q.dim(3)?))?;
    let future = (0..queries).flat_map(|query| (0..keys).map(move |key| u8::from(key > query + keys - queries)));
    let future = Tensor::from_iter(future, q.device())?.reshape((queries, keys))?.broadcast_as(scores.shape())?;
    let masked = Tensor::new(f32::NEG_INFINITY, q.device())?.to_dtype(q.dtype())?.broadcast_as(scores.shape())?;
    future.where_cond(&masked, &scores)
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

/// [`scores`], [`softmax`] and [`mix`] in one, equal but for the sign of a zero, where nobody wants to see what lies between: some queries
/// at a time, and the keys that they see. Returns also how many queries had no softmax.
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

#[allow(clippy::cast_precision_loss, reason = "d_head is small")]
fn root(d_head: usize) -> f64 {
    (d_head as f64).sqrt()
}

fn is_finite(x: &Tensor) -> Result<bool> {
    match (&*x.storage_and_layout().0, x.layout()) {
        (Storage::Cpu(storage), layout) => {
            let finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
            Ok(values(storage, layout)?.par_chunks(1 << 16).all(finite))
        }
        _ => candle_core::bail!("not on the CPU"),
    }
}

/// An activation `[batch, pos, head, d_head]`, in which rows may be missing.
#[derive(Clone, Copy)]
struct ByHead<'a> {
    values: &'a [f32],
    rows: usize,
    n_pos: usize,
    heads: usize,
    d_head: usize,
}

impl<'a> ByHead<'a> {
    fn new(storage: &'a CpuStorage, at: &Layout) -> Result<Self> {
        let (rows, n_pos, heads, d_head) = at.shape().dims4()?;
        Ok(Self { values: values(storage, at)?, rows, n_pos, heads, d_head })
    }

    /// Numbers at a position.
    fn width(self) -> usize {
        self.heads * self.d_head
    }

    /// `[pos, head, d_head]`
    fn row(self, row: usize) -> &'a [f32] {
        let each = self.n_pos * self.width();
        &self.values[row_of(row, self.rows) * each..][..each]
    }

    /// One head from a position on; its next position is [`Self::width`] numbers further.
    fn from(self, row: usize, head: usize, pos: usize) -> &'a [f32] {
        &self.row(row)[pos * self.width() + head * self.d_head..]
    }
}

/// Queries and keys, the latter as products read a weight: `[batch, head, panel, d_head, width]`.
struct Pairs<'a> {
    q: ByHead<'a>,
    rows: usize,
    keys: usize,
    panels: Vec<f32>,
    panel_rows: usize,
    fit: Fit,
}

impl<'a> Pairs<'a> {
    fn new(q: ByHead<'a>, k: ByHead<'_>) -> Self {
        let (arch, fit) = (Arch::new(), Fit::here());
        let (panel, in_head) = (k.d_head * fit.width, k.n_pos.div_ceil(fit.width));
        let mut panels = vec![0.0; k.rows * k.heads * in_head * panel];
        panels.par_chunks_mut(panel.max(1)).with_min_len(8).enumerate().for_each(|(at, out)| {
            let (row, head, first) = (at / in_head / k.heads, at / in_head % k.heads, at % in_head * fit.width);
            let n = fit.width.min(k.n_pos - first);
            let rows = k.from(row, head, first);
            arch.dispatch(Turn { rows, stride: k.width(), n, out, width: fit.width });
        });
        Self { q, rows: q.rows.max(k.rows), keys: k.n_pos, panels, panel_rows: k.rows, fit }
    }

    /// Keys that a query sees.
    fn seen(&self, query: usize) -> usize {
        self.keys - self.q.n_pos + query + 1
    }

    /// Queries that are done together, as far as there are enough of them for all threads.
    fn together(&self) -> usize {
        let most = (SCORES / self.keys.max(1)).clamp(1, QUERIES);
        shared(self.q.n_pos, most).next_multiple_of(self.fit.group)
    }

    /// A head's panels that hold the first `seen` keys.
    fn panels(&self, row: usize, head: usize, seen: usize) -> &[f32] {
        let panel = self.q.d_head * self.fit.width;
        let each = self.keys.div_ceil(self.fit.width) * panel;
        let head = row_of(row, self.panel_rows) * self.q.heads + head;
        &self.panels[head * each..][..seen.div_ceil(self.fit.width) * panel]
    }
}

/// The scores of some queries of one head, in rows of `width` keys.
struct Scored<'a> {
    pairs: &'a Pairs<'a>,
    row: usize,
    head: usize,
    first: usize,
    /// The queries, turned: `[group][d_head][query]`.
    turned: &'a mut Vec<f32>,
    out: &'a mut [f32],
    width: usize,
}

impl WithSimd for Scored<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pairs, row, head, first, turned, out, width } = self;
        let Pairs { q, fit, .. } = pairs;
        let (count, d_head) = (out.len() / width, q.d_head);
        turned.resize(count * d_head, 0.0);
        for (number, out) in turned.chunks_mut(fit.group * d_head).enumerate() {
            let rows = q.from(row, head, first + number * fit.group);
            let n = out.len() / d_head;
            Turn { rows, stride: q.width(), n, out, width: n }.with_simd(simd);
        }
        let panels = pairs.panels(row, head, pairs.seen(first + count - 1));
        for (number, w) in panels.chunks_exact(d_head * fit.width).enumerate() {
            let from = number * fit.width;
            for at in (0..count).step_by(fit.group) {
                let (x, out) = (&turned[at * d_head..], &mut out[at * width + from..]);
                let columns = fit.width.min(width - from);
                match fit.group.min(count - at) {
                    1 => scored::<S, 1>(simd, x, w, d_head, out, columns, width),
                    2 => scored::<S, 2>(simd, x, w, d_head, out, columns, width),
                    3 => scored::<S, 3>(simd, x, w, d_head, out, columns, width),
                    4 => scored::<S, 4>(simd, x, w, d_head, out, columns, width),
                    5 => scored::<S, 5>(simd, x, w, d_head, out, columns, width),
                    6 => scored::<S, 6>(simd, x, w, d_head, out, columns, width),
                    7 => scored::<S, 7>(simd, x, w, d_head, out, columns, width),
                    _ => scored::<S, GROUP>(simd, x, w, d_head, out, columns, width),
                }
            }
        }
        for (number, out) in out.chunks_exact_mut(width).enumerate() {
            out[pairs.seen(first + number)..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The scores of `M` queries and a panel of keys.
#[inline(always)]
fn scored<S: Simd, const M: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    d_head: usize,
    out: &mut [f32],
    columns: usize,
    width: usize,
) {
    #[allow(clippy::cast_possible_truncation, reason = "the kernel computes in f32")]
    let factor = simd.splat_f32s((1.0 / root(d_head)) as f32);
    let mut sums = [[simd.splat_f32s(0.0); WIDE]; M];
    tile::<S, M>(simd, &x[..M * d_head], w, &mut sums);
    for row in 0..M {
        let mut all = [0.0; WIDE * LANES];
        for register in 0..WIDE {
            S::as_mut_simd_f32s(&mut all).0[register] = simd.mul_f32s(sums[row][register], factor);
        }
        out[row * width..][..columns].copy_from_slice(&all[..columns]);
    }
}

struct Scores;

impl CustomOp2 for Scores {
    fn name(&self) -> &'static str {
        "attention scores"
    }

    fn cpu_fwd(&self, q: &CpuStorage, q_at: &Layout, k: &CpuStorage, k_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let pairs = &Pairs::new(ByHead::new(q, q_at)?, ByHead::new(k, k_at)?);
        let (queries, heads, keys) = (pairs.q.n_pos, pairs.q.heads, pairs.keys);
        let mut out = vec![0.0; pairs.rows * heads * queries * keys];
        let (arch, together) = (Arch::new(), pairs.together());
        let matrices = out.par_chunks_mut((queries * keys).max(1)).enumerate();
        matrices.for_each(|(at, out)| {
            let (row, head) = (at / heads, at % heads);
            out.par_chunks_mut(together * keys).enumerate().for_each_init(Vec::new, |turned, (number, out)| {
                arch.dispatch(Scored { pairs, row, head, first: number * together, turned, out, width: keys });
            });
        });
        Ok((CpuStorage::F32(out), (pairs.rows, heads, queries, keys).into()))
    }
}

/// Patterns of one head and the values of one row: adds each query's mix of the values of some keys to what is there.
struct Mixed<'a> {
    /// Rows of `width` keys.
    pattern: &'a [f32],
    width: usize,
    v: ByHead<'a>,
    row: usize,
    head: usize,
    /// `[query, head, d_head]`
    out: &'a mut [f32],
    /// How many keys each query is mixed of, beginning with the first one's; those that come after are not looked at.
    seen: usize,
    more: usize,
}

impl WithSimd for Mixed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let queries = self.pattern.len() / self.width;
        let seen = |query: usize, all: &Self| (all.seen + query * all.more).min(all.width);
        let all = seen(queries - 1, &self);
        for from in (0..all).step_by(KEYS) {
            let mut query = 0;
            while query < queries {
                let many = query + MIXED <= queries;
                let next = if many { query + MIXED } else { query + 1 };
                let to = (from + KEYS).min(seen(next - 1, &self));
                if from < to {
                    match many {
                        true => self.queries::<S, MIXED>(simd, query, from, to),
                        false => self.queries::<S, 1>(simd, query, from, to),
                    }
                }
                query = next;
            }
        }
    }
}

impl Mixed<'_> {
    /// `M` queries.
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
        // what does not fill a register
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

    /// `V` registers of `M` queries, from dimension `at` on.
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
                    arch.dispatch(Mixed { pattern, width: keys, v, row, head, out, seen: keys, more: 0 });
                }
            },
        );
        Ok((CpuStorage::F32(out), (rows, queries, heads, v.d_head).into()))
    }
}

/// Of `n`, so many at once that every thread gets some, and at most `most`.
fn shared(n: usize, most: usize) -> usize {
    n.div_ceil(rayon::current_num_threads()).clamp(1, most)
}

/// `[row, query, ...]` in parts of at most `together` queries of a row, with the numbers of row and first query.
fn by_queries(out: &mut [f32], queries: usize, width: usize, together: usize) -> Vec<(usize, usize, &mut [f32])> {
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
        let rows = pairs.rows.max(v.rows);
        let mut out = vec![0.0; rows * q.n_pos * v.width()];
        let parts = by_queries(&mut out, q.n_pos, v.width(), pairs.together());
        parts.into_par_iter().for_each_init(<(Vec<f32>, Vec<f32>)>::default, |(turned, scores), (row, first, out)| {
            let undefined = arch.dispatch(Attended { pairs, v, row, first, turned, scores, out });
            if undefined > 0 {
                self.undefined.fetch_add(undefined, Ordering::Relaxed);
            }
        });
        Ok((CpuStorage::F32(out), (rows, q.n_pos, q.heads, v.d_head).into()))
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
