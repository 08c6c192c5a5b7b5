//! Products with the transpose of a weight, for gradients.
//!
//! The weight is read in its forward layout, so that it is kept only once: a panel's outputs are multiplied lane by
//! lane, and the lanes of a sum are added after every few panels.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::panels::{Panels, WIDE};

/// Rows that are multiplied at once with 32 registers, and with 16, for this many inputs: their sums fill three
/// quarters of the registers.
const ROWS: usize = 8;
const FEW_ROWS: usize = 4;
const INPUTS: usize = 3;

/// The fewest and the most inputs that a thread does at once, and how many parts each thread should get: more inputs at
/// once read the weight in longer pieces.
const LEAST: usize = 48;
const MOST: usize = 192;
const TURNS: usize = 3;

/// The number of panels of that many inputs that stay in the second-level cache while rows are processed.
const TOGETHER: usize = 24;

impl Panels {
    /// `x` `[rows, out]`; returns `x · weight`, `[rows, in]`. Every input is summed in one order, whatever the number
    /// of rows.
    pub fn multiply_reversed(&self, x: &[f32]) -> Vec<f32> {
        let (out, d_in) = self.dims();
        if d_in == 0 || x.is_empty() || out == 0 {
            return vec![];
        }
        let (arch, width, rows) = (Arch::new(), self.width(), x.len() / out);
        // the last panel is padded with zeros, so `x` is padded too
        let filled = out.next_multiple_of(width);
        let mut wide = vec![];
        let x = if filled == out {
            x
        } else {
            wide.resize(rows * filled, 0.0);
            wide.chunks_mut(filled).zip(x.chunks(out)).for_each(|(wide, x)| wide[..out].copy_from_slice(x));
            &wide
        };
        let mut product = vec![0.0; rows * d_in];
        let share = d_in / (rayon::current_num_threads() * TURNS);
        let part = share.clamp(LEAST, MOST).next_multiple_of(INPUTS);
        let mut parts: Vec<Vec<&mut [f32]>> = (0..d_in.div_ceil(part)).map(|_| Vec::with_capacity(rows)).collect();
        for row in product.chunks_mut(d_in) {
            for (part, inputs) in parts.iter_mut().zip(row.chunks_mut(part)) {
                part.push(inputs);
            }
        }
        parts.into_par_iter().enumerate().for_each(|(number, out)| {
            arch.dispatch(Part { x, stride: filled, w: self.values(), d_in, width, first: number * part, out });
        });
        product
    }
}

/// Some inputs of the product, for all rows.
struct Part<'a> {
    /// `[row][panel][width]`
    x: &'a [f32],
    stride: usize,
    /// `[panel][in][width]`
    w: &'a [f32],
    d_in: usize,
    width: usize,
    /// The first of the inputs.
    first: usize,
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.rows::<S, ROWS>(simd) } else { self.rows::<S, FEW_ROWS>(simd) }
    }
}

impl Part<'_> {
    /// All rows, `R` at a time as long as there are enough.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(mut self, simd: S) {
        let (rows, inputs, panels) = (self.out.len(), self.out[0].len(), self.stride / self.width);
        for begin in (0..panels).step_by(TOGETHER) {
            let panels = begin..(begin + TOGETHER).min(panels);
            let mut row = 0;
            while row < rows {
                let many = rows - row >= R;
                let mut input = 0;
                while input < inputs {
                    let wide = inputs - input >= INPUTS;
                    let at = (row, input);
                    match (many, wide) {
                        (true, true) => self.tile::<S, R, INPUTS>(simd, panels.clone(), at),
                        (true, false) => self.tile::<S, R, 1>(simd, panels.clone(), at),
                        (false, true) => self.tile::<S, 1, INPUTS>(simd, panels.clone(), at),
                        (false, false) => self.tile::<S, 1, 1>(simd, panels.clone(), at),
                    }
                    input += if wide { INPUTS } else { 1 };
                }
                row += if many { R } else { 1 };
            }
        }
    }

    /// Adds the products with some panels to `M` rows of `I` inputs.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const I: usize>(
        &mut self,
        simd: S,
        panels: std::ops::Range<usize>,
        (row, input): (usize, usize),
    ) {
        let &mut Self { d_in, width, stride, first, .. } = self;
        let mut rows: [&[[S::f32s; WIDE]]; M] = [&[]; M];
        for m in 0..M {
            let x = &self.x[(row + m) * stride..][panels.start * width..panels.end * width];
            rows[m] = S::as_simd_f32s(x).0.as_chunks::<WIDE>().0;
        }
        let mut sums = [[simd.splat_f32s(0.0); I]; M];
        let w = self.w[panels.start * d_in * width..panels.end * d_in * width].chunks_exact(d_in * width);
        for (at, w) in w.enumerate() {
            let w = S::as_simd_f32s(&w[(first + input) * width..][..I * width]).0.as_chunks::<WIDE>().0;
            let Ok(w) = <&[[S::f32s; WIDE]; I]>::try_from(w) else { return };
            for m in 0..M {
                let x = rows[m][at];
                for register in 0..WIDE {
                    for i in 0..I {
                        sums[m][i] = simd.mul_add_e_f32s(x[register], w[i][register], sums[m][i]);
                    }
                }
            }
        }
        for m in 0..M {
            for i in 0..I {
                self.out[row + m][input + i] += simd.reduce_sum_f32s(sums[m][i]);
            }
        }
    }
}
