use std::sync::{PoisonError, RwLock};

use candle_core::{DType, Device, Result, Tensor};

use super::Config;
use crate::model::kernels;

/// Rotary position embedding (Su et al., "`RoFormer`", 2021) of the first `rotary_dims` dimensions of each head, in
/// GPT-NeoX's form: dimension `i` is paired with `i + rotary_dims / 2`.
pub(super) struct Rotary {
    /// The number of positions over which each pair of dimensions rotates by 1 radian.
    periods: Vec<f32>,
    /// The longest prompt.
    context: usize,
    dtype: DType,
    device: Device,
    /// Tables for the first positions, at least as many as any prompt needed so far. A context can be much longer than
    /// any prompt.
    tables: RwLock<Tables>,
}

/// Each `[pos, rotary_dims]`; both halves hold the same angles.
#[derive(Clone)]
struct Tables {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// # Errors
    /// The device is out of memory.
    pub(super) fn new(config: &Config, dtype: DType, device: &Device) -> Result<Self> {
        const USUAL: usize = 2048;
        let half = config.rotary_dims / 2;
        #[allow(clippy::cast_precision_loss, reason = "dimensions are few")]
        let periods: Vec<f32> = (0..half).map(|i| config.rotary_base.powf(i as f32 / half as f32)).collect();
        let tables = RwLock::new(Tables::new(&periods, config.context.min(USUAL), dtype, device)?);
        Ok(Self { periods, context: config.context, dtype, device: device.clone(), tables })
    }

    /// Rotate `x` of shape `[batch, pos, head, d_head]`, whose first position is number `from` of the prompt.
    ///
    /// # Errors
    /// The prompt is longer than the context.
    pub(super) fn apply(&self, x: &Tensor, from: usize) -> Result<Tensor> {
        let n_pos = x.dim(1)?;
        let Tables { cos, sin } = self.tables(from + n_pos)?;
        kernels::rotate(x, &cos.narrow(0, from, n_pos)?, &sin.narrow(0, from, n_pos)?)
    }

    /// [`Self::apply`] for f32 values, whatever the model's type.
    ///
    /// # Errors
    /// The prompt is longer than the context.
    pub(super) fn apply_in_f32(&self, x: &Tensor, from: usize) -> Result<Tensor> {
        let n_pos = x.dim(1)?;
        let Tables { cos, sin } = self.tables(from + n_pos)?;
        let table = |t: &Tensor| t.narrow(0, from, n_pos)?.to_dtype(DType::F32);
        kernels::rotate(x, &table(&cos)?, &table(&sin)?)
    }

    /// Rotate `x`, a gradient in f32 from the first position on, back: the transpose of [`Self::apply`].
    ///
    /// # Errors
    /// The prompt is longer than the context.
    pub(super) fn backward(&self, x: &Tensor) -> Result<Tensor> {
        let n_pos = x.dim(1)?;
        let Tables { cos, sin } = self.tables(n_pos)?;
        let table = |t: &Tensor| t.narrow(0, 0, n_pos)?.to_dtype(x.dtype());
        kernels::rotate(x, &table(&cos)?, &table(&sin)?.neg()?)
    }

    /// Tables of at least `n_pos` positions, if the context has that many.
    fn tables(&self, n_pos: usize) -> Result<Tables> {
        let wanted = n_pos.min(self.context);
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        if tables.cos.dim(0)? >= wanted {
            return Ok(tables);
        }
        let longer = wanted.next_power_of_two().min(self.context);
        let tables = Tables::new(&self.periods, longer, self.dtype, &self.device)?;
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = tables.clone();
        Ok(tables)
    }
}

impl Tables {
    /// Angles are computed in f32 and as a quotient, as in the reference: at position 2000, another order of operations
    /// differs by 1e-4.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "positions are below 2^24, and the tables are in f32"
    )]
    fn new(periods: &[f32], n_pos: usize, dtype: DType, device: &Device) -> Result<Self> {
        let table = |f: fn(f64) -> f64| {
            let angles = (0..n_pos).flat_map(|pos| {
                let both = periods.iter().chain(periods);
                both.map(move |period| f(f64::from(pos as f32 / period)) as f32)
            });
            Tensor::from_iter(angles, device)?.reshape((n_pos, 2 * periods.len()))?.to_dtype(dtype)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::demo;

    #[test]
    fn tables_grow_with_the_prompt_and_keep_their_values() {
        let config = Config::from_json(&serde_json::from_str(demo::CONFIG).unwrap()).unwrap();
        let config = Config { context: 1 << 22, ..config };
        let rotary = Rotary::new(&config, DType::F32, &Device::Cpu).unwrap();
        let of = |tables: &Tables, n: usize| -> Vec<u32> {
            let both = [&tables.cos, &tables.sin].map(|t| t.narrow(0, 0, n).unwrap().flatten_all().unwrap());
            both.iter().flat_map(|t| t.to_vec1::<f32>().unwrap()).map(f32::to_bits).collect()
        };
        let before = rotary.tables(7).unwrap();
        assert_eq!(before.cos.dims(), [2048, config.rotary_dims]);
        let after = rotary.tables(2049).unwrap();
        assert_eq!(after.cos.dims(), [4096, config.rotary_dims]);
        assert_eq!(of(&before, 2048), of(&after, 2048));
        // a table that was extended equals one that was computed at once
        assert_eq!(of(&Tables::new(&rotary.periods, 3000, DType::F32, &Device::Cpu).unwrap(), 3000), of(&after, 3000));
        let short = Rotary::new(&Config { context: 3000, ..config }, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(short.tables(2049).unwrap().cos.dim(0).unwrap(), 3000);
        let x = Tensor::zeros((1, 2, 1, 32), DType::F32, &Device::Cpu).unwrap();
        assert!(short.apply(&x, 2998).is_ok() && short.apply(&x, 2999).is_err());
    }
}
