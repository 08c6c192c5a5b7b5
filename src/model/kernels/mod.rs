//! The arithmetic of the forward pass in f32 on the CPU, made for few rows, causal attention and edits that differ by row.
//! Other devices and types use candle's operations.
//!
//! A batch grows on its way through the model: a row that no edit has changed yet is missing and equals row 0. Where two
//! activations are combined, row 0 of the one with fewer rows stands for its missing rows.

#![allow(
    clippy::inline_always,
    reason = "a function must be inlined into its dispatcher to be compiled for the dispatched instructions"
)]
#![allow(clippy::needless_range_loop, reason = "small arrays that should stay in registers")]

mod activation;
mod attention;
mod cross_entropy;
mod gradients;
mod heads;
mod linear;
mod norm;
mod panels;
mod reversed;
mod rotation;
mod scores;
mod softmax;
mod sums;
mod weighted_values;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor};
use pulp::Arch;

use crate::hooks::with_rows;

pub(super) use activation::{gelu, gelu_slope, relu, relu_slope, silu, silu_slope, tanh_gelu, tanh_gelu_slope};
pub(super) use attention::attend;
pub(super) use gradients::{norm_gradient, scale_gradient, softmax_gradient};
pub(super) use linear::Linear;
pub(super) use norm::{normalize, scale};
pub(super) use rotation::rotate;
pub(super) use scores::scores;
pub(super) use softmax::softmax;
pub(super) use sums::add;
pub(super) use weighted_values::weighted_values;

/// The lanes of the widest register.
const LANES: usize = 16;

/// Whether the kernels here support this tensor, which candle computes otherwise: f32 on a CPU with vector instructions.
pub(super) fn is_supported(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && !matches!(Arch::new(), Arch::Scalar)
}

/// The values of a contiguous f32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a kernel takes contiguous tensors only");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Do `work` on the values of a tensor, row-major. They are copied only if they are on another device or not contiguous f32.
pub(crate) fn with_values<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) = (&*storage, layout.contiguous_offsets()) {
        return Ok(work(&all[from..to]));
    }
    drop(storage);
    Ok(work(&tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?))
}

/// The row that stands for row `row` in a batch of `have` rows.
fn row_of(row: usize, have: usize) -> usize {
    if row < have { row } else { 0 }
}

/// Whether two numbers are equal or both NaN.
#[cfg(test)]
#[allow(clippy::float_cmp, reason = "bitwise, except for the sign of zero")]
fn same(a: f32, b: f32) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

