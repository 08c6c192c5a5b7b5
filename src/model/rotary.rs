use candle_core::{DType, Device, Tensor};

use super::{Config, kernels};

/// Rotary position embedding (Su et al., "`RoFormer`", 2021) of the first `rotary_dims` dimensions of each head, in
/// GPT-NeoX's form: dimension `i` is paired with `i + rotary_dims / 2`.
pub(super) struct Rotary {
    /// `[context, rotary_dims]`, each half the same angles.
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Angles are computed in f32 and as a quotient, as the reference does: at position 2000 another order of operations
    /// differs by 1e-4.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "positions and dimensions are small"
    )]
    pub(super) fn new(config: &Config, dtype: DType, device: &Device) -> candle_core::Result<Self> {
        let half = config.rotary_dims / 2;
        let period: Vec<f32> = (0..half).map(|i| config.rotary_base.powf(i as f32 / half as f32)).collect();
        let table = |f: fn(f64) -> f64| {
            let angles = (0..config.context).flat_map(|pos| {
                let period = &period;
                (0..config.rotary_dims).map(move |i| f(f64::from(pos as f32 / period[i % half])) as f32)
            });
            Tensor::from_iter(angles, device)?.reshape((config.context, config.rotary_dims))?.to_dtype(dtype)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Turn `x` of shape `[batch, pos, head, d_head]`, whose first position is number `from` of the prompt.
    pub(super) fn apply(&self, x: &Tensor, from: usize) -> candle_core::Result<Tensor> {
        let n_pos = x.dim(1)?;
        kernels::rotate(x, &self.cos.narrow(0, from, n_pos)?, &self.sin.narrow(0, from, n_pos)?)
    }
}
