//! LayerNorm in two steps: the scale, and the normalised values.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{is_supported, row_of, values, with_rows};

/// The fewest rows that a thread does at once.
const PART: usize = 8;

/// `sqrt(variance + eps)` over the last axis, which keeps length 1. As in torch, infinite if a square overflows f32, and
/// NaN if an input is infinite or NaN.
pub(in crate::model) fn scale(x: &Tensor, eps: f64) -> Result<Tensor> {
    if is_supported(x) {
        return x.contiguous()?.apply_op1_no_bwd(&Scale { eps });
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()
}

/// `(x - mean) / scale` over the last axis, for any scale: a scale of 0 gives infinity, or NaN where `x` is the mean; an
/// infinite one gives 0.
pub(in crate::model) fn normalize(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    if is_supported(x) {
        return x.contiguous()?.apply_op2_no_bwd(&scale.contiguous()?, &Normalize);
    }
    let rows = x.dim(0)?.max(scale.dim(0)?);
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    with_rows(&centred, rows)?.broadcast_div(&with_rows(scale, rows)?)
}

struct Scale {
    eps: f64,
}

impl CustomOp1 for Scale {
    fn name(&self) -> &'static str {
        "LayerNorm's scale"
    }

    #[allow(clippy::cast_possible_truncation, reason = "computed in f64, kept in f32")]
    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, at)?;
        let mut shape = at.dims().to_vec();
        let width = shape.pop().unwrap_or(1);
        shape.push(1);
        let arch = Arch::new();
        let scales = x.par_chunks(width).with_min_len(PART).map(|x| {
            let (_, variance) = arch.dispatch(Moments { x });
            (f64::from(variance) + self.eps).sqrt() as f32
        });
        Ok((CpuStorage::F32(scales.collect()), shape.into()))
    }
}

struct Normalize;

impl CustomOp2 for Normalize {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        scale: &CpuStorage,
        scale_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (have_x, have_scale) = (x_at.dims()[0], scale_at.dims()[0]);
        let (x, scale) = (values(x, x_at)?, values(scale, scale_at)?);
        let mut shape = x_at.dims().to_vec();
        let width = shape.last().copied().unwrap_or(1);
        // the number of vectors in a row of the batch
        let each = scale.len() / have_scale.max(1);
        shape[0] = have_x.max(have_scale);
        let mut out = vec![0.0; shape.iter().product()];
        let arch = Arch::new();
        out.par_chunks_mut(width).with_min_len(PART).enumerate().for_each(|(at, out)| {
            let (row, vector) = (at / each, at % each);
            let x = &x[(row_of(row, have_x) * each + vector) * width..][..width];
            let scale = scale[row_of(row, have_scale) * each + vector];
            arch.dispatch(Divide { x, scale, out });
        });
        Ok((CpuStorage::F32(out), shape.into()))
    }
}

/// Mean and variance of a vector.
struct Moments<'a> {
    x: &'a [f32],
}

impl WithSimd for Moments<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a width")]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        let n = self.x.len() as f32;
        let mean = sum(self.x, |x| x) / n;
        (mean, sum(self.x, |x| (x - mean) * (x - mean)) / n)
    }
}

struct Divide<'a> {
    x: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl WithSimd for Divide<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (mean, _) = Moments { x: self.x }.with_simd(simd);
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = (x - mean) / self.scale;
        }
    }
}

/// The lanes of [`sum`].
pub(super) const SUMMED: usize = 32;

/// The sum of `f` over a vector, in several lanes, which is faster and more exact than sequential summation.
#[inline(always)]
pub(super) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; SUMMED];
    let parts = x.chunks_exact(SUMMED);
    let rest = parts.remainder();
    for part in parts {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane += f(*x);
        }
    }
    let mut width = SUMMED;
    while width > 1 {
        width /= 2;
        for at in 0..width {
            lanes[at] += lanes[at + width];
        }
    }
    rest.iter().fold(lanes[0], |sum, x| sum + f(*x))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::{super::same, *};

    /// Results of torch 2.15: input, its scale with eps 1e-5, and the input normalised by that scale, 0, infinity and -0.5.
    #[test]
    fn extreme_inputs_and_scales_give_what_torch_gives() {
        let (inf, nan, root, tiny) = (f32::INFINITY, f32::NAN, 1e-5f32.sqrt(), f32::from_bits(1 << 9));
        let cases = [
            ([inf, 0.0, 0.0, 0.0], nan, [[nan; 4], [nan, -inf, -inf, -inf], [nan; 4], [nan, inf, inf, inf]]),
            ([-inf, 0.0, 0.0, 0.0], nan, [[nan; 4], [nan, inf, inf, inf], [nan; 4], [nan, -inf, -inf, -inf]]),
            ([inf, -inf, 0.0, 0.0], nan, [[nan; 4]; 4]),
            ([nan, 0.0, 0.0, 0.0], nan, [[nan; 4]; 4]),
            ([1e30, 0.0, 0.0, 0.0], inf, [[0.0; 4], [inf, -inf, -inf, -inf], [0.0; 4], [-1.5e30, 5e29, 5e29, 5e29]]),
            ([3e38; 4], inf, [[nan; 4], [-inf; 4], [nan; 4], [inf; 4]]),
            ([0.0; 4], root, [[0.0; 4], [nan; 4], [0.0; 4], [0.0; 4]]),
            (
                [tiny, -tiny, 0.0, 0.0],
                root,
                [
                    [tiny / root, -tiny / root, 0.0, 0.0],
                    [inf, -inf, nan, nan],
                    [0.0; 4],
                    [-2.0 * tiny, 2.0 * tiny, 0.0, 0.0],
                ],
            ),
            ([1e30, 1e30, -1e30, -1e30], inf, [[0.0; 4], [inf, inf, -inf, -inf], [0.0; 4], [-2e30, -2e30, 2e30, 2e30]]),
        ];
        for (x, divisor, by) in cases {
            let x = Tensor::new(&[x], &Device::Cpu).unwrap();
            let found = scale(&x, 1e-5).unwrap();
            assert!(same(found.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0], divisor), "{x:?}: {found:?}");
            for (divisor, expected) in [divisor, 0.0, inf, -0.5].into_iter().zip(by) {
                let divisor = Tensor::new(&[[divisor]], &Device::Cpu).unwrap();
                let found = normalize(&x, &divisor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let near = |(a, b): (&f32, &f32)| same(*a, *b) || (a - b).abs() <= 1e-6 * b.abs();
                assert!(found.iter().zip(&expected).all(near), "{x:?} by {divisor:?}: {found:?} for {expected:?}");
            }
        }
    }
}
