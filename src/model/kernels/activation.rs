//! Elementwise activation functions.
//!
//! With `u = 2⁻²⁴ |x|` (half an ulp to one ulp of `x`) and the smallest subnormal `s = 2⁻¹⁴⁹`, every function is within
//! `4u + s` of its exact formula for every finite `x`. For other inputs it gives what the formula gives in f32, as torch does:
//! NaN for NaN, infinity at infinity, and NaN at -infinity (infinity times 0), except 0 for [`relu`]. None branches, so that
//! all vectorise.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{is_supported, softmax::exp, sums::PART, values};

/// The exact form of the Gaussian error linear unit (Hendrycks and Gimpel, 2016), `x Φ(x)`. It is -0 for `x <= -5.59`, as
/// in torch.
pub(in crate::model) fn gelu(x: &Tensor) -> Result<Tensor> {
    if is_supported(x) { each(x, "gelu", exact_gelu) } else { x.gelu_erf() }
}

/// Its approximation by a hyperbolic tangent (ibid., section 2), `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
pub(in crate::model) fn tanh_gelu(x: &Tensor) -> Result<Tensor> {
    if is_supported(x) { each(x, "gelu by tanh", gelu_by_tanh) } else { wide(x, Tensor::gelu) }
}

/// The sigmoid linear unit, `x / (1 + exp(-x))`.
pub(in crate::model) fn silu(x: &Tensor) -> Result<Tensor> {
    if is_supported(x) { each(x, "silu", x_logistic) } else { wide(x, Tensor::silu) }
}

/// `max(x, 0)`.
pub(in crate::model) fn relu(x: &Tensor) -> Result<Tensor> {
    if is_supported(x) {
        return each(x, "relu", rectified);
    }
    let zero = x.zeros_like()?;
    x.lt(&zero)?.where_cond(&zero, x)
}

/// The slope of [`gelu`], `Φ(x) + x φ(x)`.
pub(in crate::model) fn gelu_slope(x: &Tensor) -> Result<Tensor> {
    if is_supported(x) {
        return each(x, "slope of gelu", |x| {
            let density = FRAC_1_SQRT_TAU * exp(-0.5 * x * x);
            // for large negative x, erf can pass -1 by one ulp
            let share = (0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2) + 0.5).max(0.0);
            share + x * density
        });
    }
    let density = ((x.sqr()? * -0.5)?.exp()? * f64::from(FRAC_1_SQRT_TAU))?;
    ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? * 0.5)? + 0.5 + (x * density)?
}

/// The slope of [`tanh_gelu`].
pub(in crate::model) fn tanh_gelu_slope(x: &Tensor) -> Result<Tensor> {
    let of = |x: f32| {
        let square = x * x;
        let y = x * square.mul_add(TWICE * CUBE, TWICE);
        // for large |x| the logistic is 0 or 1, and its slope 0 even if the square overflows
        let (share, bend) = (logistic(y), logistic(y) * logistic(-y));
        share + if bend == 0.0 { 0.0 } else { x * bend * square.mul_add(3.0 * TWICE * CUBE, TWICE) }
    };
    if is_supported(x) { each(x, "slope of gelu by tanh", of) } else { on_host(x, of) }
}

/// The slope of [`silu`].
pub(in crate::model) fn silu_slope(x: &Tensor) -> Result<Tensor> {
    let of = |x: f32| {
        let (share, bend) = (logistic(x), logistic(x) * logistic(-x));
        share + if bend == 0.0 { 0.0 } else { x * bend }
    };
    if is_supported(x) { each(x, "slope of silu", of) } else { on_host(x, of) }
}

/// The slope of [`relu`]: 0 at 0, as in torch.
pub(in crate::model) fn relu_slope(x: &Tensor) -> Result<Tensor> {
    x.gt(&x.zeros_like()?)?.to_dtype(x.dtype())
}

/// Compute `f` on the host; used for activations that are rarely needed.
fn on_host(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor> {
    let values = x.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let values: Vec<f32> = values.into_iter().map(f).collect();
    Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())
}

