//! Products of few rows with a matrix whose rows are the outputs: every output is a dot product of two rows that lie in
//! memory as they are, so nothing is packed, and the matrix is read once.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, InplaceOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{here, values};

/// From so many rows on, candle's blocked product is the faster one; measured in `benches/`.
const MANY: usize = 128;

/// Outputs that a thread does at once, at least.
const PART: usize = 48;

/// Bytes of the matrix that stay in the first cache while rows go by.
const PANEL: usize = 16 << 10;

/// Rows of `x` and of the matrix that are multiplied at once; with 16 registers only half of the matrix's.
const TILE: (usize, usize) = (4, 4);

/// Values in the widest register.
const LANES: usize = 16;

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
        Some(bias) if x.dim(0)? >= MANY => {
            let product = x.matmul(&weight.t()?)?;
            product.inplace_op2(&bias.contiguous()?, &AddBias)?;
            product
        }
        None if !here(&x) || x.dim(0)? >= MANY => x.matmul(&weight.t()?)?,
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

/// Adds a bias to every row, where the rows are.
struct AddBias;

impl InplaceOp2 for AddBias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, at: &Layout, bias: &CpuStorage, bias_at: &Layout) -> Result<()> {
        let bias = values(bias, bias_at)?;
        let (CpuStorage::F32(x), Some((start, end))) = (x, at.contiguous_offsets()) else {
            candle_core::bail!("a kernel takes contiguous f32 tensors only");
        };
        x[start..end].par_chunks_mut(bias.len().max(1)).with_min_len(16).for_each(|row| {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value += bias;
            }
        });
        Ok(())
    }
}

/// `x` `[rows, d_in]`, `w` `[out, d_in]`; returns `[rows, out]`.
fn multiply(x: &[f32], w: &[f32], bias: Option<&[f32]>, d_in: usize) -> Vec<f32> {
    if d_in == 0 || x.is_empty() || w.is_empty() {
        return vec![];
    }
    let (rows, out) = (x.len() / d_in, w.len() / d_in);
    let mut product = vec![0.0; rows * out];
    let threads = rayon::current_num_threads();
    let part = out.div_ceil(threads * 4).next_multiple_of(TILE.1).max(PART);
    // the same columns of every row to each part
    let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(part)).map(|_| Vec::with_capacity(rows)).collect();
    for row in product.chunks_mut(out) {
        for (part, columns) in parts.iter_mut().zip(row.chunks_mut(part)) {
            part.push(columns);
        }
    }
    let arch = Arch::new();
    parts.into_par_iter().zip(w.par_chunks(part * d_in)).enumerate().for_each(|(number, (out, w))| {
        let bias = bias.map(|bias| &bias[number * part..(number * part + out[0].len())]);
        arch.dispatch(Part { x, w, bias, d_in, out });
    });
    product
}

/// Some columns of the product.
struct Part<'a> {
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    d_in: usize,
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let d_in = self.d_in;
        let columns = TILE.1 * (PANEL / 4 / d_in / TILE.1).max(1);
        for (number, panel) in self.w.chunks(columns * d_in).enumerate() {
            let first = number * columns;
            let count = panel.len() / d_in;
            for (x, out) in self.x.chunks(TILE.0 * d_in).zip(self.out.chunks_mut(TILE.0)) {
                match out {
                    [a, b, c, d] => {
                        rows::<S, 4>(simd, x, panel, d_in, [a, b, c, d].map(|o| &mut o[first..first + count]));
                    }
                    [a, b, c] => rows::<S, 3>(simd, x, panel, d_in, [a, b, c].map(|o| &mut o[first..first + count])),
                    [a, b] => rows::<S, 2>(simd, x, panel, d_in, [a, b].map(|o| &mut o[first..first + count])),
                    [a] => rows::<S, 1>(simd, x, panel, d_in, [&mut a[first..first + count]]),
                    _ => {}
                }
            }
        }
        if let Some(bias) = self.bias {
            for row in self.out {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
    }
}

/// `M` rows of the product with a panel.
#[inline(always)]
fn rows<S: Simd, const M: usize>(simd: S, x: &[f32], panel: &[f32], d_in: usize, out: [&mut [f32]; M]) {
    let mut each: [&[f32]; M] = [&[]; M];
    for (row, x) in each.iter_mut().zip(x.chunks_exact(d_in)) {
        *row = x;
    }
    let x = each;
    if S::REGISTER_COUNT >= 32 {
        columns::<S, M, { TILE.1 }>(simd, x, panel, d_in, out);
    } else {
        columns::<S, M, { TILE.1 / 2 }>(simd, x, panel, d_in, out);
    }
}

#[inline(always)]
fn columns<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: [&[f32]; M],
    panel: &[f32],
    d_in: usize,
    mut out: [&mut [f32]; M],
) {
    let whole = panel.len() / d_in / N * N;
    for (number, w) in panel[..whole * d_in].chunks_exact(N * d_in).enumerate() {
        let mut each: [&[f32]; N] = [&[]; N];
        for (column, w) in each.iter_mut().zip(w.chunks_exact(d_in)) {
            *column = w;
        }
        let tile = tile::<S, M, N>(simd, x, each);
        for (out, tile) in out.iter_mut().zip(tile) {
            out[number * N..(number + 1) * N].copy_from_slice(&tile);
        }
    }
    for (number, w) in panel[whole * d_in..].chunks_exact(d_in).enumerate() {
        let tile = tile::<S, M, 1>(simd, x, [w]);
        for (out, tile) in out.iter_mut().zip(tile) {
            out[whole + number] = tile[0];
        }
    }
}

/// The dot product of each of `x` with each of `w`, all of one length.
///
/// Plain loops over arrays: closures given to `map` were not compiled for the vector instructions.
#[inline(always)]
pub(super) fn tile<S: Simd, const M: usize, const N: usize>(simd: S, x: [&[f32]; M], w: [&[f32]; N]) -> [[f32; N]; M] {
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
        let mut lanes = [0.0; LANES * TILE.1];
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
