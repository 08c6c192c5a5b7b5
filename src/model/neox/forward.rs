//! The hooked forward pass of GPT-NeoX (Black et al., "GPT-NeoX-20B", 2022), in execution order.
//!
//! Shapes are written with axis names; every activation has a leading `batch` axis. Hook points fire where
//! TransformerLens 2.18.0 fires them and see the same values.

use candle_core::{DType, Device, Tensor};

use super::{
    Config, PassError, Start, attention,
    block::{Block, LayerNorm},
    rotary::Rotary,
    weights::{self, Affine, Processing, Weights},
};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, RunError, Schema},
    model::{
        ModelError, Placement,
        checkpoint::Checkpoint,
        kernels::{self, Linear},
    },
};

type Result<T> = std::result::Result<T, RunError>;

/// A GPT-NeoX model with hooks at TransformerLens's hook points.
pub struct Model {
    pub config: Config,
    pub processing: Processing,
    pub device: Device,
    /// Of weights, and of most activations: see [`Self::dtype_at`].
    pub dtype: DType,
    embed: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    unembed: Linear,
}

impl Model {
    /// The model, and what its checkpoint holds besides.
    pub(in crate::model) fn new(
        config: Config,
        checkpoint: &Checkpoint<'_>,
        processing: Processing,
        place: Placement,
    ) -> std::result::Result<(Self, Vec<String>), ModelError> {
        let notes = weights::check(checkpoint, &config)?;
        let Weights { embed, blocks, ln_final, unembed } = Weights::load(checkpoint, &config, processing, &place)?;
        let Placement { device, dtype } = place;
        let rotary = std::sync::Arc::new(Rotary::new(&config, dtype, &device)?);
        let blocks = blocks.into_iter().enumerate().map(|(i, w)| Block::new(i, w, &config, &rotary)).collect();
        let ln_final = LayerNorm { affine: ln_final, eps: config.layer_norm_eps };
        Ok((Self { config, processing, device, dtype, embed, blocks, ln_final, unembed }, notes))
    }

