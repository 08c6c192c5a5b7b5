//! Attention, hook by hook.

use candle_core::{DType, Tensor};

use super::{PassError, Past, rotary::Rotary};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, Schema},
    model::kernels::{self, Linear},
};

type Result<T> = std::result::Result<T, PassError>;

pub(super) struct Attention {
    pub block: usize,
    /// To queries, keys and values; rows `(head, d_head)`.
    pub qkv: [Linear; 3],
    pub out: Linear,
    pub rotary: std::sync::Arc<Rotary>,
    pub n_heads: usize,
    pub d_head: usize,
}

impl Attention {
    pub(super) fn forward(
        &self,
        [q, k, v]: [Tensor; 3],
        schema: &Schema,
        hooks: &mut dyn Hooks,
        past: Option<Past<'_>>,
    ) -> Result<Tensor> {
        let from = past.map_or(0, |past| past.positions);
        let point = |hook| HookPoint::Block(self.block, hook);
        let q = hooks.at(point(BlockHook::Q), q)?;
        let k = hooks.at(point(BlockHook::K), k)?;
        let v = hooks.at(point(BlockHook::V), v)?;
        let q = hooks.at(point(BlockHook::RotQ), self.rotary.apply(&q, from)?)?;
        let k = hooks.at(point(BlockHook::RotK), self.rotary.apply(&k, from)?)?;
        let (k, v) = self.with_past(past, k, v)?;
        let squares = [point(BlockHook::AttnScores), point(BlockHook::Pattern)];
        let (z, undefined) = if squares.into_iter().any(|point| hooks.watches(point)) {
            let scores = hooks.at(point(BlockHook::AttnScores), scores(&q, &k)?)?;
            let (pattern, undefined) = kernels::softmax(&scores)?;
            let pattern = hooks.at(point(BlockHook::Pattern), pattern)?;
            (kernels::mix(&pattern.to_dtype(v.dtype())?, &v)?, undefined)
        } else {
            for point in squares {
                hooks.skipped(point);
            }
            attend(&q, &k, &v)?
        };
        // a query whose scores are all -inf (only an edit can make one) has no softmax: its row is 0
        if undefined > 0 {
            hooks.undefined_rows(self.block, undefined);
        }
        let z = hooks.at(point(BlockHook::Z), z)?;
        if schema.is_enabled(point(BlockHook::Result)) {
            let result = hooks.at(point(BlockHook::Result), self.results(&z)?)?;
            let sum = result.to_dtype(DType::F32)?.sum(2)?.to_dtype(result.dtype())?;
            return Ok(match &self.out.bias {
                Some(bias) => sum.broadcast_add(bias)?,
                None => sum,
            });
        }
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// Attention's output at the last position alone, of `x` `[batch, pos, d_model]`; no hooks.
    pub(super) fn forward_last(&self, x: &Tensor, past: Option<Past<'_>>) -> Result<Tensor> {
        let from = past.map_or(0, |past| past.positions);
        let last = x.dim(1)? - 1;
        let q = self.rotary.apply(&self.part(0, &x.narrow(1, last, 1)?)?, from + last)?;
        let k = self.rotary.apply(&self.part(1, x)?, from)?;
        let (k, v) = self.with_past(past, k, self.part(2, x)?)?;
        let (z, _) = attend(&q, &k, &v)?;
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// Keys and values with those of the earlier positions before them.
    fn with_past(&self, past: Option<Past<'_>>, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let Some(past) = past else { return Ok((k, v)) };
        // an earlier query's pattern is 0 at these keys, and 0 times a value is 0 only if that is finite
        if !v.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err(PassError::NotCausal);
        }
        let point = |hook| HookPoint::Block(self.block, hook);
        Ok((past.before(point(BlockHook::RotK), &k)?, past.before(point(BlockHook::V), &v)?))
    }

    /// Queries, keys and values of all heads from one input `[batch, pos, d_model]`.
    pub(super) fn project(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        Ok([self.part(0, x)?, self.part(1, x)?, self.part(2, x)?])
    }

    /// The projection to one of q (0), k (1), v (2): from `[batch, pos, d_model]` to `[batch, pos, head, d_head]`.
    fn part(&self, which: usize, x: &Tensor) -> Result<Tensor> {
        let (batch, n_pos, _) = x.dims3()?;
        Ok(self.qkv[which].forward(x)?.reshape((batch, n_pos, self.n_heads, self.d_head))?)
    }

    /// One of q (0), k (1), v (2), from an input `[batch, pos, head, d_model]` of its own for each head.
    pub(super) fn project_heads(&self, x: &Tensor, which: usize) -> Result<Tensor> {
        let (batch, _, heads, d_model) = x.dims4()?;
        let weight = self.qkv[which].weight()?.reshape((1, heads, self.d_head, d_model))?;
        let weight = weight.transpose(2, 3)?.broadcast_as((batch, heads, d_model, self.d_head))?.contiguous()?;
        let projected = x.transpose(1, 2)?.contiguous()?.matmul(&weight)?.transpose(1, 2)?.contiguous()?;
        match &self.qkv[which].bias {
            Some(bias) => Ok(projected.broadcast_add(&bias.reshape((heads, self.d_head))?)?),
            None => Ok(projected),
        }
    }

    /// `z · W_O` for each head: `[batch, pos, head, d_head]` to `[batch, pos, head, d_model]`.
    pub(super) fn results(&self, z: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, _, heads, d_head) = z.dims4()?;
        let weight = self.out.weight()?;
        let d_model = weight.dim(0)?;
        // W_O's columns are (head, d_head)
        let by_head = weight.reshape((d_model, heads, d_head))?.permute((1, 2, 0))?;
        let by_head = by_head.unsqueeze(0)?.broadcast_as((batch, heads, d_head, d_model))?.contiguous()?;
        z.transpose(1, 2)?.contiguous()?.matmul(&by_head)?.transpose(1, 2)?.contiguous()
    }
}

/// Attention without a look at scores and pattern; returns also how many queries had no softmax.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<(Tensor, usize)> {
    if v.dtype() == DType::F32 {
        return kernels::attend(q, k, v);
    }
    let (pattern, undefined) = kernels::softmax(&scores(q, k)?)?;
    Ok((kernels::mix(&pattern.to_dtype(v.dtype())?, v)?, undefined))
}

/// In f32 also where queries and keys have 16 bits, as TransformerLens computes them.
pub(super) fn scores(q: &Tensor, k: &Tensor) -> candle_core::Result<Tensor> {
    kernels::scores(&q.to_dtype(DType::F32)?, &k.to_dtype(DType::F32)?)
}
