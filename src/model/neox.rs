//! The hooked forward pass of GPT-NeoX (Black et al., "GPT-NeoX-20B", 2022), in execution order.
//!
//! Shapes are written with axis names; every activation has a leading `batch` axis. Hook points fire where
//! TransformerLens 2.18.0 fires them and see the same values.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{
    Config, ModelError,
    checkpoint::Checkpoint,
    rotary::Rotary,
    weights::{Affine, BlockWeights, Linear, Processing, Weights},
};
use crate::hooks::{BlockHook, EditError, HookPoint, Hooks, Schema};

type Result<T> = std::result::Result<T, EditError>;

/// Where a forward pass begins.
pub enum Start<'a> {
    /// Rows of token ids, all of one length.
    Tokens(&'a [Vec<u32>]),
    /// The residual stream `[batch, pos, d_model]` as it enters a block, before that block's `hook_resid_pre`; block
    /// number `n_layers` is the end of the last block.
    Residual { block: usize, stream: Tensor },
}

/// A GPT-NeoX model with hooks at TransformerLens's hook points.
pub struct Model {
    pub config: Config,
    pub processing: Processing,
    pub device: Device,
    embed: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    unembed: Linear,
}

impl Model {
    pub(super) fn new(
        config: Config,
        checkpoint: &Checkpoint,
        processing: Processing,
        device: Device,
    ) -> std::result::Result<Self, ModelError> {
        let Weights { embed, blocks, ln_final, unembed } = Weights::load(checkpoint, &config, processing, &device)?;
        let rotary = std::sync::Arc::new(Rotary::new(&config, &device)?);
        let blocks = blocks.into_iter().enumerate().map(|(i, w)| Block::new(i, w, &config, &rotary)).collect();
        let ln_final = LayerNorm { affine: ln_final, eps: config.layer_norm_eps };
        Ok(Self { config, processing, device, embed, blocks, ln_final, unembed })
    }

    /// Run from `start` to the logits, showing every activation to `hooks` and going on with what it returns.
    ///
    /// # Shapes
    /// Returns logits `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// Whatever `hooks` refuses, and tensor errors.
    pub fn forward(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        self.pass(start, schema, hooks, false)
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
        self.pass(start, schema, hooks, true)
    }

    fn pass(&self, start: Start<'_>, schema: &Schema, hooks: &mut dyn Hooks, last: bool) -> Result<Tensor> {
        let (first, mut resid) = match start {
            Start::Tokens(rows) => (0, self.embed(rows, schema, hooks)?),
            Start::Residual { block, stream } => (block, stream),
        };
        let end = [HookPoint::LnFinalScale, HookPoint::LnFinalNormalized].iter().any(|point| hooks.watches(*point));
        for block in &self.blocks[first.min(self.blocks.len())..] {
            hooks.entering(block.number)?;
            let watched = || BlockHook::ALL.iter().any(|hook| hooks.watches(block.point(*hook)));
            resid = match last && !end && block.number + 1 == self.blocks.len() && !watched() {
                true => block.forward_last(&resid)?,
                false => block.forward(&resid, schema, hooks)?,
            };
        }
        hooks.entering(self.blocks.len())?;
        let at_end = |x: Tensor| if last { x.narrow(1, x.dim(1)? - 1, 1) } else { Ok(x) };
        if !end {
            resid = at_end(resid)?;
        }
        let normalized = self.ln_final.forward(&resid, HookPoint::LnFinalScale, HookPoint::LnFinalNormalized, hooks)?;
        Ok(self.unembed.forward(&at_end(normalized)?)?)
    }

