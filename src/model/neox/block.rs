//! A transformer block: the norms, attention and MLP, in parallel or one after the other.

use candle_core::{DType, Tensor};

use super::{
    Activation, Config, PassError, Past,
    attention::Attention,
    paths::{INPUTS, received_by_head, received_whole, with_own},
    removed::{Affine, RemovedOfBlock},
    rotary::Rotary,
    weights::BlockWeights,
};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, Known, Received, RunError, Schema, reach},
    model::kernels::{self, Linear},
};

type Result<T> = std::result::Result<T, PassError>;

pub(super) struct Block {
    pub(super) number: usize,
    pub(super) ln1: LayerNorm,
    pub(super) attn: Attention,
    pub(super) ln2: LayerNorm,
    pub(super) mlp: Mlp,
    pub(super) parallel: bool,
    /// What processing took out; None without it.
    pub(super) removed: Option<RemovedOfBlock>,
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
        Self {
            number,
            ln1: norm(weights.ln1),
            attn,
            ln2: norm(weights.ln2),
            mlp,
            parallel: config.parallel,
            removed: weights.removed,
        }
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
        if let Some(Known::Returned(resid_post)) = hooks.known(self.point(BlockHook::ResidPost)) {
            return Ok(resid_post);
        }
        let resid_pre = reach!(hooks, self.point(BlockHook::ResidPre), resid.clone());

        let attn_out = reach!(hooks, self.point(BlockHook::AttnOut), {
            let qkv = self.qkv(&resid_pre, schema, hooks)?;
            self.attn.forward(qkv, schema, hooks, past)?
        });

        // A parallel block's MLP reads what attention read; a sequential one's reads what attention wrote.
        let resid_mid = if self.parallel {
            resid_pre.clone()
        } else {
            reach!(hooks, self.point(BlockHook::ResidMid), kernels::add(&resid_pre, &attn_out)?)
        };
        let mlp_out = reach!(hooks, self.point(BlockHook::MlpOut), {
            let mlp_in = match schema.is_enabled(self.point(BlockHook::MlpIn)) {
                true => reach!(hooks, self.point(BlockHook::MlpIn), resid_mid.clone()),
                false => received_whole(self.point(BlockHook::MlpIn), &resid_mid, hooks)?,
            };
            let (scale, normalized) = (self.point(BlockHook::Ln2Scale), self.point(BlockHook::Ln2Normalized));
            let normalized = self.ln2.forward(&mlp_in, scale, normalized, hooks)?;
            self.mlp.forward(&normalized, hooks)?
        });

        Ok(reach!(
            hooks,
            self.point(BlockHook::ResidPost),
            match self.parallel {
                true => kernels::add(&kernels::add(&resid_pre, &attn_out)?, &mlp_out)?,
                false => kernels::add(&resid_mid, &mlp_out)?,
            }
        ))
    }

    /// The block's output at the last position only, if nothing watches its hooks: keys and values are needed at every
    /// position, the rest only at the last.
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

    /// Queries (`which` 0), keys (1) or values (2), where heads at which paths end use their own inputs although their
    /// hooks are off.
    ///
    /// # Shapes
    /// `part` and the result: `[batch, pos, head, d_head]`; `stream`: `[batch, pos, d_model]`.
    pub(super) fn with_paths(
        &self,
        part: &Tensor,
        which: usize,
        stream: &Tensor,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let norm = [BlockHook::Ln1Scale, BlockHook::Ln1Normalized].map(|hook| self.point(hook));
        let mut own = vec![];
        for Received { row, head, input } in hooks.received(self.point(INPUTS[which]), stream)? {
            let Some(head) = head else { continue };
            let x = self.ln1.aside(&input, row, norm, hooks)?;
            own.push((row, Some(head), self.attn.project_head(&x, which, head)?));
        }
        Ok(with_own(part, own)?)
    }

    /// ln1, the projections, and queries, keys and values `[batch, pos, head, d_head]` as their hooks return them.
    ///
    /// With `hook_attn_in` or a split input on, ln1 and the projections read a copy of the residual stream for each head.
    fn qkv(&self, resid_pre: &Tensor, schema: &Schema, hooks: &mut dyn Hooks) -> Result<[Tensor; 3]> {
        let (scale, normalized) = (self.point(BlockHook::Ln1Scale), self.point(BlockHook::Ln1Normalized));
        let own = [BlockHook::Q, BlockHook::K, BlockHook::V].map(|hook| self.point(hook));
        if !schema.ln1_per_head(self.number) {
            let x = self.ln1.forward(resid_pre, scale, normalized, hooks)?;
            let mut part = |which: usize| -> Result<Tensor> {
                Ok(reach!(hooks, own[which], {
                    self.with_paths(&self.attn.part(which, &x)?, which, resid_pre, hooks)?
                }))
            };
            return Ok([part(0)?, part(1)?, part(2)?]);
        }
        let on = |hook| schema.is_enabled(self.point(hook));
        let (batch, n_pos, d_model) = resid_pre.dims3()?;
        let copies = resid_pre.unsqueeze(2)?.broadcast_as((batch, n_pos, self.attn.n_heads, d_model))?.contiguous()?;
        let attn_in = match on(BlockHook::AttnIn) {
            true => reach!(hooks, self.point(BlockHook::AttnIn), copies.clone()),
            false => copies.clone(),
        };
        let inputs = if schema.is_split(self.number) {
            // split inputs are copies of the residual stream, not of attn_in
            let mut input = |hook| -> Result<Tensor> {
                Ok(match on(hook) {
                    true => reach!(hooks, self.point(hook), copies.clone()),
                    false => received_by_head(self.point(hook), resid_pre, &copies, hooks)?,
                })
            };
            let [q, k, v] = [input(BlockHook::QInput)?, input(BlockHook::KInput)?, input(BlockHook::VInput)?];
            // ln1 runs on each input; what the cache keeps of it is the last, the values', as in the reference.
            let mut norm = |x: &Tensor| self.ln1.forward(x, scale, normalized, hooks);
            [norm(&q)?, norm(&k)?, norm(&v)?]
        } else {
            let x = self.ln1.forward(&attn_in, scale, normalized, hooks)?;
            [x.clone(), x.clone(), x]
        };
        let mut part = |which: usize| -> Result<Tensor> {
            Ok(reach!(hooks, own[which], self.attn.project_heads(&inputs[which], which)?))
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }
}

