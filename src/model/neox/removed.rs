//! What processing takes out of a model, kept so that unprocessed activations can be computed from processed ones.

use candle_core::{DType, Result, Tensor};

use crate::model::Placement;

/// A LayerNorm's weight and bias, each `[d_model]`.
#[derive(Clone)]
pub(super) struct Affine {
    pub weight: Tensor,
    pub bias: Tensor,
}

/// The mean that something writes to the residual stream (or to the logits), as a function of its input: what centring removed.
pub(super) struct Written {
    /// `[in]`, f32
    weight: Tensor,
    bias: f64,
}

impl Written {
    pub(super) fn new(weight: Vec<f32>, bias: f32, place: &Placement) -> Result<Self> {
        Ok(Self { weight: wide(weight, place)?, bias: bias.into() })
    }

    /// # Shapes
    /// `input`: `[..., in]`; returns `[..., 1]`, f32.
    pub(super) fn mean(&self, input: &Tensor) -> Result<Tensor> {
        let shape: Vec<usize> = input.dims().iter().rev().skip(1).rev().copied().chain([1]).collect();
        let rows = input.to_dtype(DType::F32)?.contiguous()?.reshape(((), self.weight.dim(0)?))?;
        (rows.matmul(&self.weight.unsqueeze(1)?)? + self.bias)?.reshape(shape)
    }

    /// From the gradient with respect to the mean to that with respect to the input.
    ///
    /// # Shapes
    /// `gradient`: `[..., 1]`, f32; returns `[..., in]`.
    pub(super) fn mean_backward(&self, gradient: &Tensor) -> Result<Tensor> {
        gradient.broadcast_mul(&self.weight)
    }

    /// The same for [`Self::mean_by_head`].
    ///
    /// # Shapes
    /// `gradient`: `[batch, pos, head, 1]`, f32; returns `[batch, pos, head, d_head]`.
    pub(super) fn mean_by_head_backward(&self, gradient: &Tensor) -> Result<Tensor> {
        let heads = gradient.dim(2)?;
        gradient.broadcast_mul(&self.weight.reshape((1, 1, heads, ()))?)
    }

    /// The part of the mean that each head gives, without the bias.
    ///
    /// # Shapes
    /// `z`: `[batch, pos, head, d_head]`; returns `[batch, pos, head, 1]`, f32.
    pub(super) fn mean_by_head(&self, z: &Tensor) -> Result<Tensor> {
        let (_, _, heads, d_head) = z.dims4()?;
        let weight = self.weight.reshape((1, 1, heads, d_head))?;
        z.to_dtype(DType::F32)?.broadcast_mul(&weight)?.sum_keepdim(3)
    }
}

/// What processing took out of the whole model.
pub(super) struct Removed {
    /// The mean of each token's embedding, `[vocab]`, f32.
    pub embed: Tensor,
    pub ln_final: Affine,
    /// The mean logit, as a function of the final LayerNorm's centred and divided input.
    pub unembed: Written,
}

/// What processing took out of a block.
pub(super) struct RemovedOfBlock {
    pub ln1: Affine,
    pub ln2: Affine,
    /// What values have beside what they are without biases, `(head, d_head)`: `[d_model]`, f32.
    pub values: Tensor,
    /// Attention's mean, as a function of the unprocessed `hook_z`.
    pub attn: Written,
    /// The MLP's mean, as a function of `mlp.hook_post`.
    pub mlp: Written,
}

/// A vector in f32 on the model's device, whatever type its weights have.
pub(super) fn wide(values: Vec<f32>, place: &Placement) -> Result<Tensor> {
    Placement { dtype: DType::F32, ..place.clone() }.vector(values)
}