    /// Each head's contribution to the residual stream: `hook_result` from `hook_z`.
    ///
    /// # Shapes
    /// `z`: `[batch, pos, head, d_head]`; returns `[batch, pos, head, d_model]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn head_results(&self, block: usize, z: &Tensor) -> Result<Tensor> {
        self.blocks[block].attn.results(z)
    }

    /// The direction along which a token's logit reads the final LayerNorm's centred and divided input, that norm's
    /// weight in it if it was not folded; and what the logit has without any input: the biases.
    ///
    /// # Shapes
    /// The direction is `[d_model]`.
    ///
    /// # Errors
    /// Tensor errors, an id outside the vocabulary among them.
    pub fn logit_direction(&self, token: u32) -> candle_core::Result<(Tensor, f64)> {
        let at = token as usize;
        let scalar = |t: Tensor| t.to_dtype(DType::F32)?.to_scalar::<f32>().map(f64::from);
        let mut direction = self.unembed.weight.get(at)?;
        let mut constant = self.unembed.bias.as_ref().map_or(Ok(0.0), |bias| scalar(bias.get(at)?))?;
        if let Some(Affine { weight, bias }) = &self.ln_final.affine {
            constant += scalar((&direction * bias)?.sum_all()?)?;
            direction = (direction * weight)?;
        }
        Ok((direction, constant))
    }

    /// What a direction of the residual stream reads of each head's `hook_z`, and of `b_O`.
    ///
    /// # Shapes
    /// `direction`: `[d_model]`; returns `[head * d_head]` and a scalar.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn through_output(&self, block: usize, direction: &Tensor) -> candle_core::Result<(Tensor, f64)> {
        let Linear { weight, bias } = &self.blocks[block].attn.out;
        let along = direction.unsqueeze(0)?.matmul(weight)?.squeeze(0)?;
        let bias = match bias {
            Some(bias) => (bias * direction)?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?,
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

struct Block {
    number: usize,
    ln1: LayerNorm,
    attn: Attention,
    ln2: LayerNorm,
    mlp: Mlp,
    parallel: bool,
}

impl Block {
    fn new(number: usize, weights: BlockWeights, config: &Config, rotary: &std::sync::Arc<Rotary>) -> Self {
        let norm = |affine| LayerNorm { affine, eps: config.layer_norm_eps };
        let attn = Attention {
            block: number,
            qkv: weights.qkv,
            out: weights.attn_out,
            rotary: rotary.clone(),
            n_heads: config.n_heads,
            d_head: config.d_head,
        };
        let mlp = Mlp { block: number, w_in: weights.mlp_in, w_out: weights.mlp_out };
        Self { number, ln1: norm(weights.ln1), attn, ln2: norm(weights.ln2), mlp, parallel: config.parallel }
    }

    fn point(&self, hook: BlockHook) -> HookPoint {
        HookPoint::Block(self.number, hook)
    }

    fn forward(&self, resid: &Tensor, schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let resid_pre = hooks.at(self.point(BlockHook::ResidPre), resid.clone())?;

        let qkv = self.qkv(&resid_pre, schema, hooks)?;
        let attn_out = self.attn.forward(qkv, schema, hooks)?;
        let attn_out = hooks.at(self.point(BlockHook::AttnOut), attn_out)?;

        // A parallel block's MLP reads what attention read; a sequential one's reads what attention wrote.
        let resid_mid = match self.parallel {
            true => resid_pre.clone(),
            false => hooks.at(self.point(BlockHook::ResidMid), add(&resid_pre, &attn_out)?)?,
        };
        let mlp_in = match schema.is_enabled(self.point(BlockHook::MlpIn)) {
            true => hooks.at(self.point(BlockHook::MlpIn), resid_mid.clone())?,
            false => resid_mid.clone(),
        };
        let normalized =
            self.ln2.forward(&mlp_in, self.point(BlockHook::Ln2Scale), self.point(BlockHook::Ln2Normalized), hooks)?;
        let mlp_out = self.mlp.forward(&normalized, hooks)?;
        let mlp_out = hooks.at(self.point(BlockHook::MlpOut), mlp_out)?;

        let resid_post = match self.parallel {
            true => add(&add(&resid_pre, &attn_out)?, &mlp_out)?,
            false => add(&resid_mid, &mlp_out)?,
        };
        hooks.at(self.point(BlockHook::ResidPost), resid_post)
    }

    /// The block's output at the last position alone, of a block whose hooks nobody watches: keys and values are needed of
    /// every position, the rest of the last.
    fn forward_last(&self, resid: &Tensor) -> Result<Tensor> {
        let at_end = resid.narrow(1, resid.dim(1)? - 1, 1)?.contiguous()?;
        let attn_out = self.attn.forward_last(&self.ln1.plain(resid)?)?;
        let resid_mid = if self.parallel { at_end.clone() } else { (&at_end + &attn_out)? };
        let post = self.mlp.w_in.forward(&self.ln2.plain(&resid_mid)?)?.gelu_erf()?;
        let mlp_out = self.mlp.w_out.forward(&post)?;
        Ok(match self.parallel {
            true => ((at_end + attn_out)? + mlp_out)?,
            false => (resid_mid + mlp_out)?,
        })
    }

    /// ln1 and the projections to queries, keys and values, each `[batch, pos, head, d_head]`, before their hooks.
    ///
    /// With `hook_attn_in` or a split input on, ln1 and the projections read a copy of the residual stream for each head.
    fn qkv(&self, resid_pre: &Tensor, schema: &Schema, hooks: &mut dyn Hooks) -> Result<[Tensor; 3]> {
        let (scale, normalized) = (self.point(BlockHook::Ln1Scale), self.point(BlockHook::Ln1Normalized));
        if !schema.ln1_per_head(self.number) {
            let normalized = self.ln1.forward(resid_pre, scale, normalized, hooks)?;
            return self.attn.project(&normalized);
        }
        let on = |hook| schema.is_enabled(self.point(hook));
        let (batch, n_pos, d_model) = resid_pre.dims3()?;
        let copies = resid_pre.unsqueeze(2)?.broadcast_as((batch, n_pos, self.attn.n_heads, d_model))?.contiguous()?;
        let attn_in = match on(BlockHook::AttnIn) {
            true => hooks.at(self.point(BlockHook::AttnIn), copies.clone())?,
            false => copies.clone(),
        };
        if !schema.is_split(self.number) {
            let x = self.ln1.forward(&attn_in, scale, normalized, hooks)?;
            return Ok([
                self.attn.project_heads(&x, 0)?,
                self.attn.project_heads(&x, 1)?,
                self.attn.project_heads(&x, 2)?,
            ]);
        }
        // split inputs are copies of the residual stream, not of attn_in
        let mut input = |hook| match on(hook) {
            true => hooks.at(self.point(hook), copies.clone()),
            false => Ok(copies.clone()),
        };
        let (q, k, v) = (input(BlockHook::QInput)?, input(BlockHook::KInput)?, input(BlockHook::VInput)?);
        // ln1 runs on each input; what the cache keeps of it is the last, the values', as in the reference.
        let q = self.ln1.forward(&q, scale, normalized, hooks)?;
        let k = self.ln1.forward(&k, scale, normalized, hooks)?;
        let v = self.ln1.forward(&v, scale, normalized, hooks)?;
        Ok([self.attn.project_heads(&q, 0)?, self.attn.project_heads(&k, 1)?, self.attn.project_heads(&v, 2)?])
    }
}

/// LayerNorm (Ba et al., 2016), with a hook on its divisor and one on its output.
struct LayerNorm {
    /// None where processing folded weight and bias into what reads the norm.
    affine: Option<Affine>,
    eps: f64,
}

impl LayerNorm {
    /// `x`: `[batch, pos, d_model]` or `[batch, pos, head, d_model]`.
    fn forward(&self, x: &Tensor, scale: HookPoint, normalized: HookPoint, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let divisor = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        let divisor = hooks.at(scale, divisor)?;
        let mut out = centred.broadcast_div(&divisor)?;
        if let Some(Affine { weight, bias }) = &self.affine {
            out = out.broadcast_mul(weight)?.broadcast_add(bias)?;
        }
        hooks.at(normalized, out)
    }

    /// The same without hooks.
    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        // any two hook points do: nobody watches
        self.forward(x, HookPoint::LnFinalScale, HookPoint::LnFinalNormalized, &mut Unwatched)
    }
}

