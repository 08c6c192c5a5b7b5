//! The hooked forward pass of GPT-NeoX (Black et al., "GPT-NeoX-20B", 2022), in execution order.
//!
//! Shapes are written with axis names; every activation has a leading `batch` axis. Hook points fire where
//! TransformerLens 2.18.0 fires them and see the same values.

use candle_core::{DType, Device, Tensor};

use super::{
    Config, PassError, Start, attention,
    block::{Block, LayerNorm},
    removed::{Affine, Removed},
    rotary::Rotary,
    weights::{self, Processing, Weights},
};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, RunError, Schema, reach},
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
    /// The type of weights, and of most activations: see [`Self::dtype_at`].
    pub dtype: DType,
    embed: Tensor,
    pub(super) blocks: Vec<Block>,
    pub(super) ln_final: LayerNorm,
    pub(super) unembed: Linear,
    /// What processing took out; None without it.
    pub(super) removed: Option<Removed>,
}

impl Model {
    /// The model, and notes on what else its checkpoint contains.
    pub(in crate::model) fn new(
        config: Config,
        checkpoint: &Checkpoint<'_>,
        processing: Processing,
        place: Placement,
    ) -> std::result::Result<(Self, Vec<String>), ModelError> {
        let notes = weights::check(checkpoint, &config)?;
        let Weights { embed, blocks, ln_final, unembed, removed } =
            Weights::load(checkpoint, &config, processing, &place)?;
        let Placement { device, dtype } = place;
        let rotary = std::sync::Arc::new(Rotary::new(&config, dtype, &device)?);
        let blocks = blocks.into_iter().enumerate().map(|(i, w)| Block::new(i, w, &config, &rotary)).collect();
        let ln_final = LayerNorm { affine: ln_final, eps: config.layer_norm_eps };
        Ok((Self { config, processing, device, dtype, embed, blocks, ln_final, unembed, removed }, notes))
    }

