//! The backward pass: gradients of an objective with respect to every activation, coded by hand, in the reverse order
//! of the forward pass.
//!
//! There are no gradients of weights. It needs only what a run kept; LayerNorm's divisor and the attention pattern are
//! recomputed. Everything is in f32, whatever the model's type.

use candle_core::{DType, Tensor};

use super::{block::LayerNorm, forward::Model, removed::Affine};
use crate::{
    hooks::{ActivationCache, BlockHook, GradientHooks, HookPoint, RunError, Schema, with_rows},
    model::kernels,
};

pub(super) type Result<T> = std::result::Result<T, RunError>;

/// The activations that a run kept.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a>(pub &'a ActivationCache);

impl Kept<'_> {
    /// What the run kept at a hook, in f32.
    pub fn get(self, point: HookPoint) -> Result<Tensor> {
        let missing = || candle_core::Error::Msg(format!("gradients need {point}, which the run did not keep"));
        Ok(self.0.get(point).ok_or_else(missing)?.to_dtype(DType::F32)?)
    }
}

impl Model {
    /// The gradient with respect to the unembedding's input, from the gradient with respect to logits.
    ///
    /// # Shapes
    /// `[batch, pos, vocab]` to `[batch, pos, d_model]`, in f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn unembed_backward(&self, logits: &Tensor) -> candle_core::Result<Tensor> {
        self.unembed.backward(logits)
    }

    /// The row of the unembedding that produces a token's logit, `[d_model]`, in f32.
    ///
    /// # Errors
    /// Tensor errors, including an id outside the vocabulary.
    pub fn unembedding_of(&self, token: u32) -> candle_core::Result<Tensor> {
        self.unembed.row(token as usize)?.to_dtype(DType::F32)
    }

    /// From the gradient with respect to the unembedding's input, `ln_final.hook_normalized`, to the gradients at every
    /// earlier hook. `run` holds the activations of a whole pass with the schema's hooks, edits included.
    ///
    /// # Shapes
    /// `gradient`: `[batch, pos, d_model]`, f32.
    ///
    /// # Errors
    /// An activation that the run did not keep, cancellation, tensor errors.
    pub fn backward(
        &self,
        gradient: Tensor,
        run: &ActivationCache,
        schema: &Schema,
        hooks: &mut dyn GradientHooks,
    ) -> Result<()> {
        let kept = Kept(run);
        let end = match self.blocks.len().checked_sub(1) {
            Some(last) => HookPoint::Block(last, BlockHook::ResidPost),
            None => HookPoint::Embed,
        };
        let norm = [HookPoint::LnFinalScale, HookPoint::LnFinalNormalized];
        let mut gradient = self.ln_final.backward(&kept.get(end)?, gradient, norm, hooks)?;
        for block in self.blocks.iter().rev() {
            hooks.entering(block.number)?;
            gradient = block.backward(gradient, kept, schema, hooks)?;
        }
        hooks.at(HookPoint::Embed, gradient)?;
        Ok(())
    }

    /// Only the gradients at a block's scores and pattern, from the gradient at its `hook_z`, `[batch, pos, head,
    /// d_head]`.
    ///
    /// # Errors
    /// An activation that the run did not keep, tensor errors.
    pub fn squares_backward(
        &self,
        block: usize,
        of_z: &Tensor,
        run: &ActivationCache,
        hooks: &mut dyn GradientHooks,
    ) -> Result<()> {
        self.blocks[block].attn.squares_backward(of_z, Kept(run), hooks)
    }
}

impl LayerNorm {
    /// From the gradient with respect to the norm's output after its edits to the one with respect to its input `x`;
    /// both f32.
    ///
    /// # Shapes
    /// `x` and `gradient`: `[batch, pos, d_model]` or `[batch, pos, head, d_model]`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        gradient: Tensor,
        [scale, normalized]: [HookPoint; 2],
        hooks: &mut dyn GradientHooks,
    ) -> Result<Tensor> {
        let gradient = self.scaled(hooks.at(normalized, gradient)?)?;
        let own = kernels::scale(x, self.eps)?;
        let divisor = hooks.again(scale, own.clone())?;
        let of_own = hooks.at(scale, kernels::scale_gradient(x, &divisor, &gradient)?)?;
        Ok(kernels::norm_gradient(x, [&divisor, &own, &of_own], &gradient)?)
    }

    /// The same for readers that each have their own copy of the norm, from one input `x` `[1, pos, d_model]`; no hooks
    /// are called.
    ///
    /// # Shapes
    /// `gradient` and the result: `[reader, pos, d_model]`.
    pub(super) fn backward_aside(
        &self,
        x: &Tensor,
        gradient: Tensor,
        [scale, normalized]: [HookPoint; 2],
        hooks: &dyn GradientHooks,
    ) -> Result<Tensor> {
        let readers = gradient.dim(0)?;
        let for_each = |t: &Tensor| with_rows(t, readers)?.contiguous();
        let gradient = self.scaled(hooks.pull(normalized, gradient)?)?;
        let own = kernels::scale(x, self.eps)?;
        let divisor = for_each(&hooks.again(scale, own.clone())?)?;
        let (x, own) = (for_each(x)?, for_each(&own)?);
        let of_own = hooks.pull(scale, kernels::scale_gradient(&x, &divisor, &gradient)?)?;
        Ok(kernels::norm_gradient(&x, [&divisor, &own, &of_own], &gradient)?)
    }

    /// Backpropagate through the norm's weight, if it was not folded.
    fn scaled(&self, gradient: Tensor) -> candle_core::Result<Tensor> {
        match &self.affine {
            Some(Affine { weight, .. }) => gradient.broadcast_mul(&weight.to_dtype(DType::F32)?),
            None => Ok(gradient),
        }
    }
}