/// Lets every activation pass.
struct Unwatched;

impl Hooks for Unwatched {
    fn at(&mut self, _point: HookPoint, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }
}

/// The sum of two streams, of which one may still be common to all rows of the batch.
fn add(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    if a.dims() == b.dims() { a + b } else { a.broadcast_add(b) }
}

/// `a` and `b` with as many rows: the one that is still common to all rows is repeated.
fn same_rows(a: Tensor, b: Tensor) -> candle_core::Result<(Tensor, Tensor)> {
    let rows = a.dim(0)?.max(b.dim(0)?);
    let repeat = |x: Tensor| -> candle_core::Result<Tensor> {
        if x.dim(0)? == rows {
            return Ok(x);
        }
        let mut shape = x.dims().to_vec();
        shape[0] = rows;
        x.broadcast_as(shape)?.contiguous()
    };
    Ok((repeat(a)?, repeat(b)?))
}

struct Attention {
    block: usize,
    /// Rows `(q|k|v, head, d_head)`.
    qkv: Linear,
    out: Linear,
    rotary: std::sync::Arc<Rotary>,
    n_heads: usize,
    d_head: usize,
}

impl Attention {
    fn forward(&self, [q, k, v]: [Tensor; 3], schema: &Schema, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let point = |hook| HookPoint::Block(self.block, hook);
        let q = hooks.at(point(BlockHook::Q), q)?;
        let k = hooks.at(point(BlockHook::K), k)?;
        let v = hooks.at(point(BlockHook::V), v)?;
        let q = hooks.at(point(BlockHook::RotQ), self.rotary.apply(&q, 0)?)?;
        let k = hooks.at(point(BlockHook::RotK), self.rotary.apply(&k, 0)?)?;

        let by_head = |x: &Tensor| x.transpose(1, 2)?.contiguous();
        #[allow(clippy::cast_precision_loss, reason = "d_head is small")]
        let root = (self.d_head as f64).sqrt();
        let (q, k) = same_rows(by_head(&q)?, by_head(&k)?)?;
        let scores = (q.matmul(&k.transpose(2, 3)?)? / root)?;
        let scores = hooks.at(point(BlockHook::AttnScores), mask_future(&scores)?)?;

        let pattern = softmax_last_dim(&scores.contiguous()?)?;
        let pattern = self.undefined_to_zero(pattern, hooks)?;
        let pattern = hooks.at(point(BlockHook::Pattern), pattern)?;

        let (pattern, v) = same_rows(pattern.contiguous()?, by_head(&v)?)?;
        let z = pattern.matmul(&v)?.transpose(1, 2)?.contiguous()?;
        let z = hooks.at(point(BlockHook::Z), z)?;
        if schema.is_enabled(point(BlockHook::Result)) {
            let result = hooks.at(point(BlockHook::Result), self.results(&z)?)?;
            let sum = result.sum(2)?;
            return Ok(match &self.out.bias {
                Some(bias) => sum.broadcast_add(bias)?,
                None => sum,
            });
        }
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// Attention's output at the last position alone, of `x` `[batch, pos, d_model]`; no hooks.
    fn forward_last(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, n_pos, d_model) = x.dims3()?;
        let rows = |first: usize, count: usize| -> candle_core::Result<Linear> {
            let bias =
                self.qkv.bias.as_ref().map(|bias| bias.narrow(0, first * d_model, count * d_model)).transpose()?;
            Ok(Linear { weight: self.qkv.weight.narrow(0, first * d_model, count * d_model)?, bias })
        };
        let split = |x: Tensor, n: usize, parts: usize| x.reshape((batch, n, parts, self.n_heads, self.d_head));
        let q = split(rows(0, 1)?.forward(&x.narrow(1, n_pos - 1, 1)?)?, 1, 1)?.squeeze(2)?.contiguous()?;
        let kv = split(rows(1, 2)?.forward(x)?, n_pos, 2)?;
        let part = |which| kv.narrow(2, which, 1)?.squeeze(2)?.contiguous();
        let (q, k) = (self.rotary.apply(&q, n_pos - 1)?, self.rotary.apply(&part(0)?, 0)?);
        let by_head = |x: &Tensor| x.transpose(1, 2)?.contiguous();
        #[allow(clippy::cast_precision_loss, reason = "d_head is small")]
        let root = (self.d_head as f64).sqrt();
        let scores = (by_head(&q)?.matmul(&by_head(&k)?.transpose(2, 3)?)? / root)?;
        let pattern = self.undefined_to_zero(softmax_last_dim(&scores.contiguous()?)?, &mut Unwatched)?;
        let z = pattern.contiguous()?.matmul(&by_head(&part(1)?)?)?.transpose(1, 2)?.contiguous()?;
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// Queries, keys and values of all heads from one input `[batch, pos, d_model]`.
    fn project(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let (batch, n_pos, d_model) = x.dims3()?;
        let all = self.qkv.forward(x)?.reshape((batch, n_pos, 3, self.n_heads, d_model / self.n_heads))?;
        let part = |which| all.narrow(2, which, 1)?.squeeze(2)?.contiguous();
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// One of q (0), k (1), v (2), from an input `[batch, pos, head, d_model]` of its own for each head.
    fn project_heads(&self, x: &Tensor, which: usize) -> Result<Tensor> {
        let (batch, _, heads, d_model) = x.dims4()?;
        let rows = heads * self.d_head;
        let weight = self.qkv.weight.narrow(0, which * rows, rows)?.reshape((1, heads, self.d_head, d_model))?;
        let weight = weight.transpose(2, 3)?.broadcast_as((batch, heads, d_model, self.d_head))?.contiguous()?;
        let projected = x.transpose(1, 2)?.contiguous()?.matmul(&weight)?.transpose(1, 2)?.contiguous()?;
        match &self.qkv.bias {
            Some(bias) => {
                let bias = bias.narrow(0, which * rows, rows)?.reshape((heads, self.d_head))?;
                Ok(projected.broadcast_add(&bias)?)
            }
            None => Ok(projected),
        }
    }

    /// `z · W_O` for each head: `[batch, pos, head, d_head]` to `[batch, pos, head, d_model]`.
    fn results(&self, z: &Tensor) -> Result<Tensor> {
        let (batch, _, heads, d_head) = z.dims4()?;
        let d_model = self.out.weight.dim(0)?;
        // W_O's columns are (head, d_head)
        let by_head = self.out.weight.reshape((d_model, heads, d_head))?.permute((1, 2, 0))?;
        let by_head = by_head.unsqueeze(0)?.broadcast_as((batch, heads, d_head, d_model))?.contiguous()?;
        Ok(z.transpose(1, 2)?.contiguous()?.matmul(&by_head)?.transpose(1, 2)?.contiguous()?)
    }

    /// A query whose scores are all -inf (only an edit can make one) has no softmax: its pattern row is 0.
    fn undefined_to_zero(&self, pattern: Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let undefined = pattern.ne(&pattern)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of rows")]
        let rows = undefined.max(D::Minus1)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? as usize;
        if rows == 0 {
            return Ok(pattern);
        }
        hooks.undefined_rows(self.block, rows);
        Ok(undefined.where_cond(&pattern.zeros_like()?, &pattern)?)
    }
}

/// Set the scores of keys after their query to -inf. `scores`: `[batch, head, query, key]`.
fn mask_future(scores: &Tensor) -> candle_core::Result<Tensor> {
    let (_, _, queries, keys) = scores.dims4()?;
    let future = (0..queries).flat_map(|query| (0..keys).map(move |key| u8::from(key > query)));
    let future = Tensor::from_iter(future, scores.device())?.reshape((queries, keys))?.broadcast_as(scores.shape())?;
    let masked =
        Tensor::new(f32::NEG_INFINITY, scores.device())?.to_dtype(scores.dtype())?.broadcast_as(scores.shape())?;
    future.where_cond(&masked, scores)
}

struct Mlp {
    block: usize,
    w_in: Linear,
    w_out: Linear,
}

impl Mlp {
    fn forward(&self, x: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let pre = hooks.at(HookPoint::Block(self.block, BlockHook::MlpPre), self.w_in.forward(x)?)?;
        let post = hooks.at(HookPoint::Block(self.block, BlockHook::MlpPost), pre.gelu_erf()?)?;
        Ok(self.w_out.forward(&post)?)
    }
}

impl Linear {
    /// `[batch, pos, in]` to `[batch, pos, out]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, n_pos, d_in) = x.dims3()?;
        let out = x.contiguous()?.reshape((batch * n_pos, d_in))?.matmul(&self.weight.t()?)?;
        let out = match &self.bias {
            Some(bias) => out.broadcast_add(bias)?,
            None => out,
        };
        out.reshape((batch, n_pos, ()))
    }
}