/// LayerNorm (Ba et al., 2016), with a hook on its divisor and one on its output.
pub(super) struct LayerNorm {
    /// None if processing folded weight and bias into the norm's readers.
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
        let divisor = reach!(hooks, scale, kernels::scale(&x, self.eps)?);
        let out = reach!(hooks, normalized, self.weighted(kernels::normalize(&x, &divisor)?)?);
        Ok(out.to_dtype(dtype)?)
    }

    /// The same for a reader beside the pass, in one row of the batch.
    ///
    /// # Shapes
    /// `x` and the result: `[1, pos, d_model]`.
    pub(super) fn aside(
        &self,
        x: &Tensor,
        row: usize,
        [scale, normalized]: [HookPoint; 2],
        hooks: &dyn Hooks,
    ) -> Result<Tensor> {
        let (dtype, x) = (x.dtype(), x.to_dtype(DType::F32)?);
        let divisor = hooks.aside(scale, row, kernels::scale(&x, self.eps)?)?;
        let out = self.weighted(kernels::normalize(&x, &divisor)?)?;
        Ok(hooks.aside(normalized, row, out)?.to_dtype(dtype)?)
    }

    /// Applies weight and bias, if they were not folded.
    fn weighted(&self, x: Tensor) -> candle_core::Result<Tensor> {
        let Some(Affine { weight, bias }) = &self.affine else { return Ok(x) };
        x.broadcast_mul(&weight.to_dtype(DType::F32)?)?.broadcast_add(&bias.to_dtype(DType::F32)?)
    }

    /// The same without hooks.
    pub(super) fn plain(&self, x: &Tensor) -> Result<Tensor> {
        // any two hook points do, since nothing watches
        self.forward(x, HookPoint::LnFinalScale, HookPoint::LnFinalNormalized, &mut Unwatched)
    }
}

/// Ignores every activation.
struct Unwatched;

impl Hooks for Unwatched {
    fn at(&mut self, _point: HookPoint, value: Tensor) -> std::result::Result<Tensor, RunError> {
        Ok(value)
    }
}

pub(super) struct Mlp {
    pub(super) block: usize,
    pub(super) w_in: Linear,
    pub(super) activation: &'static Activation,
    pub(super) w_out: Linear,
}

impl Mlp {
    fn forward(&self, x: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let pre = reach!(hooks, HookPoint::Block(self.block, BlockHook::MlpPre), self.w_in.forward(x)?);
        let post = reach!(hooks, HookPoint::Block(self.block, BlockHook::MlpPost), self.activation.apply(&pre)?);
        Ok(self.w_out.forward(&post)?)
    }
}
