//! Softmax, and what has none.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{here, norm::sum, values};

/// Softmax over the last axis. A row that has none, because all of it is -inf or something is NaN or +inf, becomes 0; returns
/// how many there were.
///
/// With `d` how far a number lies below its row's largest, the error of its share is at most `8 + d` times 2⁻²⁴ of it, as far
/// as `d` is below 87; beyond that the share is 0.
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

/// e to the power of a number that is at most 0, or NaN.
///
/// By powers of two: `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, and Taylor's series for the rest. From -87 to 0 within 1 ulp of
/// the exact value; below, where that nears the smallest normal number, it is 0. No branches, so that it is done many at a time.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "n is between -126 and 0")]
pub(super) fn exp(x: f32) -> f32 {
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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    /// The largest error of every `step`th number from -87 to 0, in ulps of the result.
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
    fn the_exponential_is_within_an_ulp() {
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
    fn the_exponential_of_every_number_is_within_an_ulp() {
        let (error, x) = worst(1);
        println!("{error:.3} ulps at {x:e}");
        assert!(error <= 1.0, "{error:.2} ulps at {x:e}");
    }

    /// The definition, in f64 but for the difference from the largest; None where there is none.
    fn softmax_of(x: &[f32]) -> Option<Vec<f64>> {
        let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if x.iter().any(|x| x.is_nan()) || most.is_infinite() {
            return None;
        }
        let powers: Vec<f64> = x.iter().map(|x| (f64::from(*x) - f64::from(most)).exp()).collect();
        let total: f64 = powers.iter().sum();
        Some(powers.into_iter().map(|power| power / total).collect())
    }

    /// Numbers as scores have them, of every size, and now and then what is none.
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
