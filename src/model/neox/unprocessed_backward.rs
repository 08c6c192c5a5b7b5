//! Gradients with respect to unprocessed activations on their way to those of the run. The mean that processing took out is made of
//! what heads and MLPs compute, so a part of the gradient continues there.

use candle_core::{D, Result, Tensor};

use super::unprocessed::Unprocessed;
use crate::hooks::{BlockHook, HookPoint};

/// Gradients with respect to activations of a run.
pub struct OfRun {
    /// With respect to the value at the hook.
    pub value: Tensor,
    /// With respect to activations that its unprocessed value is made of, each `[batch, axes of the hook]`.
    pub made_of: Vec<(HookPoint, Tensor)>,
}

impl Unprocessed<'_> {
    /// The gradients with respect to the run's activations, from the one with respect to the unprocessed value at a hook: the
    /// reverse of [`Self::at`].
    ///
    /// # Shapes
    /// `gradient`: `[batch, axes of the hook]`, f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn backward(&self, point: HookPoint, gradient: &Tensor) -> Result<OfRun> {
        let Some(removed) = &self.model.removed else { return Ok(alone(gradient.clone())) };
        match point {
            HookPoint::Tokens | HookPoint::LnFinalScale | HookPoint::Embed => Ok(alone(gradient.clone())),
            HookPoint::LnFinalNormalized => gradient.broadcast_mul(&removed.ln_final.weight).map(alone),
            HookPoint::Block(block, hook) => self.backward_in_block(block, hook, gradient),
        }
    }

    fn backward_in_block(&self, number: usize, hook: BlockHook, gradient: &Tensor) -> Result<OfRun> {
        use BlockHook::{
            AttnIn, AttnOut, AttnScores, K, KInput, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, MlpIn, MlpOut,
            MlpPost, MlpPre, Pattern, Q, QInput, ResidMid, ResidPost, ResidPre, Result, RotK, RotQ, V, VInput, Z,
        };
        let Some((block, removed)) = self.block(number) else { return Ok(alone(gradient.clone())) };
        let of_mean = || gradient.sum_keepdim(D::Minus1);
        let mut made_of = vec![];
        match hook {
            Ln1Scale | Q | K | V | Z | RotQ | RotK | AttnScores | Pattern | Ln2Scale | MlpPre | MlpPost => {}
            Ln1Normalized => return gradient.broadcast_mul(&removed.ln1.weight).map(alone),
            Ln2Normalized => return gradient.broadcast_mul(&removed.ln2.weight).map(alone),
            ResidPre => made_of = self.of_stream(number, &of_mean()?)?,
            AttnIn | QInput | KInput | VInput => made_of = self.of_stream(number, &of_mean()?.sum(2)?)?,
            ResidPost => made_of = self.of_stream(number + 1, &of_mean()?)?,
            Result => {
                made_of.push((HookPoint::Block(number, Z), removed.attn.mean_by_head_backward(&of_mean()?)?));
            }
            AttnOut => made_of.push(self.of_attn(number, &of_mean()?)?),
            ResidMid | MlpIn => {
                made_of = self.of_stream(number, &of_mean()?)?;
                if !block.parallel || hook == ResidMid {
                    made_of.push(self.of_attn(number, &of_mean()?)?);
                }
            }
            MlpOut => made_of.push(self.of_mlp(number, &of_mean()?)?),
        }
        Ok(OfRun { value: gradient.clone(), made_of })
    }

    /// From the gradient with respect to the mean of the stream into a block, `[batch, pos, 1]`.
    fn of_stream(&self, block: usize, of_mean: &Tensor) -> Result<Vec<(HookPoint, Tensor)>> {
        let each = (0..block).flat_map(|block| [self.of_attn(block, of_mean), self.of_mlp(block, of_mean)]);
        each.collect()
    }

    fn of_attn(&self, number: usize, of_mean: &Tensor) -> Result<(HookPoint, Tensor)> {
        let point = HookPoint::Block(number, BlockHook::Z);
        let Some((block, removed)) = self.block(number) else { return Ok((point, of_mean.clone())) };
        let (batch, n_pos, _) = of_mean.dims3()?;
        let of_z = removed.attn.mean_backward(of_mean)?;
        Ok((point, of_z.reshape((batch, n_pos, block.attn.n_heads, block.attn.d_head))?))
    }

    fn of_mlp(&self, number: usize, of_mean: &Tensor) -> Result<(HookPoint, Tensor)> {
        let point = HookPoint::Block(number, BlockHook::MlpPost);
        let Some((_, removed)) = self.block(number) else { return Ok((point, of_mean.clone())) };
        Ok((point, removed.mlp.mean_backward(of_mean)?))
    }
}

fn alone(value: Tensor) -> OfRun {
    OfRun { value, made_of: vec![] }
}
