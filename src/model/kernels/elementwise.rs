//! The activation function, and sums of two streams.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{here, row_of, values, with_rows};

/// Values that a thread does at once.
const PART: usize = 16 << 10;

/// The exact form of the Gaussian error linear unit (Hendrycks and Gimpel, 2016), `x Φ(x)`.
pub(in crate::model) fn gelu(x: &Tensor) -> Result<Tensor> {
    if here(x) { x.contiguous()?.apply_op1_no_bwd(&Gelu) } else { x.gelu_erf() }
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, at)?;
        let mut out = vec![0.0; x.len()];
        let arch = Arch::new();
        out.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(out, x)| arch.dispatch(Each { x, out }));
        Ok((CpuStorage::F32(out), at.shape().clone()))
    }
}

struct Each<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Each<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

/// Beyond it the error function is 1 to the last bit of f32.
const ERF_END: f32 = 3.95;

/// `erf(x) / x` as a quotient of polynomials in x², lowest power first: a least-squares fit over [0, 3.95], weighted until its
/// relative error was even, 2e-8 at most.
const ABOVE: [f32; 6] =
    [std::f32::consts::FRAC_2_SQRT_PI, 0.191_549_9, 0.052_875_377, 0.003_808_140_5, 0.000_284_686_77, 2.025_905_1e-6];
const BELOW: [f32; 6] = [1.0, 0.503_089_37, 0.114_559_44, 0.015_055_047, 0.001_170_719_7, 3.783_172e-5];

/// The error function, without branches so that it is done many at a time.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-ERF_END, ERF_END);
    let square = x * x;
    let (mut above, mut below) = (0.0f32, 0.0f32);
    for power in (0..ABOVE.len()).rev() {
        above = above.mul_add(square, ABOVE[power]);
        below = below.mul_add(square, BELOW[power]);
    }
    x * above / below
}

/// The sum of two streams, of which one may lack rows.
pub(in crate::model) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !here(a) {
        let rows = a.dim(0)?.max(b.dim(0)?);
        return with_rows(a, rows)? + with_rows(b, rows)?;
    }
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Add)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, a: &CpuStorage, a_at: &Layout, b: &CpuStorage, b_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (have_a, have_b) = (a_at.dims()[0], b_at.dims()[0]);
        let (a, b) = (values(a, a_at)?, values(b, b_at)?);
        let each = a.len() / have_a.max(1);
        let mut out = vec![0.0; have_a.max(have_b) * each];
        let place = |row: usize, have: usize| row_of(row, have) * each..(row_of(row, have) + 1) * each;
        for (number, out) in out.chunks_mut(each.max(1)).enumerate() {
            let (a, b) = (&a[place(number, have_a)], &b[place(number, have_b)]);
            let parts = out.par_chunks_mut(PART).zip(a.par_chunks(PART)).zip(b.par_chunks(PART));
            parts.for_each(|((out, a), b)| {
                for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                    *out = a + b;
                }
            });
        }
        let shape = if have_a >= have_b { a_at.shape() } else { b_at.shape() };
        Ok((CpuStorage::F32(out), shape.clone()))
    }
}
