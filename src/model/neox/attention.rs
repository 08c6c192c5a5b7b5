//! Attention, hook by hook.

use candle_core::{DType, Tensor};

use super::{PassError, Past, rotary::Rotary};
use crate::{
    hooks::{BlockHook, HookPoint, Hooks, Schema, reach},
    model::kernels::{self, Linear},
};

type Result<T> = std::result::Result<T, PassError>;

pub(super) struct Attention {
    pub block: usize,
    /// The projections to queries, keys and values; rows `(head, d_head)`.
    pub qkv: [Linear; 3],
    pub out: Linear,
    pub rotary: std::sync::Arc<Rotary>,
    pub n_heads: usize,
    pub d_head: usize,
}

impl Attention {
    /// From queries, keys and values as their hooks returned them to what the block writes, before its hook.
    pub(super) fn forward(
        &self,
        [q, k, v]: [Tensor; 3],
        schema: &Schema,
        hooks: &mut dyn Hooks,
        past: Option<Past<'_>>,
    ) -> Result<Tensor> {
        let from = past.map_or(0, |past| past.positions);
        let point = |hook| HookPoint::Block(self.block, hook);
        let q = reach!(hooks, point(BlockHook::RotQ), self.rotary.apply(&q, from)?);
        let k = reach!(hooks, point(BlockHook::RotK), self.rotary.apply(&k, from)?);
        let z = reach!(hooks, point(BlockHook::Z), self.mixed(&q, k, v, hooks, past)?);
        if schema.is_enabled(point(BlockHook::Result)) {
            let result = reach!(hooks, point(BlockHook::Result), self.results(&z)?);
            let sum = result.to_dtype(DType::F32)?.sum(2)?.to_dtype(result.dtype())?;
            return Ok(match &self.out.bias {
                Some(bias) => sum.broadcast_add(bias)?,
                None => sum,
            });
        }
        if hooks.sends(point(BlockHook::Result)) {
            hooks.sent(point(BlockHook::Result), self.results(&z)?);
        }
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// The values that each head sums by its pattern.
    fn mixed(&self, q: &Tensor, k: Tensor, v: Tensor, hooks: &mut dyn Hooks, past: Option<Past<'_>>) -> Result<Tensor> {
        let (k, v) = self.with_past(past, k, v)?;
        let squares = [BlockHook::AttnScores, BlockHook::Pattern].map(|hook| HookPoint::Block(self.block, hook));
        // a query whose scores are all -inf (only an edit can make one) has no softmax: its row is 0
        let undefined = |rows: usize, hooks: &mut dyn Hooks| {
            if rows > 0 {
                hooks.undefined_rows(self.block, rows);
            }
        };
        if squares.into_iter().any(|point| hooks.watches(point)) {
            let [scored, mixing] = squares;
            let scores = reach!(hooks, scored, scores(q, &k)?);
            let pattern = reach!(hooks, mixing, {
                let (pattern, rows) = kernels::softmax(&scores)?;
                undefined(rows, hooks);
                pattern
            });
            return Ok(kernels::weighted_values(&pattern.to_dtype(v.dtype())?, &v)?);
        }
        for point in squares {
            hooks.skipped(point);
        }
        let (z, rows) = attend(q, &k, &v)?;
        undefined(rows, hooks);
        Ok(z)
    }

    /// Attention's output at the last position only, from `x` `[batch, pos, d_model]`; no hooks.
    pub(super) fn forward_last(&self, x: &Tensor, past: Option<Past<'_>>) -> Result<Tensor> {
        let from = past.map_or(0, |past| past.positions);
        let last = x.dim(1)? - 1;
        let q = self.rotary.apply(&self.part(0, &x.narrow(1, last, 1)?)?, from + last)?;
        let k = self.rotary.apply(&self.part(1, x)?, from)?;
        let (k, v) = self.with_past(past, k, self.part(2, x)?)?;
        let (z, _) = attend(&q, &k, &v)?;
        Ok(self.out.forward(&z.flatten_from(2)?)?)
    }

    /// Prepend the keys and values of earlier positions.
    fn with_past(&self, past: Option<Past<'_>>, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let Some(past) = past else { return Ok((k, v)) };
        // an earlier query's pattern is 0 at these keys, and 0 times a value is 0 only if the value is finite
        if past.positions > 0 && !v.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err(PassError::NotCausal);
        }
        Ok((past.before(self.block, BlockHook::RotK, &k)?, past.before(self.block, BlockHook::V, &v)?))
    }

    /// The projection to one of q (0), k (1), v (2): from `[batch, pos, d_model]` to `[batch, pos, head, d_head]`.
    pub(super) fn part(&self, which: usize, x: &Tensor) -> Result<Tensor> {
        let (batch, n_pos, _) = x.dims3()?;
        Ok(self.qkv[which].forward(x)?.reshape((batch, n_pos, self.n_heads, self.d_head))?)
    }

    /// One of q (0), k (1), v (2), from a separate input for each head, `[batch, pos, head, d_model]`.
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

    /// One of q (0), k (1), v (2) of one head, from its own input: `[1, pos, d_model]` to `[1, pos, d_head]`.
    pub(super) fn project_head(&self, x: &Tensor, which: usize, head: usize) -> Result<Tensor> {
        let rows = head * self.d_head;
        let weight = self.qkv[which].rows(rows..rows + self.d_head)?;
        let projected = x.squeeze(0)?.matmul(&weight.t()?)?.unsqueeze(0)?;
        match &self.qkv[which].bias {
            Some(bias) => Ok(projected.broadcast_add(&bias.narrow(0, rows, self.d_head)?)?),
            None => Ok(projected),
        }
    }

    /// `z · W_O` for each head: `[batch, pos, head, d_head]` to `[batch, pos, head, d_model]`.
    pub(super) fn results(&self, z: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, _, heads, d_head) = z.dims4()?;
        let weight = self.out.weight()?.to_dtype(z.dtype())?;
        let d_model = weight.dim(0)?;
        // W_O's columns are (head, d_head)
        let by_head = weight.reshape((d_model, heads, d_head))?.permute((1, 2, 0))?;
        let by_head = by_head.unsqueeze(0)?.broadcast_as((batch, heads, d_head, d_model))?.contiguous()?;
        z.transpose(1, 2)?.contiguous()?.matmul(&by_head)?.transpose(1, 2)?.contiguous()
    }
}

/// Attention without keeping scores and pattern; also returns the number of queries without a softmax.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<(Tensor, usize)> {
    if v.dtype() == DType::F32 {
        return kernels::attend(q, k, v);
    }
    let (pattern, undefined) = kernels::softmax(&scores(q, k)?)?;
    Ok((kernels::weighted_values(&pattern.to_dtype(v.dtype())?, v)?, undefined))
}

/// In f32 even if queries and keys have 16 bits, as in TransformerLens.
pub(super) fn scores(q: &Tensor, k: &Tensor) -> candle_core::Result<Tensor> {
    kernels::scores(&q.to_dtype(DType::F32)?, &k.to_dtype(DType::F32)?)
}
