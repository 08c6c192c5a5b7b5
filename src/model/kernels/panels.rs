//! Weights in the layout of the product kernel. A panel holds as many outputs as fit two registers, input by input, so a
//! product reads the weight in one stream from beginning to end, and each load serves a group of rows.
//!
//! Every output is summed in the order of the inputs, whatever the number of rows, so results recomputed for some
//! positions only, or in a batch, are bitwise equal.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::LANES;

/// The width of a panel in registers.
pub(super) const WIDE: usize = 2;

/// Rows multiplied at once with 32 registers, and with 16.
pub(super) const GROUP: usize = 8;
const SMALL_GROUP: usize = 6;

/// The number of input values that fit the second-level cache.
const BLOCK: usize = 1 << 17;

/// The most panels that a thread does at once, and the fewest parts per thread.
const PART: usize = 4;
const PARTS_PER_THREAD: usize = 3;

/// A weight `[out, in]` stored as `[panel][in][width]`; zeros fill the last panel.
pub(super) struct Panels {
    values: Vec<f32>,
    out: usize,
    d_in: usize,
    width: usize,
}

impl Panels {
    /// Convert a weight `[out, in]`, in place if its outputs fill all panels.
    pub fn new(mut values: Vec<f32>, d_in: usize) -> Self {
        let (arch, width, out) = (Arch::new(), Fit::of_this_cpu().width, values.len() / d_in);
        let filled = out.next_multiple_of(width) * d_in;
        values.reserve_exact(filled - values.len());
        values.resize(filled, 0.0);
        values.par_chunks_mut(width * d_in).for_each_init(Vec::new, |rows, panel| {
            rows.clear();
            rows.extend_from_slice(panel);
            arch.dispatch(Transpose { rows, stride: d_in, n: width, out: panel, width });
        });
        Self { values, out, d_in, width }
    }

    pub fn dims(&self) -> (usize, usize) {
        (self.out, self.d_in)
    }

    /// Outputs of a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[panel][in][width]`
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The weights of one output: `[in]`.
    pub fn row(&self, at: usize) -> Vec<f32> {
        let panel = &self.values[at / self.width * self.width * self.d_in..];
        panel.iter().skip(at % self.width).step_by(self.width).take(self.d_in).copied().collect()
    }

    /// The weight in its original layout: `[out, in]`.
    pub fn rows(&self) -> Vec<f32> {
        (0..self.out).into_par_iter().flat_map_iter(|at| self.row(at)).collect()
    }

    /// `x · weightᵀ + bias`, with `x` `[rows, in]`; returns `[rows, out]`.
    pub fn multiply(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let &Self { out, d_in, width, .. } = self;
        if d_in == 0 || x.is_empty() || out == 0 {
            return vec![];
        }
        let (arch, rows, group) = (Arch::new(), x.len() / d_in, Fit::of_this_cpu().group);
        let mut transposed = vec![0.0; x.len()];
        transposed.par_chunks_mut(group * d_in).zip(x.par_chunks(group * d_in)).for_each(|(out, rows)| {
            let n = rows.len() / d_in;
            arch.dispatch(Transpose { rows, stride: d_in, n, out, width: n });
        });
        let mut product = vec![0.0; rows * out];
        // each part computes the same columns of every row
        let panels = out.div_ceil(width);
        let part = (panels / (rayon::current_num_threads() * PARTS_PER_THREAD)).clamp(1, PART) * width;
        let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(part)).map(|_| Vec::with_capacity(rows)).collect();
        for row in product.chunks_mut(out) {
            for (part, columns) in parts.iter_mut().zip(row.chunks_mut(part)) {
                part.push(columns);
            }
        }
        let x = &transposed;
        parts.into_par_iter().zip(self.values.par_chunks(part * d_in)).enumerate().for_each(|(number, (out, w))| {
            let bias = bias.map(|bias| &bias[number * part..]);
            arch.dispatch(Part { x, w, bias, out, d_in, width, group });
        });
        product
    }
}

/// The tile size that fits the registers of this processor.
#[derive(Clone, Copy)]
pub(super) struct Fit {
    /// Outputs in a panel.
    pub width: usize,
    /// Rows multiplied at once.
    pub group: usize,
}

impl Fit {
    pub fn of_this_cpu() -> Self {
        struct Ask;
        impl WithSimd for Ask {
            type Output = Fit;

            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> Fit {
                let group = if S::REGISTER_COUNT >= 32 { GROUP } else { SMALL_GROUP };
                Fit { width: WIDE * S::F32_LANES, group }
            }
        }
        Arch::new().dispatch(Ask)
    }
}

/// Columns transposed at once.
const SQUARE: usize = 8;

