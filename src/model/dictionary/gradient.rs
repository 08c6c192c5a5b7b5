use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::Dictionary;

impl Dictionary {
    /// The gradient with respect to an unprocessed activation, through what a change of its features adds to it: the reverse of
    /// [`Self::written`]. Features that are 0 pass nothing, and a threshold or a choice of k features counts as fixed.
    ///
    /// # Shapes
    /// `x`, `of_written` and the result: `[pos, d_in]`; `change` and `back` take and return `[1, pos, d_sae]`. `back` leads from
    /// the gradient with respect to the changed features to that with respect to the features.
    ///
    /// # Errors
    /// Tensor errors, and those of `change` and `back`.
    pub fn written_backward<E: From<candle_core::Error>>(
        &self,
        x: &Tensor,
        of_written: &Tensor,
        change: &mut dyn FnMut(Tensor) -> Result<Tensor, E>,
        back: &mut dyn FnMut(Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let (n_pos, _) = x.dims2()?;
        let encoded = self.encode(x)?;
        let of_rows = of_written.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let mut of_changed = vec![0.0f32; n_pos * self.d_sae];
        let each = of_changed.par_chunks_mut(self.d_sae).zip(&of_rows).zip(&encoded.statistics);
        each.for_each(|((out, gradient), statistics)| self.along(gradient, statistics.scale, out));
        let of_changed = Tensor::from_vec(of_changed, (1, n_pos, self.d_sae), x.device())?;
        let of_features = (back(of_changed.clone())? - of_changed)?.reshape((n_pos, self.d_sae))?.to_vec2::<f32>()?;
        let mut of_pre = vec![0.0f32; n_pos * self.d_sae];
        for ((out, gradient), active) in of_pre.chunks_mut(self.d_sae).zip(&of_features).zip(&encoded.features) {
            for (feature, _) in active {
                let at = *feature as usize;
                out[at] = gradient[at] * self.activation.slope(at);
            }
        }
        let of_input = self.encoder.backward(&Tensor::from_vec(of_pre, (n_pos, self.d_sae), x.device())?)?;
        if !self.normalisation.is_some() {
            return Ok(of_input);
        }
        let written = self.written(x, change)?.to_vec2::<f32>()?;
        let mut rows = of_input.to_vec2::<f32>()?;
        let values = x.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        for (pos, gradient) in rows.iter_mut().enumerate() {
            let along: f64 = of_rows[pos].iter().zip(&written[pos]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let of_scale = along / f64::from(encoded.statistics[pos].scale);
            self.normalisation.backward(&values[pos], gradient, of_scale);
        }
        Ok(Tensor::from_vec(rows.concat(), x.shape(), x.device())?)
    }

    /// The gradient with respect to each feature of a position, from that with respect to what the dictionary writes there.
    ///
    /// # Shapes
    /// `gradient`: `[d_in]`; `out`: `[d_sae]`.
    fn along(&self, gradient: &[f32], scale: f32, out: &mut [f32]) {
        for (out, row) in out.iter_mut().zip(self.decoder.chunks(self.d_in)) {
            *out = row.iter().zip(gradient).map(|(a, b)| a * b).sum::<f32>() * scale;
        }
    }

    /// For each feature that is not 0 in `here` or in `there`, the change from `here` to `there` times `gradient`, which is with
    /// respect to the unprocessed activation; and the same for what the dictionary leaves out, last and without a number.
    /// Summed over the positions.
    ///
    /// # Shapes
    /// All: `[pos, d_in]`, f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn first_order(
        &self,
        here: &Tensor,
        there: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Vec<(Option<u32>, f64)>> {
        let (from, to) = (self.encode(here)?, self.encode(there)?);
        let gradient = gradient.to_vec2::<f32>()?;
        let mut scores = std::collections::BTreeMap::<u32, f64>::new();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        for (pos, gradient) in gradient.iter().enumerate() {
            let scale = f64::from(from.statistics[pos].scale);
            for (features, sign) in [(&from.features[pos], -1.0), (&to.features[pos], 1.0)] {
                for (feature, value) in features {
                    let along = dot(self.direction(*feature as usize), gradient);
                    *scores.entry(*feature).or_default() += sign * f64::from(*value) * scale * along;
                }
            }
        }
        let (back_from, back_to) = (self.decode(&from), self.decode(&to));
        let (here, there) = (here.to_vec2::<f32>()?, there.to_vec2::<f32>()?);
        let mut error = 0.0;
        for (pos, gradient) in gradient.iter().enumerate() {
            let left_out = |x: &[f32], back: &[f32]| dot(x, gradient) - dot(back, gradient);
            error += left_out(&there[pos], &back_to[pos]) - left_out(&here[pos], &back_from[pos]);
        }
        let scores = scores.into_iter().map(|(feature, score)| (Some(feature), score));
        Ok(scores.chain([(None, error)]).collect())
    }
}