/// Every kernel against candle's operations in f64, which the same functions use for that type.
#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::{hooks::random_bits, model::Placement};

    /// Random values from -2 to 2, some of them 0.
    fn tensor(seed: u64, shape: &[usize]) -> Tensor {
        #[allow(clippy::cast_precision_loss)]
        let value = |i: u64| match random_bits(seed, i) {
            bits if bits % 16 == 0 => 0.0,
            bits => (bits >> 40) as f32 / (1u64 << 22) as f32 - 2.0,
        };
        let n: usize = shape.iter().product();
        Tensor::from_iter((0..n as u64).map(value), &Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    fn wide(x: &Tensor) -> Tensor {
        x.to_dtype(DType::F64).unwrap()
    }

    /// The largest difference, relative to the largest value.
    fn error(ours: &Tensor, theirs: &Tensor) -> f64 {
        assert_eq!(ours.dims(), theirs.dims());
        let values = |x: &Tensor| wide(x).flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (ours, theirs) = (values(ours), values(theirs));
        #[allow(clippy::float_cmp)]
        let off = ours.iter().zip(&theirs).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
        let off = off.fold(0.0, f64::max);
        off / theirs.iter().filter(|x| x.is_finite()).fold(1.0, |most: f64, x| most.max(x.abs()))
    }

    /// Twice the largest error in 25 000 cases of each kernel, which was for the weighted values of 180 keys.
    const TOLERANCE: f64 = 2e-6;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn products(seed: u64, rows in 1usize..140, out in 1usize..130, d_in in 1usize..90, biased: bool) {
            let (x, w) = (tensor(seed, &[rows, d_in]), tensor(seed ^ 1, &[out, d_in]));
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let bias = biased.then(|| values(&tensor(seed ^ 2, &[out])));
            let [ours, theirs] = [DType::F32, DType::F64].map(|dtype| {
                let place = Placement { device: Device::Cpu, dtype };
                Linear::new(values(&w), d_in, bias.clone(), &place).unwrap()
            });
            let x64 = wide(&x);
            let off = error(&ours.forward(&x).unwrap(), &theirs.forward(&x64).unwrap());
            prop_assert!(off < TOLERANCE, "{off}");
            prop_assert_eq!(values(&ours.weight().unwrap()), values(&w));
            prop_assert_eq!(values(&ours.row(out / 2).unwrap()), values(&w.get(out / 2).unwrap()));
            prop_assert!(ours.row(out).is_err() && theirs.row(out).is_err());
            let slope = tensor(seed ^ 3, &[rows, out]);
            let off = error(&ours.backward(&slope).unwrap(), &theirs.backward(&wide(&slope)).unwrap());
            prop_assert!(off < TOLERANCE, "reversed {off}");
            // bitwise independent of the other rows
            let (row, alone) = (ours.forward(&x).unwrap().get(rows / 2).unwrap(), x.narrow(0, rows / 2, 1).unwrap());
            prop_assert_eq!(values(&ours.forward(&alone).unwrap()), values(&row));
        }

        #[test]
        fn attention_with_missing_rows(
            seed: u64, more in 0usize..3, less in 1usize..3, before in 0usize..90, n in 1usize..120, heads in 1usize..4, width in 1usize..40, swap: bool,
        ) {
            let d_head = 2 * width;
            let rows = if swap { [less, less + more] } else { [less + more, less] };
            let q = tensor(seed, &[rows[0], n, heads, d_head]);
            let [k, v] = [1, 2].map(|i| tensor(seed ^ i, &[rows[1], before + n, heads, d_head]));
            let ours = scores(&q, &k).unwrap();
            let theirs = scores(&wide(&q), &wide(&k)).unwrap();
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "scores {}", error(&ours, &theirs));
            let (pattern, undefined) = softmax(&ours).unwrap();
            let (theirs, _) = softmax(&wide(&ours)).unwrap();
            prop_assert!(undefined == 0 && error(&pattern, &theirs) < TOLERANCE, "softmax {}", error(&pattern, &theirs));
            let of_pattern = tensor(seed ^ 3, pattern.dims());
            let (ours, theirs) = (softmax_gradient(&pattern, &of_pattern).unwrap(), softmax_gradient(&wide(&pattern), &wide(&of_pattern)).unwrap());
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "gradient of a softmax {}", error(&ours, &theirs));
            let (at_once, _) = attend(&q, &k, &v).unwrap();
            let (ours, theirs) = (weighted_values(&pattern, &v).unwrap(), weighted_values(&wide(&pattern), &wide(&v)).unwrap());
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            prop_assert_eq!(values(&at_once), values(&ours));
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "weighted values {}", error(&ours, &theirs));
        }

        #[test]
        fn norms_with_missing_rows(seed: u64, more in 0usize..3, less in 1usize..3, n in 1usize..9, width in 2usize..200, swap: bool) {
            let rows = if swap { [less, less + more] } else { [less + more, less] };
            let (x, other) = (tensor(seed, &[rows[0], n, width]), tensor(seed ^ 1, &[rows[1], n, width]));
            let (ours, theirs) = (scale(&other, 1e-5).unwrap(), scale(&wide(&other), 1e-5).unwrap());
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "scale {}", error(&ours, &theirs));
            // without tiny divisors, which magnify errors
            let divisor = (ours + 0.5).unwrap();
            let (ours, theirs) = (normalize(&x, &divisor).unwrap(), normalize(&wide(&x), &wide(&divisor)).unwrap());
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "norm {}", error(&ours, &theirs));
            let (of_norm, own) = (tensor(seed ^ 2, &[rows[0], n, width]), tensor(seed ^ 3, &[rows[0], n, 1]));
            let divisor = (tensor(seed ^ 4, &[rows[0], n, 1]).abs().unwrap() + 0.5).unwrap();
            let ours = scale_gradient(&x, &divisor, &of_norm).unwrap();
            let theirs = scale_gradient(&wide(&x), &wide(&divisor), &wide(&of_norm)).unwrap();
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "gradient of a scale {}", error(&ours, &theirs));
            let own = (own.abs().unwrap() + 0.5).unwrap();
            let theirs = norm_gradient(&wide(&x), [&wide(&divisor), &wide(&own), &wide(&ours)], &wide(&of_norm)).unwrap();
            let ours = norm_gradient(&x, [&divisor, &own, &ours], &of_norm).unwrap();
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "gradient of a norm {}", error(&ours, &theirs));
            let (ours, theirs) = (add(&x, &other).unwrap(), add(&wide(&x), &wide(&other)).unwrap());
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "sum {}", error(&ours, &theirs));
        }

        #[test]
        fn activation_and_rotation(seed: u64, rows in 1usize..3, n in 1usize..9, heads in 1usize..4, half in 1usize..20, rest in 0usize..9) {
            let x = (tensor(seed, &[rows, n, heads, 2 * half + rest]) * 3.0).unwrap();
            let (ours, theirs) = (gelu(&x).unwrap(), gelu(&wide(&x)).unwrap());
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "gelu {}", error(&ours, &theirs));
            for (name, slope) in [("gelu", gelu_slope as fn(&Tensor) -> Result<Tensor>), ("relu", relu_slope)] {
                let (ours, theirs) = (slope(&x).unwrap(), slope(&wide(&x)).unwrap());
                prop_assert!(error(&ours, &theirs) < TOLERANCE, "slope of {name} {}", error(&ours, &theirs));
            }
            let [cos, sin] = [1, 2].map(|i| tensor(seed ^ i, &[n, 2 * half]));
            let ours = rotate(&x, &cos, &sin).unwrap();
            let theirs = rotate(&wide(&x), &wide(&cos), &wide(&sin)).unwrap();
            prop_assert!(error(&ours, &theirs) < TOLERANCE, "rotation {}", error(&ours, &theirs));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// The fused pass equals the three steps even if scores overflow or are NaN.
        #[test]
        fn attention_of_extreme_numbers(seed: u64, n in 1usize..40, at in proptest::collection::vec((0usize..3, 0usize..40, 0usize..16, 0usize..8), 0..4)) {
            const EXTREMES: [f32; 8] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 1e30, -1e20, 1e-45];
            let mut all = [0, 1, 2].map(|i| tensor(seed ^ i, &[1, n, 1, 16]).flatten_all().unwrap().to_vec1::<f32>().unwrap());
            for (which, pos, i, extreme) in at {
                all[which][pos % n * 16 + i] = EXTREMES[extreme];
            }
            let [q, k, v] = all.map(|x| Tensor::from_vec(x, (1, n, 1, 16), &Device::Cpu).unwrap());
            let (at_once, undefined) = attend(&q, &k, &v).unwrap();
            let (pattern, without) = softmax(&scores(&q, &k).unwrap()).unwrap();
            let stepwise = weighted_values(&pattern, &v).unwrap();
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (a, b) in values(&at_once).into_iter().zip(values(&stepwise)) {
                prop_assert!(same(a, b), "{a} {b}");
            }
            prop_assert_eq!(undefined, without);
        }
    }

    #[test]
    fn non_finite_values_reach_queries_that_mask_them() {
        let [q, k, v] = [0, 1, 2].map(|seed| tensor(seed, &[1, 3, 1, 16]));
        let v = Tensor::cat(&[&v.narrow(1, 0, 2).unwrap(), &(v.narrow(1, 2, 1).unwrap() * f64::INFINITY).unwrap()], 1);
        // 0 times infinity
        let z = attend(&q, &k, &v.unwrap()).unwrap().0.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(z[..32].iter().all(|z| z.is_nan()), "{z:?}");
    }

    #[test]
    fn a_row_with_undefined_softmax_becomes_0_and_is_counted() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let rows = [[1.0, -inf, 0.0], [-inf, -inf, -inf], [nan, 0.0, 0.0], [inf, 0.0, 0.0], [0.0, 0.0, -200.0]];
        let (pattern, undefined) = softmax(&Tensor::new(&rows, &Device::Cpu).unwrap()).unwrap();
        let pattern = pattern.to_vec2::<f32>().unwrap();
        assert_eq!(undefined, 3);
        assert_eq!((pattern[0][1], pattern[1].clone(), pattern[4].clone()), (0.0, vec![0.0; 3], vec![0.5, 0.5, 0.0]));
        assert_eq!((pattern[2].clone(), pattern[3].clone()), (vec![0.0; 3], vec![0.0; 3]));
    }
}
