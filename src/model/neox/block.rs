//! A transformer block: the norms, attention and MLP, in parallel or one after the other.

use candle_core::{DType, Tensor};

use super::{
    Activation, Config, PassError, Past,
    attention::Attention,
    rotary::Rotary,
    weights::{Affine, BlockWeights},
};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, RunError, Schema},
    model::kernels::{self, Linear},
};

type Result<T> = std::result::Result<T, PassError>;

pub(super) struct Block {
    pub(super) number: usize,
    ln1: LayerNorm,
    pub(super) attn: Attention,
    ln2: LayerNorm,
    mlp: Mlp,
    parallel: bool,
}

impl Block {
    pub(super) fn new(number: usize, weights: BlockWeights, config: &Config, rotary: &std::sync::Arc<Rotary>) -> Self {
        let norm = |affine| LayerNorm { affine, eps: config.layer_norm_eps };
        let attn = Attention {
            block: number,
            qkv: weights.qkv,
            out: weights.attn_out,
            rotary: rotary.clone(),
            n_heads: config.n_heads,
            d_head: config.d_head,
        };
        let mlp = Mlp { block: number, w_in: weights.mlp_in, activation: config.activation, w_out: weights.mlp_out };
        Self { number, ln1: norm(weights.ln1), attn, ln2: norm(weights.ln2), mlp, parallel: config.parallel }
    }

    pub(super) fn point(&self, hook: BlockHook) -> HookPoint {
        HookPoint::Block(self.number, hook)
    }

    pub(super) fn forward(
        &self,
        resid: &Tensor,
        schema: &Schema,
        hooks: &mut dyn Hooks,
        past: Option<Past<'_>>,
    ) -> Result<Tensor> {
        let resid_pre = hooks.at(self.point(BlockHook::ResidPre), resid.clone())?;

        let qkv = self.qkv(&resid_pre, schema, hooks)?;
        let attn_out = self.attn.forward(qkv, schema, hooks, past)?;
        let attn_out = hooks.at(self.point(BlockHook::AttnOut), attn_out)?;

        // A parallel block's MLP reads what attention read; a sequential one's reads what attention wrote.
        let resid_mid = match self.parallel {
            true => resid_pre.clone(),
            false => hooks.at(self.point(BlockHook::ResidMid), kernels::add(&resid_pre, &attn_out)?)?,
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
            true => kernels::add(&kernels::add(&resid_pre, &attn_out)?, &mlp_out)?,
            false => kernels::add(&resid_mid, &mlp_out)?,
        };
        Ok(hooks.at(self.point(BlockHook::ResidPost), resid_post)?)
    }

    /// The block's output at the last position alone, of a block whose hooks nobody watches: keys and values are needed of
    /// every position, the rest of the last.
    pub(super) fn forward_last(&self, resid: &Tensor, past: Option<Past<'_>>) -> Result<Tensor> {
        let at_end = resid.narrow(1, resid.dim(1)? - 1, 1)?.contiguous()?;
        let attn_out = self.attn.forward_last(&self.ln1.plain(resid)?, past)?;
        let resid_mid = if self.parallel { at_end.clone() } else { (&at_end + &attn_out)? };
        let post = self.mlp.activation.apply(&self.mlp.w_in.forward(&self.ln2.plain(&resid_mid)?)?)?;
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
pub(super) struct LayerNorm {
    /// None where processing folded weight and bias into what reads the norm.
    pub(super) affine: Option<Affine>,
    pub(super) eps: f64,
}

impl LayerNorm {
    /// `x`: `[batch, pos, d_model]` or `[batch, pos, head, d_model]`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        scale: HookPoint,
        normalized: HookPoint,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let (dtype, x) = (x.dtype(), x.to_dtype(DType::F32)?);
        let divisor = hooks.at(scale, kernels::scale(&x, self.eps)?)?;
        let mut out = kernels::normalize(&x, &divisor)?;
        if let Some(Affine { weight, bias }) = &self.affine {
            out = out.broadcast_mul(&weight.to_dtype(DType::F32)?)?.broadcast_add(&bias.to_dtype(DType::F32)?)?;
        }
        Ok(hooks.at(normalized, out)?.to_dtype(dtype)?)
    }

    /// The same without hooks.
    pub(super) fn plain(&self, x: &Tensor) -> Result<Tensor> {
        // any two hook points do: nobody watches
        self.forward(x, HookPoint::LnFinalScale, HookPoint::LnFinalNormalized, &mut Unwatched)
    }
}

/// Lets every activation pass.
struct Unwatched;

impl Hooks for Unwatched {
    fn at(&mut self, _point: HookPoint, value: Tensor) -> std::result::Result<Tensor, RunError> {
        Ok(value)
    }
}

struct Mlp {
    block: usize,
    w_in: Linear,
    activation: &'static Activation,
    w_out: Linear,
}

impl Mlp {
    fn forward(&self, x: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let pre = hooks.at(HookPoint::Block(self.block, BlockHook::MlpPre), self.w_in.forward(x)?)?;
        let post = hooks.at(HookPoint::Block(self.block, BlockHook::MlpPost), self.activation.apply(&pre)?)?;
        Ok(self.w_out.forward(&post)?)
    }
}