/// Transposes `n` rows, `stride` values apart, to `[in][width]`. Columns beyond `n` stay unchanged.
pub(super) struct Transpose<'a> {
    pub rows: &'a [f32],
    pub stride: usize,
    pub n: usize,
    pub out: &'a mut [f32],
    pub width: usize,
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match (self.n, self.width) {
            (32, 32) => self.transpose::<32>(),
            (16, 16) => self.transpose::<16>(),
            (8, 8) => self.transpose::<8>(),
            _ => {
                for (at, row) in self.rows.chunks(self.stride).take(self.n).enumerate() {
                    self.out[at..].iter_mut().step_by(self.width).zip(row).for_each(|(out, x)| *out = *x);
                }
            }
        }
    }
}

impl Transpose<'_> {
    /// `N` rows, in squares that are transposed in registers.
    #[inline(always)]
    fn transpose<const N: usize>(self) {
        let mut rows: [&[f32]; N] = [&[]; N];
        let d_in = self.out.len() / N;
        for (at, row) in self.rows.chunks(self.stride).take(N).enumerate() {
            rows[at] = &row[..d_in];
        }
        for (number, out) in self.out.chunks_mut(N * SQUARE).enumerate() {
            let first = number * SQUARE;
            let out = out.as_chunks_mut::<N>().0;
            if let Ok(out) = <&mut [[f32; N]; SQUARE]>::try_from(&mut *out) {
                let mut square = [[0.0; SQUARE]; N];
                for row in 0..N {
                    square[row].copy_from_slice(&rows[row][first..first + SQUARE]);
                }
                for at in 0..SQUARE {
                    for row in 0..N {
                        out[at][row] = square[row][at];
                    }
                }
            } else {
                for (at, out) in out.iter_mut().enumerate() {
                    for row in 0..N {
                        out[row] = rows[row][first + at];
                    }
                }
            }
        }
    }
}

/// `$work` with the constant `$M`, a number of rows from 1 to [`GROUP`].
macro_rules! with_count {
    ($count:expr, $M:ident => $work:expr) => {
        with_count!($count, $M => $work, 1 2 3 4 5 6 7)
    };
    ($count:expr, $M:ident => $work:expr, $($number:literal)*) => {
        match $count {
            $($number => {
                const $M: usize = $number;
                $work;
            })*
            _ => {
                const $M: usize = crate::model::kernels::panels::GROUP;
                $work;
            }
        }
    };
}
pub(super) use with_count;

/// Add the products of `M` rows `[in][M]` with a panel `[in][width]` to `sums`, input by input.
#[inline(always)]
pub(super) fn tile<S: Simd, const M: usize>(simd: S, x: &[f32], w: &[f32], sums: &mut [[S::f32s; WIDE]; M]) {
    let mut kept = *sums;
    for (x, w) in x.as_chunks::<M>().0.iter().zip(S::as_simd_f32s(w).0.as_chunks::<WIDE>().0) {
        for row in 0..M {
            let x = simd.splat_f32s(x[row]);
            for register in 0..WIDE {
                kept[row][register] = simd.mul_add_e_f32s(x, w[register], kept[row][register]);
            }
        }
    }
    *sums = kept;
}

/// Some columns of the product, for all rows.
struct Part<'a> {
    /// `[group][in][row]`
    x: &'a [f32],
    /// Panels: `[panel][in][width]`.
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    out: Vec<&'a mut [f32]>,
    d_in: usize,
    width: usize,
    group: usize,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.out.len();
        let block = (BLOCK / self.d_in).max(1).next_multiple_of(self.group);
        for begin in (0..rows).step_by(block) {
            for panel in 0..self.w.len() / (self.width * self.d_in) {
                for first in (begin..(begin + block).min(rows)).step_by(self.group) {
                    with_count!(self.group.min(rows - first), M => self.rows::<S, M>(simd, panel, first));
                }
            }
        }
    }
}

impl Part<'_> {
    /// The outputs of one panel for `M` rows from `first` on.
    #[inline(always)]
    fn rows<S: Simd, const M: usize>(&mut self, simd: S, panel: usize, first: usize) {
        let &mut Self { d_in, width, .. } = self;
        let (x, w) = (&self.x[first * d_in..][..M * d_in], &self.w[panel * width * d_in..][..width * d_in]);
        let from = panel * width;
        let columns = width.min(self.out[first].len() - from);
        let mut sums = [[simd.splat_f32s(0.0); WIDE]; M];
        if let Some(bias) = self.bias {
            let mut begin = [0.0; WIDE * LANES];
            begin[..columns].copy_from_slice(&bias[from..from + columns]);
            for row in 0..M {
                sums[row].copy_from_slice(&S::as_simd_f32s(&begin).0[..WIDE]);
            }
        }
        tile::<S, M>(simd, x, w, &mut sums);
        for row in 0..M {
            let out = &mut self.out[first + row][from..from + columns];
            if let Ok(out) = <&mut [S::f32s; WIDE]>::try_from(S::as_mut_simd_f32s(out).0) {
                *out = sums[row];
                continue;
            }
            let mut all = [0.0; WIDE * LANES];
            S::as_mut_simd_f32s(&mut all).0[..WIDE].copy_from_slice(&sums[row]);
            out.copy_from_slice(&all[..columns]);
        }
    }
}