/// Compute `f` in at least f32, because candle rounds 16-bit types after every step.
fn wide(x: &Tensor, f: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => f(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype()),
        _ => f(x),
    }
}

fn each(x: &Tensor, name: &'static str, f: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Elementwise { name, f })
}

struct Elementwise<F> {
    name: &'static str,
    f: F,
}

impl<F: Fn(f32) -> f32 + Sync> CustomOp1 for Elementwise<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, at)?;
        let mut out = vec![0.0; x.len()];
        let arch = Arch::new();
        let parts = out.par_chunks_mut(PART).zip(x.par_chunks(PART));
        parts.for_each(|(out, x)| arch.dispatch(Each { x, out, f: &self.f }));
        Ok((CpuStorage::F32(out), at.shape().clone()))
    }
}

struct Each<'a, F> {
    x: &'a [f32],
    out: &'a mut [f32],
    f: &'a F,
}

impl<F: Fn(f32) -> f32> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = (self.f)(*x);
        }
    }
}

/// `1 / √(2π)`
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;

/// `2 √(2/π)`, and the share of the cube in gelu's approximation.
const TWICE: f32 = 1.595_769;
const CUBE: f32 = 0.044_715;

#[inline(always)]
fn exact_gelu(x: f32) -> f32 {
    let twice = 1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2);
    // for large |x|, erf can be below -1 by one ulp, which a large x would magnify
    0.5 * x * if twice < 0.0 { 0.0 } else { twice }
}

#[inline(always)]
fn gelu_by_tanh(x: f32) -> f32 {
    // 1 + tanh(y) is twice the logistic function of 2y
    x * logistic(x * (x * x).mul_add(TWICE * CUBE, TWICE))
}

#[inline(always)]
fn x_logistic(x: f32) -> f32 {
    x * logistic(x)
}