    /// A model of this config without its weights, which describes activations and can't run.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn without_weights(config: Config, processing: Processing) -> std::result::Result<Self, ModelError> {
        let place = Placement::cpu();
        let embed = Tensor::zeros((0, config.d_model), place.dtype, &place.device)?;
        let unembed = Linear::new(vec![], config.d_model, None, &place)?;
        let ln_final = LayerNorm { affine: None, eps: config.layer_norm_eps };
        let Placement { device, dtype } = place;
        Ok(Self { config, processing, device, dtype, embed, blocks: vec![], ln_final, unembed, removed: None })
    }

    /// Whether it can run.
    #[must_use]
    pub fn has_weights(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Run from `start` to the logits, showing every activation to `hooks` and continuing with what it returns.
    ///
    /// # Shapes
    /// Returns logits `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn forward(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.unembed(&self.normalized(start, schema, hooks)?)?)
    }

    /// As [`Self::forward`], but only up to the unembedding's input: the output of the final LayerNorm.
    ///
    /// # Shapes
    /// Returns `[batch, pos, d_model]`.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn normalized(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.pass(start, schema, hooks, false)?)
    }

    /// The logits for the result of [`Self::normalized`].
    ///
    /// # Shapes
    /// `normalized`: `[batch, pos, d_model]`; returns `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn unembed(&self, normalized: &Tensor) -> candle_core::Result<Tensor> {
        self.unembed.forward(normalized)
    }

    /// The cross-entropy of each row's next token in nats; None on devices and in types where logits have to be computed for it.
    ///
    /// # Shapes
    /// `normalized`: `[rows, d_model]`; `next`: `[rows]`, ids of the vocabulary.
    ///
    /// # Errors
    /// Tensor errors.
    pub(crate) fn cross_entropy(&self, normalized: &Tensor, next: &[u32]) -> candle_core::Result<Option<Vec<f64>>> {
        self.unembed.cross_entropy(normalized, next)
    }

    /// As [`Self::forward`], for the logits after the last position only: what only other positions need is skipped, as
    /// far as `hooks` watches nothing there.
    ///
    /// # Shapes
    /// Returns logits `[batch, 1, vocab]`; the batch is 1 until a row is edited.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn forward_last(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        Ok(self.unembed(&self.pass(start, schema, hooks, true)?)?)
    }

    /// The unembedding's input at every position, as [`Self::normalized`] or, with `last`, at the last one only, as
    /// [`Self::forward_last`].
    ///
    /// # Shapes
    /// Returns `[batch, pos, d_model]`, or `[batch, 1, d_model]` with `last`.
    ///
    /// # Errors
    /// [`PassError::NotCausal`] if a pass with a past has to run again from the first position; whatever `hooks`
    /// refuses, and tensor errors.
    pub(crate) fn pass(
        &self,
        start: Start<'_>,
        schema: &Schema,
        hooks: &mut dyn Hooks,
        last: bool,
    ) -> std::result::Result<Tensor, PassError> {
        let (first, mut resid, past) = match start {
            Start::Tokens(rows) => (0, self.embed(rows, schema, hooks)?, None),
            Start::Next { rows, past } => (0, self.embed(rows, schema, hooks)?, Some(past)),
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

    /// The device and the type of the weights.
    #[must_use]
    pub fn place(&self) -> Placement {
        Placement { device: self.device.clone(), dtype: self.dtype }
    }

    /// The type of the activation at a hook point. As in TransformerLens, LayerNorm, scores and patterns are computed
    /// in f32 even if the model has 16 bits.
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

    /// `[vocab, d_model]`
    pub(super) fn embedding(&self) -> &Tensor {
        &self.embed
    }

    /// Whether results for some positions only are bitwise equal to those of a whole pass. If not (on another device,
    /// or a processor without vector instructions), an edit that changes nothing could seem to change something.
    #[must_use]
    pub fn is_exact_by_position(&self) -> bool {
        kernels::is_supported(&self.embed)
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

    /// `hook_attn_scores` from `hook_rot_q` and `hook_rot_k`, for all heads or some.
    ///
    /// # Shapes
    /// `rot_q` and `rot_k`: `[batch, pos, head, d_head]`; returns `[batch, head, query, key]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn attn_scores(&self, rot_q: &Tensor, rot_k: &Tensor) -> Result<Tensor> {
        Ok(attention::scores(rot_q, rot_k)?)
    }

    /// `hook_pattern` from `hook_attn_scores`; the row of a query whose scores are all -inf has no softmax, and becomes
    /// 0.
    ///
    /// # Shapes
    /// Both `[batch, head, query, key]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn pattern(&self, scores: &Tensor) -> Result<Tensor> {
        Ok(kernels::softmax(scores)?.0)
    }

    /// The direction along which a token's logit reads the final LayerNorm's centred and divided input, including that
    /// norm's weight if it was not folded; and the input-independent part of the logit, the biases. In f32.
    ///
    /// # Shapes
    /// The direction is `[d_model]`.
    ///
    /// # Errors
    /// Tensor errors, including an id outside the vocabulary.
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

    /// What a head's queries (`which` 0), keys (1) or values (2) read from parts of the stream at a position: through
    /// LayerNorm with this divisor, the projection and, except for values, the rotation of that position. After the
    /// parts comes the input-independent part: the norm's bias and the projection's.
    ///
    /// # Shapes
    /// `parts`: `[part, d_model]`, f32; returns `[part + 1, d_head]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn head_reads(
        &self,
        block: usize,
        which: usize,
        head: usize,
        pos: usize,
        scale: f64,
        parts: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let Block { ln1, attn, .. } = &self.blocks[block];
        let rows = head * attn.d_head..(head + 1) * attn.d_head;
        let weight = attn.qkv[which].rows(rows.clone())?.to_dtype(DType::F32)?;
        let mut parts = (parts.broadcast_sub(&parts.mean_keepdim(1)?)? / scale)?;
        let mut constant = Tensor::zeros((1, attn.d_head), DType::F32, &self.device)?;
        if let Some(Affine { weight: scales, bias }) = &ln1.affine {
            parts = parts.broadcast_mul(&scales.to_dtype(DType::F32)?)?;
            constant = bias.to_dtype(DType::F32)?.unsqueeze(0)?.matmul(&weight.t()?)?;
        }
        if let Some(bias) = &attn.qkv[which].bias {
            let bias = bias.narrow(0, rows.start, attn.d_head)?.to_dtype(DType::F32)?;
            constant = constant.broadcast_add(&bias)?;
        }
        let read = Tensor::cat(&[parts.matmul(&weight.t()?)?, constant], 0)?;
        if which == 2 {
            return Ok(read);
        }
        let n = read.dim(0)?;
        attn.rotary.apply_in_f32(&read.reshape((n, 1, 1, attn.d_head))?, pos)?.reshape((n, attn.d_head))
    }

    /// A block's `b_O`, `[d_model]`, in f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn output_bias(&self, block: usize) -> candle_core::Result<Option<Tensor>> {
        self.blocks[block].attn.out.bias.as_ref().map(|bias| bias.to_dtype(DType::F32)).transpose()
    }

    /// What a direction of the residual stream reads from each head's `hook_z`, and from `b_O`.
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

    /// A token's column of the unembedding, `W_U[:, token]`.
    ///
    /// # Errors
    /// Tensor errors, an id outside the vocabulary among them.
    pub fn token_unembedding(&self, token: u32) -> candle_core::Result<Tensor> {
        self.unembed.row(token as usize)
    }

    /// A token's embedding, `W_E[token]`.
    ///
    /// # Errors
    /// Tensor errors, an id outside the vocabulary among them.
    pub fn token_embedding(&self, token: u32) -> candle_core::Result<Tensor> {
        self.embed.get(token as usize)
    }

    fn embed(&self, rows: &[Vec<u32>], schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let n_pos = rows.first().map_or(0, Vec::len);
        let mut tokens = Tensor::from_vec(rows.concat(), (rows.len(), n_pos), &self.device)?;
        if schema.is_enabled(HookPoint::Tokens) {
            tokens = reach!(hooks, HookPoint::Tokens, tokens);
        }
        Ok(reach!(hooks, HookPoint::Embed, {
            self.embed.index_select(&tokens.flatten_all()?, 0)?.reshape((rows.len(), n_pos, ()))?
        }))
    }
}
