use candle_core::{DType, Tensor};

use super::{Dictionary, Encoded};

impl Dictionary {
    /// Features as they are edited.
    ///
    /// # Shapes
    /// Returns `[1, pos, d_sae]`, f32, on the device of `x`, which is `[pos, d_in]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn dense(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.spread(&self.encode(x)?, x)
    }

    /// What a change of the features adds to an unprocessed activation: `(f' - f) W_dec`, in the scale of each position.
    ///
    /// # Shapes
    /// `x` and the result: `[pos, d_in]`; `change` takes and returns `[1, pos, d_sae]`.
    ///
    /// # Errors
    /// Tensor errors, and those of `change`.
    pub fn written<E: From<candle_core::Error>>(
        &self,
        x: &Tensor,
        change: &mut dyn FnMut(Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let (n_pos, d_in) = x.dims2()?;
        let encoded = self.encode(x)?;
        let dense = self.spread(&encoded, x)?;
        let after = change(dense.clone())?.to_dtype(DType::F32)?.reshape((n_pos, self.d_sae))?.to_vec2::<f32>()?;
        let before = dense.reshape((n_pos, self.d_sae))?.to_vec2::<f32>()?;
        let mut all = Vec::with_capacity(n_pos * d_in);
        for ((before, after), statistics) in before.iter().zip(&after).zip(&encoded.statistics) {
            let mut row = vec![0.0f32; d_in];
            for (feature, (before, after)) in before.iter().zip(after).enumerate() {
                let by = after - before;
                // what does not move writes nothing, infinities too
                #[allow(clippy::float_cmp, reason = "asks whether the value moved at all")]
                let moved = before != after && !(before.is_nan() && after.is_nan());
                if moved {
                    row.iter_mut().zip(self.direction(feature)).for_each(|(x, d)| *x += by * d);
                }
            }
            all.extend(row.into_iter().map(|x| x * statistics.scale));
        }
        Ok(Tensor::from_vec(all, (n_pos, d_in), x.device())?)
    }

    fn spread(&self, encoded: &Encoded, like: &Tensor) -> candle_core::Result<Tensor> {
        let n_pos = encoded.features.len();
        let mut all = vec![0.0f32; n_pos * self.d_sae];
        for (row, features) in all.chunks_mut(self.d_sae).zip(&encoded.features) {
            for (feature, value) in features {
                row[*feature as usize] = *value;
            }
        }
        Tensor::from_vec(all, (1, n_pos, self.d_sae), like.device())
    }
}
