//! Softmax, and what has none.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{here, norm::sum, values};

/// Softmax over the last axis. A row that has none, because all of it is -inf or something is NaN, becomes 0; returns how
/// many there were.
pub(in crate::model) fn softmax(scores: &Tensor) -> Result<(Tensor, usize)> {
    if here(scores) {
        let undefined = AtomicUsize::new(0);
        let pattern = scores.contiguous()?.apply_op1_no_bwd(&Softmax { undefined: &undefined })?;
        return Ok((pattern, undefined.into_inner()));
    }
    let pattern = candle_nn::ops::softmax_last_dim(&scores.contiguous()?)?;
    let undefined = pattern.ne(&pattern)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of rows")]
    let rows = undefined.to_dtype(DType::F32)?.max(D::Minus1)?.sum_all()?.to_scalar::<f32>()? as usize;
    if rows == 0 {
        return Ok((pattern, 0));
    }
    Ok((undefined.where_cond(&pattern.zeros_like()?, &pattern)?, rows))
}

struct Softmax<'a> {
    undefined: &'a AtomicUsize,
}

impl CustomOp1 for Softmax<'_> {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, at)?;
        let width = at.dims().last().copied().unwrap_or(1).max(1);
        let mut out = x.to_vec();
        let arch = Arch::new();
        let few = (4096 / width).max(1);
        out.par_chunks_mut(width).with_min_len(few).for_each(|x| {
            if !arch.dispatch(Exponents(x)) {
                self.undefined.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok((CpuStorage::F32(out), at.shape().clone()))
    }
}

/// The softmax of one vector in its place; whether it has one.
pub(super) struct Exponents<'a>(pub &'a mut [f32]);

impl WithSimd for Exponents<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let parts = self.0.chunks_exact(16);
        let rest = parts.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for part in parts {
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane = lane.max(*x);
            }
        }
        let most = lanes.into_iter().fold(rest, f32::max);
        for x in self.0.iter_mut() {
            *x = exp(*x - most);
        }
        let total = sum(self.0, |x| x);
        // NaN where something was, or where the largest is infinite
        if !(total > 0.0 && total < f32::INFINITY) {
            self.0.fill(0.0);
            return false;
        }
        for x in self.0.iter_mut() {
            *x /= total;
        }
        true
    }
}

/// e to the power of a number that is at most 0, or NaN; below the smallest normal number it is 0.
///
/// By powers of two: `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, and Taylor's series for the rest. No branches, so that it is done
/// many at a time.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n is between -126 and 0")]
fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    // ln 2 in two parts, the first exact in few bits
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let bound = x.max(LOWEST);
    let n = (bound * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-LN_2.1, n.mul_add(-LN_2.0, bound));
    let series = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0f32];
    let mut power = 0.0f32;
    for c in series {
        power = power.mul_add(r, c);
    }
    let two = f32::from_bits(((n as i32 + 127) as u32) << 23);
    match x {
        x if x.is_nan() => x,
        x if x < LOWEST => 0.0,
        _ => power * two,
    }
}