    /// Run from `start` to the logits, showing every activation to `hooks` and going on with what it returns.
    ///
    /// # Shapes
    /// Returns logits `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn forward(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.unembed(&self.normalized(start, schema, hooks)?)?)
    }

    /// As [`Self::forward`], but as far as what the unembedding reads: the output of the final LayerNorm.
    ///
    /// # Shapes
    /// Returns `[batch, pos, d_model]`.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn normalized(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.pass(start, schema, hooks, false)?)
    }

    /// The logits of what [`Self::normalized`] gives.
    ///
    /// # Shapes
    /// `normalized`: `[batch, pos, d_model]`; returns `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn unembed(&self, normalized: &Tensor) -> candle_core::Result<Tensor> {
        self.unembed.forward(normalized)
    }

    /// As [`Self::forward`], for the logits after the last position alone: what only other positions need is left out, as
    /// far as `hooks` watches nothing there.
    ///
    /// # Shapes
    /// Returns logits `[batch, 1, vocab]`; the batch is 1 as long as no row was edited.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn forward_last(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.unembed(&self.pass(start, schema, hooks, true)?)?)
    }

    /// What the unembedding reads at every position, as [`Self::normalized`], or with `last` at the last one alone, as
    /// [`Self::forward_last`].
    ///
    /// # Shapes
    /// Returns `[batch, pos, d_model]`, or `[batch, 1, d_model]` with `last`.
    ///
    /// # Errors
    /// [`PassError::NotCausal`] where a pass with a past has to be run again from the first position; whatever `hooks` refuses,
    /// and tensor errors.
    pub(crate) fn pass(
        &self,
        start: Start<'_>,
        schema: &Schema,
        hooks: &mut dyn Hooks,
        last: bool,
    ) -> std::result::Result<Tensor, PassError> {
        let (first, mut resid, past) = match start {
            Start::Tokens(rows) => (0, self.embed(rows, schema, hooks)?, None),
            Start::Residual { block, stream, past } => (block, stream, past),
        };
        let end = [HookPoint::LnFinalScale, HookPoint::LnFinalNormalized].iter().any(|point| hooks.watches(*point));
        for block in &self.blocks[first.min(self.blocks.len())..] {
            hooks.entering(block.number)?;
            let watched = || BlockHook::ALL.iter().any(|hook| hooks.watches(block.point(*hook)));
            resid = match last && !end && block.number + 1 == self.blocks.len() && !watched() {
                true => block.forward_last(&resid, past)?,
                false => block.forward(&resid, schema, hooks, past)?,
            };
        }
        hooks.entering(self.blocks.len())?;
        let at_end = |x: Tensor| if last { x.narrow(1, x.dim(1)? - 1, 1) } else { Ok(x) };
        if !end {
            resid = at_end(resid)?;
        }
        let normalized = self.ln_final.forward(&resid, HookPoint::LnFinalScale, HookPoint::LnFinalNormalized, hooks)?;
        Ok(at_end(normalized)?)
    }

    /// The bytes of the weights.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let values = super::structure::parameters(&self.config).into_iter();
        let values: u64 = values.map(|(_, shape)| shape.into_iter().map(|n| n as u64).product::<u64>()).sum();
        values * self.dtype.size_in_bytes() as u64
    }

    /// Where it lies, and in which type.
    #[must_use]
    pub fn place(&self) -> Placement {
        Placement { device: self.device.clone(), dtype: self.dtype }
    }

    /// The type of the activation at a hook point. As in TransformerLens, LayerNorm, scores and patterns are computed in f32
    /// also where the model has 16 bits.
    #[must_use]
    pub fn dtype_at(&self, point: HookPoint) -> DType {
        use BlockHook::{AttnScores, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, Pattern};
        match point {
            HookPoint::Tokens => DType::U32,
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => DType::F32,
            HookPoint::Block(_, Ln1Scale | Ln1Normalized | Ln2Scale | Ln2Normalized | AttnScores | Pattern) => {
                DType::F32
            }
            _ => self.dtype,
        }
    }

    /// Whether what is computed for some positions alone equals to the bit what a whole pass computes there. Where it does
    /// not (on another device, or a processor without vector instructions), an edit that changes nothing could seem to.
    #[must_use]
    pub fn is_exact_by_position(&self) -> bool {
        kernels::here(&self.embed)
    }

    /// Each head's contribution to the residual stream: `hook_result` from `hook_z`.
    ///
    /// # Shapes
    /// `z`: `[batch, pos, head, d_head]`; returns `[batch, pos, head, d_model]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn head_results(&self, block: usize, z: &Tensor) -> Result<Tensor> {
        Ok(self.blocks[block].attn.results(z)?)
    }

    /// `hook_attn_scores` from `hook_rot_q` and `hook_rot_k`, of all heads or of some.
    ///
    /// # Shapes
    /// `rot_q` and `rot_k`: `[batch, pos, head, d_head]`; returns `[batch, head, query, key]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn attn_scores(&self, rot_q: &Tensor, rot_k: &Tensor) -> Result<Tensor> {
        Ok(attention::scores(rot_q, rot_k)?)
    }

    /// `hook_pattern` from `hook_attn_scores`; a query whose scores are all -inf has no softmax: its row is 0.
    ///
    /// # Shapes
    /// Both `[batch, head, query, key]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn pattern(&self, scores: &Tensor) -> Result<Tensor> {
        Ok(kernels::softmax(scores)?.0)
    }

    /// The direction along which a token's logit reads the final LayerNorm's centred and divided input, that norm's
    /// weight in it if it was not folded; and what the logit has without any input: the biases. In f32.
    ///
    /// # Shapes
    /// The direction is `[d_model]`.
    ///
    /// # Errors
    /// Tensor errors, an id outside the vocabulary among them.
    pub fn logit_direction(&self, token: u32) -> candle_core::Result<(Tensor, f64)> {
        let at = token as usize;
        let scalar = |t: Tensor| t.to_dtype(DType::F32)?.to_scalar::<f32>().map(f64::from);
        let mut direction = self.unembed.row(at)?.to_dtype(DType::F32)?;
        let mut constant = self.unembed.bias.as_ref().map_or(Ok(0.0), |bias| scalar(bias.get(at)?))?;
        if let Some(Affine { weight, bias }) = &self.ln_final.affine {
            constant += scalar((&direction * bias.to_dtype(DType::F32)?)?.sum_all()?)?;
            direction = (direction * weight.to_dtype(DType::F32)?)?;
        }
        Ok((direction, constant))
    }

    /// What a direction of the residual stream reads of each head's `hook_z`, and of `b_O`.
    ///
    /// # Shapes
    /// `direction`: `[d_model]`, f32; returns `[head * d_head]` and a scalar.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn through_output(&self, block: usize, direction: &Tensor) -> candle_core::Result<(Tensor, f64)> {
        let out = &self.blocks[block].attn.out;
        let along = direction.unsqueeze(0)?.matmul(&out.weight()?.to_dtype(DType::F32)?)?.squeeze(0)?;
        let bias = match &out.bias {
            Some(bias) => (bias.to_dtype(DType::F32)? * direction)?.sum_all()?.to_scalar::<f32>()?,
            None => 0.0,
        };
        Ok((along, bias.into()))
    }

    fn embed(&self, rows: &[Vec<u32>], schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let n_pos = rows.first().map_or(0, Vec::len);
        let mut tokens = Tensor::from_vec(rows.concat(), (rows.len(), n_pos), &self.device)?;
        if schema.is_enabled(HookPoint::Tokens) {
            tokens = hooks.at(HookPoint::Tokens, tokens)?;
        }
        let embedded = self.embed.index_select(&tokens.flatten_all()?, 0)?.reshape((rows.len(), n_pos, ()))?;
        hooks.at(HookPoint::Embed, embedded)
    }
}