/// Not `max`, which would turn NaN into 0.
#[inline(always)]
fn rectified(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `1 / (1 + exp(-x))`; within 1e-38 of 0 below -87.
#[inline(always)]
fn logistic(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// Beyond this, the error function rounds to 1 in f32.
const ERF_END: f32 = 3.95;

/// `erf(x) / x` as a quotient of polynomials in x², with coefficients from the lowest power: a least-squares fit over
/// [0, 3.95], reweighted until the relative error was uniform, at most 2e-8.
const NUMERATOR: [f32; 6] =
    [std::f32::consts::FRAC_2_SQRT_PI, 0.191_549_9, 0.052_875_377, 0.003_808_140_5, 0.000_284_686_77, 2.025_905_1e-6];
const DENOMINATOR: [f32; 6] = [1.0, 0.503_089_37, 0.114_559_44, 0.015_055_047, 0.001_170_719_7, 3.783_172e-5];

/// The error function; its absolute value can exceed 1 by one ulp.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-ERF_END, ERF_END);
    let square = x * x;
    let (mut numerator, mut denominator) = (0.0f32, 0.0f32);
    for power in (0..NUMERATOR.len()).rev() {
        numerator = numerator.mul_add(square, NUMERATOR[power]);
        denominator = denominator.mul_add(square, DENOMINATOR[power]);
    }
    x * numerator / denominator
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, cpu::erf::erf_f64};

    use super::*;

    type Function = fn(&Tensor) -> Result<Tensor>;
    type Formula = fn(f64) -> f64;

    const ALL: [(&str, Function, Formula); 4] = [
        ("gelu", gelu, |x| 0.5 * x * (1.0 + erf_f64(x * std::f64::consts::FRAC_1_SQRT_2))),
        ("tanh_gelu", tanh_gelu, |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }),
        ("silu", silu, |x| x / (1.0 + (-x).exp())),
        ("relu", relu, |x| x.max(0.0)),
    ];

    fn apply(function: Function, x: Vec<f32>, dtype: DType) -> Vec<f32> {
        let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        function(&x).unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    /// The largest error over every `step`th finite number in units of `u` (see the module), and where it occurs.
    fn worst(function: Function, exact: Formula, step: u32) -> (f64, f32) {
        let least = f64::from(f32::from_bits(1));
        let mut worst = (0.0, 0.0);
        for first in (0..=u32::MAX / step).step_by(1 << 16) {
            let last = first.saturating_add((1 << 16) - 1).min(u32::MAX / step);
            let numbers = (first..=last).map(|i| f32::from_bits(i * step));
            let x: Vec<f32> = numbers.filter(|x| x.is_finite()).collect();
            for (x, y) in x.iter().zip(apply(function, x.clone(), DType::F32)) {
                let off = (f64::from(y) - exact(f64::from(*x))).abs();
                let off = (off - least).max(0.0) / (f64::from(x.abs()) * 2f64.powi(-24)).max(least);
                if off > worst.0 || off.is_nan() {
                    worst = (off, *x);
                }
            }
        }
        worst
    }

    /// Results of torch 2.15 in f32 and in 16 bits, except that torch's vectorised exact GELU in f32 gives NaN at infinity,
    /// unlike its scalar one.
    #[test]
    fn extreme_inputs_and_nan_give_what_torch_gives() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let x = [inf, -inf, nan, 65504.0, -65504.0, -100.0, -0.0, 0.0];
        let unit = [inf, nan, nan, 65504.0, -0.0, -0.0, -0.0, 0.0];
        let rectified = [inf, 0.0, nan, 65504.0, 0.0, 0.0, -0.0, 0.0];
        for (name, function, _) in ALL {
            let expected = if name == "relu" { rectified } else { unit };
            for dtype in [DType::F32, DType::F16] {
                let found = apply(function, x.to_vec(), dtype);
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(found.iter().zip(&expected).all(same), "{name} in {dtype:?}: {found:?}");
            }
        }
        for x in [-5.59, -6.0, -13.0, -1e9, f32::MIN] {
            assert_eq!(apply(gelu, vec![x], DType::F32)[0].to_bits(), (-0.0f32).to_bits(), "{x}");
        }
        assert_eq!(apply(gelu, vec![f32::MAX], DType::F32), [f32::MAX]);
    }

    #[test]
    fn a_sample_of_all_numbers_is_within_the_bound() {
        for (name, function, exact) in ALL {
            let (error, x) = worst(function, exact, 1009);
            println!("{name}: {error:.2} at {x:e}");
            assert!(error <= 4.0, "{name}: {error:.2} units at {x:e}");
        }
    }

    /// Slopes against central differences of the formulas in f64, whose own error is 1e-9.
    #[test]
    fn slopes_equal_those_of_the_formulas() {
        let slopes: [Function; 4] = [gelu_slope, tanh_gelu_slope, silu_slope, relu_slope];
        for ((name, _, exact), slope) in ALL.into_iter().zip(slopes) {
            let x: Vec<f32> = (-4000i16..4000).map(|i| (f32::from(i) + 0.25) / 128.0).collect();
            let mut worst = 0.0f64;
            for (x, found) in x.iter().zip(apply(slope, x.clone(), DType::F32)) {
                const STEP: f64 = 1e-5;
                let x = f64::from(*x);
                let expected = (exact(x + STEP) - exact(x - STEP)) / (2.0 * STEP);
                worst = worst.max((f64::from(found) - expected).abs());
            }
            println!("slope of {name}: {worst:.1e}");
            assert!(worst < 4e-7, "{name}: {worst:.1e}");
            // far from 0 the slopes are 0 and 1, and at 0 they are a half, or 0 at the corner of relu
            let middle = if name == "relu" { 0.0 } else { 0.5 };
            assert_eq!(
                apply(slope, vec![-1e30, f32::MIN, 0.0, 1e30, f32::MAX], DType::F32),
                [0.0, 0.0, middle, 1.0, 1.0]
            );
        }
    }

    #[test]
    #[ignore = "minutes"]
    fn every_number_is_within_the_bound() {
        for (name, function, exact) in ALL {
            let (error, x) = worst(function, exact, 1);
            println!("{name}: {error:.2} at {x:e}");
            assert!(error <= 4.0, "{name}: {error:.2} units at {x:e}");
        }
    }
}
