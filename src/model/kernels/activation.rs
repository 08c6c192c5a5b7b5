//! Activation functions, value by value.
//!
//! With the unit `u = 2⁻²⁴ |x|` (half an ulp of `x` to one) and the smallest subnormal `s = 2⁻¹⁴⁹`, every function here is within
//! `4u + s` of its formula in exact arithmetic for every finite `x`. For the rest it is what the formula gives in f32, and with it
//! torch: NaN for NaN, infinite at infinity, and at -infinity NaN (infinity times 0), but 0 for [`relu`]. None branches, so that
//! they are done many at a time.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{here, softmax::exp, sums::PART, values};

/// The exact form of the Gaussian error linear unit (Hendrycks and Gimpel, 2016), `x Φ(x)`. At most -5.59 it is -0, as in
/// torch.
pub(in crate::model) fn gelu(x: &Tensor) -> Result<Tensor> {
    if here(x) { each(x, "gelu", exact_gelu) } else { x.gelu_erf() }
}

/// The same by a hyperbolic tangent (there, section 2), `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
pub(in crate::model) fn tanh_gelu(x: &Tensor) -> Result<Tensor> {
    if here(x) { each(x, "gelu by tanh", gelu_by_tanh) } else { wide(x, Tensor::gelu) }
}

/// The sigmoid linear unit, `x / (1 + exp(-x))`.
pub(in crate::model) fn silu(x: &Tensor) -> Result<Tensor> {
    if here(x) { each(x, "silu", x_logistic) } else { wide(x, Tensor::silu) }
}

/// `max(x, 0)`.
pub(in crate::model) fn relu(x: &Tensor) -> Result<Tensor> {
    if here(x) {
        return each(x, "relu", rectified);
    }
    let zero = x.zeros_like()?;
    x.lt(&zero)?.where_cond(&zero, x)
}

/// `f` in f32 at least: candle rounds types of 16 bits after every step.
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

#[inline(always)]
fn exact_gelu(x: f32) -> f32 {
    let twice = 1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2);
    // far out erf passes -1 by a last bit, and x may be large
    0.5 * x * if twice < 0.0 { 0.0 } else { twice }
}

#[inline(always)]
fn gelu_by_tanh(x: f32) -> f32 {
    // 1 + tanh(y) is twice the logistic function of 2y
    const TWICE: f32 = 1.595_769;
    x * logistic(x * (x * x).mul_add(TWICE * 0.044_715, TWICE))
}

#[inline(always)]
fn x_logistic(x: f32) -> f32 {
    x * logistic(x)
}

/// A maximum, in Rust and in candle, would make 0 of NaN.
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

/// Beyond it the error function is 1 to the last bit of f32.
const ERF_END: f32 = 3.95;

/// `erf(x) / x` as a quotient of polynomials in x², lowest power first: a least-squares fit over [0, 3.95], weighted until its
/// relative error was even, 2e-8 at most.
const ABOVE: [f32; 6] =
    [std::f32::consts::FRAC_2_SQRT_PI, 0.191_549_9, 0.052_875_377, 0.003_808_140_5, 0.000_284_686_77, 2.025_905_1e-6];
const BELOW: [f32; 6] = [1.0, 0.503_089_37, 0.114_559_44, 0.015_055_047, 0.001_170_719_7, 3.783_172e-5];

/// The error function; it may pass 1 by a last bit.
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

    fn of(function: Function, x: Vec<f32>, dtype: DType) -> Vec<f32> {
        let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        function(&x).unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    /// Of every `step`th finite number, the largest error and where it is, in the unit that the module's doc names.
    fn worst(function: Function, exact: Formula, step: u32) -> (f64, f32) {
        let least = f64::from(f32::from_bits(1));
        let mut worst = (0.0, 0.0);
        for first in (0..=u32::MAX / step).step_by(1 << 16) {
            let last = first.saturating_add((1 << 16) - 1).min(u32::MAX / step);
            let numbers = (first..=last).map(|i| f32::from_bits(i * step));
            let x: Vec<f32> = numbers.filter(|x| x.is_finite()).collect();
            for (x, y) in x.iter().zip(of(function, x.clone(), DType::F32)) {
                let off = (f64::from(y) - exact(f64::from(*x))).abs();
                let off = (off - least).max(0.0) / (f64::from(x.abs()) * 2f64.powi(-24)).max(least);
                if off > worst.0 || off.is_nan() {
                    worst = (off, *x);
                }
            }
        }
        worst
    }

    /// What torch 2.15 gives for these, in f32 and in 16 bits; but its vectorised exact GELU in f32 gives NaN at infinity, where
    /// that of one value gives infinity.
    #[test]
    fn what_is_far_out_or_no_number_is_as_in_torch() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let x = [inf, -inf, nan, 65504.0, -65504.0, -100.0, -0.0, 0.0];
        let unit = [inf, nan, nan, 65504.0, -0.0, -0.0, -0.0, 0.0];
        let rectified = [inf, 0.0, nan, 65504.0, 0.0, 0.0, -0.0, 0.0];
        for (name, function, _) in ALL {
            let expected = if name == "relu" { rectified } else { unit };
            for dtype in [DType::F32, DType::F16] {
                let found = of(function, x.to_vec(), dtype);
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(found.iter().zip(&expected).all(same), "{name} in {dtype:?}: {found:?}");
            }
        }
        for x in [-5.59, -6.0, -13.0, -1e9, f32::MIN] {
            assert_eq!(of(gelu, vec![x], DType::F32)[0].to_bits(), (-0.0f32).to_bits(), "{x}");
        }
        assert_eq!(of(gelu, vec![f32::MAX], DType::F32), [f32::MAX]);
    }

    #[test]
    fn every_kind_of_number_is_within_the_bound() {
        for (name, function, exact) in ALL {
            let (error, x) = worst(function, exact, 1009);
            println!("{name}: {error:.2} at {x:e}");
            assert!(error <= 4.0, "{name}: {error:.2} units at {x:e}");
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
