//! Products with a weight matrix. Rows of the input lie side by side in the lanes of a register, turned once for all outputs;
//! the matrix is read as it is, number by number, and once for a block of rows.
//!
//! Every output is summed up in the order of the inputs, whatever the number of rows: so what is computed again for some
//! positions alone, or in a batch, is equal to the bit.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, here, values};

/// Registers of sums that are kept at once, where there are 32 registers; half as many where there are 16, or where one
/// holds all rows: then reading the matrix is what takes time, and more of its rows at once are read more slowly.
const SUMS: usize = 16;

/// Registers of rows side by side; one where one holds all rows.
const WIDE: usize = 2;

/// Rows that stay in the second cache while outputs go by.
const BLOCK: usize = 256;

/// Inputs that are turned at once.
const TURNED: usize = 16;

/// Outputs that a thread does at once, at least.
const PART: usize = 48;

/// `x · weightᵀ + bias`.
///
/// # Shapes
/// `x`: `[..., in]`, `weight`: `[out, in]`, `bias`: `[out]`; returns `[..., out]`.
pub(in crate::model) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, d_in) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let x = x.contiguous()?.reshape(((), d_in))?;
    let product = match bias {
        Some(bias) if !here(&x) => x.matmul(&weight.t()?)?.broadcast_add(bias)?,
        None if !here(&x) => x.matmul(&weight.t()?)?,
        Some(bias) => x.apply_op3_no_bwd(&weight.contiguous()?, &bias.contiguous()?, &Linear)?,
        None => x.apply_op2_no_bwd(&weight.contiguous()?, &Linear)?,
    };
    product.reshape(shape)
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout, w: &CpuStorage, w_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, d_in) = x_at.shape().dims2()?;
        let out = w_at.shape().dims2()?.0;
        let product = multiply(values(x, x_at)?, values(w, w_at)?, None, d_in);
        Ok((CpuStorage::F32(product), (rows, out).into()))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        w: &CpuStorage,
        w_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, d_in) = x_at.shape().dims2()?;
        let out = w_at.shape().dims2()?.0;
        let product = multiply(values(x, x_at)?, values(w, w_at)?, Some(values(bias, bias_at)?), d_in);
        Ok((CpuStorage::F32(product), (rows, out).into()))
    }
}

/// `x` `[rows, d_in]`, `w` `[out, d_in]`; returns `[rows, out]`.
fn multiply(x: &[f32], w: &[f32], bias: Option<&[f32]>, d_in: usize) -> Vec<f32> {
    if d_in == 0 || x.is_empty() || w.is_empty() {
        return vec![];
    }
    let (rows, out) = (x.len() / d_in, w.len() / d_in);
    let mut product = vec![0.0; rows * out];
    let part = out.div_ceil(rayon::current_num_threads() * 4).next_multiple_of(SUMS).max(PART);
    // the same columns of every row to each part
    let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(part)).map(|_| Vec::with_capacity(rows)).collect();
    for row in product.chunks_mut(out) {
        for (part, columns) in parts.iter_mut().zip(row.chunks_mut(part)) {
            part.push(columns);
        }
    }
    let arch = Arch::new();
    let x = &Turned::new(x, d_in);
    parts.into_par_iter().zip(w.par_chunks(part * d_in)).enumerate().for_each(|(number, (out, w))| {
        let bias = bias.map(|bias| &bias[number * part..(number * part + out[0].len())]);
        arch.dispatch(Columns { x, w, bias, out });
    });
    product
}

/// Rows turned, so that at each input those of a group lie beside each other: `[group][d_in][row]`.
struct Turned {
    values: Vec<f32>,
    /// Rows in a group.
    width: usize,
    rows: usize,
    d_in: usize,
}

impl Turned {
    fn new(x: &[f32], d_in: usize) -> Self {
        let rows = x.len() / d_in;
        let lanes = Arch::new().dispatch(Lanes);
        let width = if rows <= lanes { lanes } else { WIDE * lanes };
        let mut values = vec![0.0; rows.next_multiple_of(width) * d_in];
        values.par_chunks_mut(width * d_in).zip(x.par_chunks(width * d_in)).for_each(|(values, x)| {
            for first in (0..d_in).step_by(TURNED) {
                let last = (first + TURNED).min(d_in);
                for (row, x) in x.chunks_exact(d_in).enumerate() {
                    for at in first..last {
                        values[at * width + row] = x[at];
                    }
                }
            }
        });
        Self { values, width, rows, d_in }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Some columns of the product, of all rows.
struct Columns<'a> {
    x: &'a Turned,
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.x.width == S::F32_LANES {
            self.multiply::<S, 1, { SUMS / 2 }>(simd);
        } else if S::REGISTER_COUNT >= 32 {
            self.multiply::<S, WIDE, { SUMS / WIDE }>(simd);
        } else {
            self.multiply::<S, WIDE, { SUMS / WIDE / 2 }>(simd);
        }
    }
}

impl Columns<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const N: usize>(mut self, simd: S) {
        let Turned { width, rows, d_in, .. } = *self.x;
        let outputs = self.w.len() / d_in;
        let groups = rows.div_ceil(width);
        let together = (BLOCK / width).max(1);
        for block in (0..groups).step_by(together) {
            for first in (0..outputs).step_by(N) {
                let count = N.min(outputs - first);
                for group in block..(block + together).min(groups) {
                    if count == N {
                        self.tile::<S, R, N>(simd, group, first);
                    } else {
                        for column in first..first + count {
                            self.tile::<S, R, 1>(simd, group, column);
                        }
                    }
                }
            }
        }
    }

    /// `N` outputs of a group of rows, `R` registers of them.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const N: usize>(&mut self, simd: S, group: usize, first: usize) {
        let Turned { width, rows, d_in, ref values } = *self.x;
        let x = S::as_simd_f32s(&values[group * width * d_in..(group + 1) * width * d_in]).0;
        let mut w: [&[f32]; N] = [&[]; N];
        let mut sums = [[simd.splat_f32s(0.0); R]; N];
        for column in 0..N {
            w[column] = &self.w[(first + column) * d_in..][..d_in];
            if let Some(bias) = self.bias {
                sums[column] = [simd.splat_f32s(bias[first + column]); R];
            }
        }
        for (at, x) in x.chunks_exact(R).take(d_in).enumerate() {
            for column in 0..N {
                let weight = simd.splat_f32s(w[column][at]);
                for register in 0..R {
                    sums[column][register] = simd.mul_add_e_f32s(x[register], weight, sums[column][register]);
                }
            }
        }
        // by way of memory of its own: registers whose address is taken are kept in memory all along
        let mut turned = [[0.0; WIDE * LANES]; N];
        for column in 0..N {
            S::as_mut_simd_f32s(&mut turned[column]).0[..R].copy_from_slice(&sums[column]);
        }
        for row in group * width..((group + 1) * width).min(rows) {
            let out = &mut self.out[row][first..first + N];
            for column in 0..N {
                out[column] = turned[column][row - group * width];
            }
        }
    }
}
