//! Rotary position embedding.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{is_supported, values};

/// Rotate the first `dims` dimensions of each head by the angles of its position: dimension `i` with `i + dims / 2`. As in
/// torch, an infinite value makes its partner NaN where the sine is 0, as at the first position.
///
/// # Shapes
/// `x`: `[batch, pos, head, d_head]`; `cos` and `sin`: `[pos, dims]`, both halves of `dims` with the same angles.
pub(in crate::model) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (_, n_pos, _, d_head) = x.dims4()?;
    let dims = cos.dim(1)?;
    if is_supported(x) {
        let angles = Tensor::cat(&[cos, sin], 1)?;
        return x.contiguous()?.apply_op2_no_bwd(&angles, &Rotate { dims });
    }
    let broadcast = |table: &Tensor| table.reshape((1, n_pos, 1, dims));
    let part = |from: usize, n: usize| x.narrow(D::Minus1, from, n);
    let (first, second) = (part(0, dims / 2)?, part(dims / 2, dims / 2)?);
    let flipped = Tensor::cat(&[&second.neg()?, &first], D::Minus1)?;
    let rotated = (part(0, dims)?.broadcast_mul(&broadcast(cos)?)? + flipped.broadcast_mul(&broadcast(sin)?)?)?;
    if dims == d_head { Ok(rotated) } else { Tensor::cat(&[&rotated, &part(dims, d_head - dims)?], D::Minus1) }
}

struct Rotate {
    dims: usize,
}

impl CustomOp2 for Rotate {
    fn name(&self) -> &'static str {
        "rotary embedding"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        angles: &CpuStorage,
        angles_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, n_pos, heads, d_head) = x_at.shape().dims4()?;
        let (x, angles) = (values(x, x_at)?, values(angles, angles_at)?);
        let (dims, half) = (self.dims, self.dims / 2);
        let mut out = x.to_vec();
        out.par_chunks_mut(heads * d_head).zip(x.par_chunks(heads * d_head)).enumerate().for_each(|(row, (out, x))| {
            let (cos, sin) = angles[row % n_pos * 2 * dims..][..2 * dims].split_at(dims);
            for (out, x) in out.chunks_exact_mut(d_head).zip(x.chunks_exact(d_head)) {
                for i in 0..half {
                    let (a, b) = (x[i], x[i + half]);
                    out[i] = a * cos[i] - b * sin[i];
                    out[i + half] = b * cos[i + half] + a * sin[i + half];
                }
            }
        });
        Ok((CpuStorage::F32(out), x_at.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::{super::same, *};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// `x cos + rotated(x) sin` with `rotated(x) = (-second, first)`, as in the reference, for any bit patterns.
        #[test]
        fn any_numbers_are_rotated_as_the_formula_says(bits: [u32; 6], angle in prop_oneof![Just(0.0f32), 0.0f32..7.0]) {
            let x = bits.map(f32::from_bits);
            let (cos, sin) = (angle.cos(), angle.sin());
            let table = |value: f32| Tensor::full(value, (1, 4), &Device::Cpu).unwrap();
            let tensor = Tensor::new(&x, &Device::Cpu).unwrap().reshape((1, 1, 1, 6)).unwrap();
            let found = rotate(&tensor, &table(cos), &table(sin)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let rotated = [-x[2], -x[3], x[0], x[1]];
            let expected = |i: usize| if i < 4 { x[i] * cos + rotated[i] * sin } else { x[i] };
            for (i, found) in found.into_iter().enumerate() {
                prop_assert!(same(found, expected(i)), "{i}: {found} for {}", expected(i));
            }
        }
    }
}
