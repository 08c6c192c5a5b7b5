//! The backward passes of LayerNorm, the softmax and the activation functions.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{is_supported, norm::sum, values};

/// The fewest rows that a thread does at once.
const PART: usize = 8;

/// The gradient with respect to LayerNorm's divisor of `(x - mean) / scale`: `-Σ gradient (x - mean) / scale²`.
///
/// # Shapes
/// `x` and `gradient`: `[..., width]`, `scale` and the result: `[..., 1]`.
pub(in crate::model) fn scale_gradient(x: &Tensor, scale: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    if is_supported(x) {
        return x.contiguous()?.apply_op3_no_bwd(&scale.contiguous()?, &gradient.contiguous()?, &ScaleGradient);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    (gradient * centred)?.sum_keepdim(D::Minus1)?.neg()?.div(&scale.sqr()?)
}

/// The gradient with respect to LayerNorm's input: through the numerator, divided by `scale`, and through the divisor
/// that it computed, `own`, whose gradient is `of_own`.
///
/// # Shapes
/// `x`, `gradient` and the result: `[..., width]`, the others: `[..., 1]`.
pub(in crate::model) fn norm_gradient(
    x: &Tensor,
    [scale, own, of_own]: [&Tensor; 3],
    gradient: &Tensor,
) -> Result<Tensor> {
    #[allow(clippy::cast_precision_loss, reason = "a width")]
    let width = x.dim(D::Minus1)? as f64;
    let along = (of_own.div(own)? / width)?;
    if is_supported(x) {
        let factors = Tensor::cat(&[scale, &along], D::Minus1)?.contiguous()?;
        return x.contiguous()?.apply_op3_no_bwd(&factors, &gradient.contiguous()?, &NormGradient);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let whole = (gradient.broadcast_div(scale)? + centred.broadcast_mul(&along)?)?;
    whole.broadcast_sub(&whole.mean_keepdim(D::Minus1)?)
}

/// The gradient with respect to scores, from a pattern and the gradient with respect to it: `pattern (gradient - Σ
/// pattern gradient)`. Where the pattern is 0 the result is 0, whatever the gradient.
///
/// # Shapes
/// All `[..., key]`.
pub(in crate::model) fn softmax_gradient(pattern: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    if is_supported(pattern) {
        return pattern.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &SoftmaxGradient);
    }
    let seen = pattern.ne(&pattern.zeros_like()?)?;
    let along = seen.where_cond(&(pattern * gradient)?, &pattern.zeros_like()?)?;
    &along - pattern.broadcast_mul(&along.sum_keepdim(D::Minus1)?)?
}

struct ScaleGradient;

impl CustomOp3 for ScaleGradient {
    fn name(&self) -> &'static str {
        "gradient of LayerNorm's scale"
    }

    #[allow(clippy::cast_possible_truncation, reason = "summed up in f64, kept in f32")]
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        scale: &CpuStorage,
        scale_at: &Layout,
        gradient: &CpuStorage,
        gradient_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = x_at.dims().last().copied().unwrap_or(1);
        let (x, scale, gradient) = (values(x, x_at)?, values(scale, scale_at)?, values(gradient, gradient_at)?);
        let rows = x.par_chunks(width).zip(gradient.par_chunks(width)).zip(scale).with_min_len(PART);
        let of = rows.map(|((x, gradient), scale)| (-along(x, gradient) / f64::from(*scale).powi(2)) as f32);
        Ok((CpuStorage::F32(of.collect()), scale_at.shape().clone()))
    }
}

/// The sum of the products of a centred vector with another; in f64, since the terms can nearly cancel.
#[allow(clippy::cast_precision_loss, reason = "a width")]
fn along(x: &[f32], gradient: &[f32]) -> f64 {
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    x.iter().zip(gradient).map(|(x, g)| (f64::from(*x) - mean) * f64::from(*g)).sum()
}

struct NormGradient;

impl CustomOp3 for NormGradient {
    fn name(&self) -> &'static str {
        "gradient of LayerNorm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        factors: &CpuStorage,
        factors_at: &Layout,
        gradient: &CpuStorage,
        gradient_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = x_at.dims().last().copied().unwrap_or(1);
        let (x, factors, gradient) = (values(x, x_at)?, values(factors, factors_at)?, values(gradient, gradient_at)?);
        let (arch, mut out) = (Arch::new(), vec![0.0; x.len()]);
        let rows = x.par_chunks(width).zip(gradient.par_chunks(width)).zip(factors.par_chunks(2));
        out.par_chunks_mut(width).zip(rows).with_min_len(PART).for_each(|(out, ((x, gradient), factors))| {
            arch.dispatch(Pulled { x, gradient, scale: factors[0], along: factors[1], out });
        });
        Ok((CpuStorage::F32(out), x_at.shape().clone()))
    }
}

/// One vector of [`norm_gradient`].
struct Pulled<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    scale: f32,
    along: f32,
    out: &'a mut [f32],
}

impl WithSimd for Pulled<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a width")]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, gradient, scale, along, out } = self;
        let n = x.len() as f32;
        let mean = sum(x, |x| x) / n;
        for ((out, x), g) in out.iter_mut().zip(x).zip(gradient) {
            *out = g / scale + (x - mean) * along;
        }
        let mean = sum(out, |x| x) / n;
        for out in out.iter_mut() {
            *out -= mean;
        }
    }
}

struct SoftmaxGradient;

impl CustomOp2 for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "gradient of the softmax"
    }

    fn cpu_fwd(
        &self,
        pattern: &CpuStorage,
        pattern_at: &Layout,
        gradient: &CpuStorage,
        gradient_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = pattern_at.dims().last().copied().unwrap_or(1).max(1);
        let (pattern, gradient) = (values(pattern, pattern_at)?, values(gradient, gradient_at)?);
        let (arch, mut out) = (Arch::new(), vec![0.0; pattern.len()]);
        let rows = pattern.par_chunks(width).zip(gradient.par_chunks(width));
        out.par_chunks_mut(width).zip(rows).with_min_len((4096 / width).max(1)).for_each(
            |(out, (pattern, gradient))| {
                arch.dispatch(Scores { pattern, gradient, out });
            },
        );
        Ok((CpuStorage::F32(out), pattern_at.shape().clone()))
    }
}

/// One query of [`softmax_gradient`].
struct Scores<'a> {
    pattern: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((out, p), g) in self.out.iter_mut().zip(self.pattern).zip(self.gradient) {
            *out = if *p == 0.0 { 0.0 } else { p * g };
        }
        let along = sum(self.out, |x| x);
        for (out, p) in self.out.iter_mut().zip(self.pattern) {
            *out -= p * along;
        }
    }
}
