//! Causal attention scores.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    LANES,
    heads::{ByHead, QUERIES, shared},
    is_supported,
    panels::{Fit, Transpose, WIDE, tile, with_count},
    row_of, with_rows,
};

/// About how many scores fit the second-level cache.
const SCORES: usize = 1 << 16;

/// Causal attention scores: `q · k / sqrt(d_head)`, and -inf for keys after their query.
///
/// # Shapes
/// `q`: `[batch, query, head, d_head]`, the last positions; `k`: `[batch, key, head, d_head]`, all positions; returns
/// `[batch, head, query, key]`.
pub(in crate::model) fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    if is_supported(q) {
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

#[allow(clippy::cast_precision_loss, reason = "d_head is small")]
fn root(d_head: usize) -> f64 {
    (d_head as f64).sqrt()
}

/// Queries, and keys in the layout of a weight: `[batch, head, panel, d_head, width]`.
pub(super) struct Pairs<'a> {
    pub q: ByHead<'a>,
    pub rows: usize,
    pub keys: usize,
    panels: Vec<f32>,
    panel_rows: usize,
    fit: Fit,
}

impl<'a> Pairs<'a> {
    pub fn new(q: ByHead<'a>, k: ByHead<'_>) -> Self {
        let (arch, fit) = (Arch::new(), Fit::of_this_cpu());
        let (panel, in_head) = (k.d_head * fit.width, k.n_pos.div_ceil(fit.width));
        let mut panels = vec![0.0; k.rows * k.heads * in_head * panel];
        panels.par_chunks_mut(panel.max(1)).with_min_len(8).enumerate().for_each(|(at, out)| {
            let (row, head, first) = (at / in_head / k.heads, at / in_head % k.heads, at % in_head * fit.width);
            let n = fit.width.min(k.n_pos - first);
            let rows = k.from(row, head, first);
            arch.dispatch(Transpose { rows, stride: k.width(), n, out, width: fit.width });
        });
        Self { q, rows: q.rows.max(k.rows), keys: k.n_pos, panels, panel_rows: k.rows, fit }
    }

    /// The number of keys that a query sees.
    pub fn seen(&self, query: usize) -> usize {
        self.keys - self.q.n_pos + query + 1
    }

    /// How many queries to compute together, so that every thread gets some.
    pub fn together(&self) -> usize {
        let most = (SCORES / self.keys.max(1)).clamp(1, QUERIES);
        shared(self.q.n_pos, most).next_multiple_of(self.fit.group)
    }

    /// The panels of a head that contain the first `seen` keys.
    fn panels(&self, row: usize, head: usize, seen: usize) -> &[f32] {
        let panel = self.q.d_head * self.fit.width;
        let each = self.keys.div_ceil(self.fit.width) * panel;
        let head = row_of(row, self.panel_rows) * self.q.heads + head;
        &self.panels[head * each..][..seen.div_ceil(self.fit.width) * panel]
    }
}

/// The scores of some queries of one head, as `[query, key]` with `width` keys in a row.
pub(super) struct ScoreTile<'a> {
    pub pairs: &'a Pairs<'a>,
    pub row: usize,
    pub head: usize,
    pub first: usize,
    /// The queries, transposed: `[group][d_head][query]`.
    pub transposed: &'a mut Vec<f32>,
    pub out: &'a mut [f32],
    pub width: usize,
}

impl WithSimd for ScoreTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pairs, row, head, first, transposed, out, width } = self;
        let Pairs { q, fit, .. } = pairs;
        let (count, d_head) = (out.len() / width, q.d_head);
        transposed.resize(count * d_head, 0.0);
        for (number, out) in transposed.chunks_mut(fit.group * d_head).enumerate() {
            let rows = q.from(row, head, first + number * fit.group);
            let n = out.len() / d_head;
            Transpose { rows, stride: q.width(), n, out, width: n }.with_simd(simd);
        }
        let panels = pairs.panels(row, head, pairs.seen(first + count - 1));
        for (number, w) in panels.chunks_exact(d_head * fit.width).enumerate() {
            let from = number * fit.width;
            for at in (0..count).step_by(fit.group) {
                let (x, out) = (&transposed[at * d_head..], &mut out[at * width + from..]);
                let columns = fit.width.min(width - from);
                with_count!(fit.group.min(count - at), M => score_panel::<S, M>(simd, x, w, d_head, out, columns, width));
            }
        }
        for (number, out) in out.chunks_exact_mut(width).enumerate() {
            out[pairs.seen(first + number)..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The scores of `M` queries and a panel of keys.
#[inline(always)]
fn score_panel<S: Simd, const M: usize>(
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
            out.par_chunks_mut(together * keys).enumerate().for_each_init(Vec::new, |transposed, (number, out)| {
                arch.dispatch(ScoreTile { pairs, row, head, first: number * together, transposed, out, width: keys });
            });
        });
        Ok((CpuStorage::F32(out), (pairs.rows, heads, queries, keys).into()))
    }
}
