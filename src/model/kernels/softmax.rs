//! Softmax, with rows for which it is undefined.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{is_supported, norm::sum, values};

/// Softmax over the last axis. It is undefined for a row that is all -inf or contains NaN or +inf: such a row becomes 0. Also
/// returns the number of these rows. Computed in f32, whatever the type of the scores.
///
/// For a value that is `d` below the largest of its row, the relative error is at most `(8 + d) 2⁻²⁴` if `d < 87`;
/// otherwise the result is 0.
pub(in crate::model) fn softmax(scores: &Tensor) -> Result<(Tensor, usize)> {
    let dtype = scores.dtype();
    let scores = scores.contiguous()?.to_dtype(DType::F32)?;
    if is_supported(&scores) {
        let undefined = AtomicUsize::new(0);
        let pattern = scores.apply_op1_no_bwd(&Softmax { undefined: &undefined })?;
        return Ok((pattern.to_dtype(dtype)?, undefined.into_inner()));
    }
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let pattern = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    let undefined = pattern.ne(&pattern)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of rows")]
    let rows = undefined.to_dtype(DType::F32)?.max(D::Minus1)?.sum_all()?.to_scalar::<f32>()? as usize;
    if rows == 0 {
        return Ok((pattern.to_dtype(dtype)?, 0));
    }
    Ok((undefined.where_cond(&pattern.zeros_like()?, &pattern)?.to_dtype(dtype)?, rows))
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
            if !arch.dispatch(SoftmaxInPlace(x)) {
                self.undefined.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok((CpuStorage::F32(out), at.shape().clone()))
    }
}

/// The softmax of one row, in place. Returns whether it is defined.
pub(super) struct SoftmaxInPlace<'a>(pub &'a mut [f32]);

impl WithSimd for SoftmaxInPlace<'_> {
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
        // NaN if an input is NaN or the largest is infinite
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

/// `e^x` for `x <= 0` or NaN.
///
/// `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, and Taylor's series for `e^r`. Within 1 ulp from -87 to 0; below -87, near the
/// smallest normal number, 0. Free of branches, so that it vectorises.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n is between -126 and 0")]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    // ln 2 in two parts, the first with few bits
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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    /// The largest error over every `step`th number from -87 to 0, in ulps, and where it occurs.
    fn worst(step: usize) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in ((-0.0f32).to_bits()..=(-87.0f32).to_bits()).step_by(step) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).exp();
            let ulp = f64::from(f32::from_bits(exp(x).to_bits() + 1)) - f64::from(exp(x));
            let off = (f64::from(exp(x)) - exact).abs() / ulp;
            if off > worst.0 || off.is_nan() {
                worst = (off, x);
            }
        }
        worst
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "exact")]
    fn the_exponential_is_within_one_ulp() {
        let (error, x) = worst(1009);
        assert!(error <= 1.0, "{error:.2} ulps at {x:e}");
        for x in [-87.1, -100.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
        assert_eq!((exp(0.0), exp(-f32::from_bits(1))), (1.0, 1.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    #[ignore = "a billion numbers"]
    fn the_exponential_of_every_number_is_within_one_ulp() {
        let (error, x) = worst(1);
        println!("{error:.3} ulps at {x:e}");
        assert!(error <= 1.0, "{error:.2} ulps at {x:e}");
    }

    /// The definition in f64; None if undefined.
    fn softmax_of(x: &[f32]) -> Option<Vec<f64>> {
        let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if x.iter().any(|x| x.is_nan()) || most.is_infinite() {
            return None;
        }
        let powers: Vec<f64> = x.iter().map(|x| (f64::from(*x) - f64::from(most)).exp()).collect();
        let total: f64 = powers.iter().sum();
        Some(powers.into_iter().map(|power| power / total).collect())
    }

    /// Typical scores, numbers of any size, and a few infinities and NaN.
    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            40 => -100.0f32..100.0,
            10 => any::<u32>().prop_map(f32::from_bits).prop_map(|x| if x.is_finite() { x } else { 0.0 }),
            5 => Just(f32::NEG_INFINITY),
            1 => prop_oneof![Just(f32::INFINITY), Just(f32::NAN), Just(f32::MAX), Just(f32::MIN)],
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn rows_of_any_numbers(row in proptest::collection::vec(number(), 1..70)) {
            let (found, undefined) = softmax(&Tensor::new(row.clone(), &Device::Cpu).unwrap()).unwrap();
            let found = found.to_vec1::<f32>().unwrap();
            let Some(exact) = softmax_of(&row) else {
                prop_assert!(undefined == 1 && found.iter().all(|x| *x == 0.0), "{found:?}");
                return Ok(());
            };
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for ((x, found), exact) in row.iter().zip(&found).zip(exact) {
                let below = f64::from(most) - f64::from(*x);
                let off = (f64::from(*found) - exact).abs();
                let allowed = if below < 86.9 { exact * (8.0 + below) * 2f64.powi(-24) } else { 2e-38 };
                prop_assert!(off <= allowed, "{x}: {found} for {exact}");
            }
            prop_assert_eq!(undefined, 0);
        }
    }
}
