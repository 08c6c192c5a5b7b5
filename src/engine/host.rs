//! Values of tensors that may be on another device.

use candle_core::{DType, Tensor};

use crate::{hooks::RunError, model};

/// Do `work` on the values of an activation, row-major. They are copied only if they are on another device or not
/// contiguous f32.
pub(super) fn with_values<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T, RunError> {
    Ok(model::with_values(tensor, work)?)
}

/// The values of an activation, row-major, on the host.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, RunError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

/// Logits `[1, pos, vocab]` on the host.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f32>>, RunError> {
    Ok(logits.squeeze(0)?.to_dtype(DType::F32)?.to_vec2()?)
}

/// The sum of the squares of all finite values, on their device.
pub(super) fn finite_square(value: &Tensor) -> candle_core::Result<Tensor> {
    let value = value.to_dtype(DType::F32)?.contiguous()?;
    value.abs()?.le(f32::MAX)?.where_cond(&value, &value.zeros_like()?)?.sqr()?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_skips_non_finite_values() {
        let device = candle_core::Device::Cpu;
        let value = Tensor::new(&[3.0f32, f32::NEG_INFINITY, 4.0, f32::NAN], &device).unwrap();
        let square = finite_square(&value).unwrap().to_scalar::<f32>().unwrap();
        assert!((square - 25.0).abs() < 1e-6);
    }
}
