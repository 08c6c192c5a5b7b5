//! A weight as products read it. Its outputs lie side by side in panels as wide as two registers, and a panel holds the
//! numbers of one input after those of the one before: a product reads the weight in one stream from beginning to end, and
//! what is read serves a group of rows at once.
//!
//! Every output is summed up in the order of the inputs, whatever the number of rows: so what is computed again for some
//! positions alone, or in a batch, is equal to the bit.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::LANES;

/// Registers that a panel is wide.
pub(super) const WIDE: usize = 2;

/// Rows that are multiplied at once, where there are 32 registers and where there are 16.
pub(super) const GROUP: usize = 8;
const SMALL_GROUP: usize = 6;

/// Numbers of the input that stay in the second cache while panels go by.
const BLOCK: usize = 1 << 17;

/// Panels that a thread does at once, at most, and how many times each thread is to have something to do.
const PART: usize = 4;
const TURNS: usize = 3;

/// A weight `[out, in]`, as `[panel][in][width]`; the last panel is filled up with zeros.
pub(super) struct Panels {
    values: Vec<f32>,
    out: usize,
    d_in: usize,
    width: usize,
}

impl Panels {
    /// Of a weight `[out, in]`, in the memory where it lies if its outputs fill all panels.
    pub fn new(mut values: Vec<f32>, d_in: usize) -> Self {
        let (arch, width, out) = (Arch::new(), Fit::here().width, values.len() / d_in);
        let filled = out.next_multiple_of(width) * d_in;
        values.reserve_exact(filled - values.len());
        values.resize(filled, 0.0);
        values.par_chunks_mut(width * d_in).for_each_init(Vec::new, |rows, panel| {
            rows.clear();
            rows.extend_from_slice(panel);
            arch.dispatch(Turn { rows, stride: d_in, n: width, out: panel, width });
        });
        Self { values, out, d_in, width }
    }

    pub fn dims(&self) -> (usize, usize) {
        (self.out, self.d_in)
    }

    /// What one output reads: `[in]`.
    pub fn row(&self, at: usize) -> Vec<f32> {
        let panel = &self.values[at / self.width * self.width * self.d_in..];
        panel.iter().skip(at % self.width).step_by(self.width).take(self.d_in).copied().collect()
    }

    /// The weight as it was: `[out, in]`.
    pub fn rows(&self) -> Vec<f32> {
        (0..self.out).into_par_iter().flat_map_iter(|at| self.row(at)).collect()
    }

    /// `x` `[rows, in]`; returns `[rows, out]`.
    pub fn multiply(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let &Self { out, d_in, width, .. } = self;
        if d_in == 0 || x.is_empty() || out == 0 {
            return vec![];
        }
        let (arch, rows, group) = (Arch::new(), x.len() / d_in, Fit::here().group);
        let mut turned = vec![0.0; x.len()];
        turned.par_chunks_mut(group * d_in).zip(x.par_chunks(group * d_in)).for_each(|(out, rows)| {
            let n = rows.len() / d_in;
            arch.dispatch(Turn { rows, stride: d_in, n, out, width: n });
        });
        let mut product = vec![0.0; rows * out];
        // the same columns of every row to each part
        let panels = out.div_ceil(width);
        let part = (panels / (rayon::current_num_threads() * TURNS)).clamp(1, PART) * width;
        let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(part)).map(|_| Vec::with_capacity(rows)).collect();
        for row in product.chunks_mut(out) {
            for (part, columns) in parts.iter_mut().zip(row.chunks_mut(part)) {
                part.push(columns);
            }
        }
        let x = &turned;
        parts.into_par_iter().zip(self.values.par_chunks(part * d_in)).enumerate().for_each(|(number, (out, w))| {
            let bias = bias.map(|bias| &bias[number * part..]);
            arch.dispatch(Part { x, w, bias, out, d_in, width, group });
        });
        product
    }
}

/// What fits the registers of this processor.
#[derive(Clone, Copy)]
pub(super) struct Fit {
    /// Outputs in a panel.
    pub width: usize,
    /// Rows that are multiplied at once.
    pub group: usize,
}

impl Fit {
    pub fn here() -> Self {
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

/// Columns read at once.
const TURNED: usize = 8;

/// `n` rows, each `stride` numbers after the one before, turned to `[in][width]`; what is wider than `n` is left alone.
pub(super) struct Turn<'a> {
    pub rows: &'a [f32],
    pub stride: usize,
    pub n: usize,
    pub out: &'a mut [f32],
    pub width: usize,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match (self.n, self.width) {
            (32, 32) => self.turn::<32>(),
            (16, 16) => self.turn::<16>(),
            (8, 8) => self.turn::<8>(),
            _ => {
                for (at, row) in self.rows.chunks(self.stride).take(self.n).enumerate() {
                    self.out[at..].iter_mut().step_by(self.width).zip(row).for_each(|(out, x)| *out = *x);
                }
            }
        }
    }
}

impl Turn<'_> {
    /// `N` rows: small squares of numbers, turned in registers.
    #[inline(always)]
    fn turn<const N: usize>(self) {
        let mut rows: [&[f32]; N] = [&[]; N];
        let d_in = self.out.len() / N;
        for (at, row) in self.rows.chunks(self.stride).take(N).enumerate() {
            rows[at] = &row[..d_in];
        }
        for (number, out) in self.out.chunks_mut(N * TURNED).enumerate() {
            let first = number * TURNED;
            let out = out.as_chunks_mut::<N>().0;
            if let Ok(out) = <&mut [[f32; N]; TURNED]>::try_from(&mut *out) {
                let mut square = [[0.0; TURNED]; N];
                for row in 0..N {
                    square[row].copy_from_slice(&rows[row][first..first + TURNED]);
                }
                for at in 0..TURNED {
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

/// Adds the products of `M` rows `[in][M]` with a panel `[in][width]`, input by input.
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

/// Some columns of the product, of all rows.
struct Part<'a> {
    /// `[group][in][row]`
    x: &'a [f32],
    /// Panels.
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
    /// A panel's outputs of `M` rows, from row `first` on.
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
