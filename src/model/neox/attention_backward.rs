//! Attention's backward pass, hook by hook.

use candle_core::Tensor;

use super::{
    attention::{Attention, scores},
    backward::{Kept, Result},
};
use crate::{
    hooks::{BlockHook, GradientHooks, HookPoint, Schema},
    model::kernels,
};

/// The inputs of attention, in f32: `[batch, pos, head, d_head]`.
struct Parts {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

/// Gradients with respect to rotated queries, rotated keys and values, in the same shape.
type OfParts = [Tensor; 3];

/// The most scores in memory at once if nothing watches them.
const SQUARES: usize = 1 << 22;

impl Attention {
    /// From the gradient with respect to attention's output to those with respect to queries, keys and values before
    /// their rotation.
    ///
    /// # Shapes
    /// `gradient`: `[batch, pos, d_model]`; returns `[batch, pos, head, d_head]` each.
    pub(super) fn backward(
        &self,
        gradient: &Tensor,
        kept: Kept<'_>,
        schema: &Schema,
        hooks: &mut dyn GradientHooks,
    ) -> Result<[Tensor; 3]> {
        let at = |hook| HookPoint::Block(self.block, hook);
        let (batch, n_pos, _) = gradient.dims3()?;
        let of_z = if schema.is_enabled(at(BlockHook::Result)) {
            let copies = gradient.unsqueeze(2)?.repeat((1, 1, self.n_heads, 1))?;
            self.results_backward(&hooks.at(at(BlockHook::Result), copies)?)?
        } else {
            self.out.backward(gradient)?.reshape((batch, n_pos, self.n_heads, self.d_head))?
        };
        let of_z = match hooks.brought_back(at(BlockHook::Result)) {
            Some(brought) => (of_z + self.results_backward(&brought)?)?,
            None => of_z,
        };
        let of_z = hooks.at(at(BlockHook::Z), of_z)?;
        let parts = self.parts(kept)?;
        let squares = [at(BlockHook::AttnScores), at(BlockHook::Pattern)];
        let [of_q, of_k, of_v] = if squares.into_iter().any(|point| hooks.watches(point)) {
            self.watched(&parts, &of_z, kept, hooks)?
        } else {
            for point in squares {
                hooks.skipped(point);
            }
            self.unwatched(&parts, &of_z, kept)?
        };
        let of_v = hooks.at(at(BlockHook::V), of_v)?;
        let of_q = self.rotary.backward(&hooks.at(at(BlockHook::RotQ), of_q)?)?;
        let of_k = self.rotary.backward(&hooks.at(at(BlockHook::RotK), of_k)?)?;
        Ok([hooks.at(at(BlockHook::Q), of_q)?, hooks.at(at(BlockHook::K), of_k)?, of_v])
    }

    /// Only the gradients at scores and pattern, from the gradient at `hook_z`.
    pub(super) fn squares_backward(&self, of_z: &Tensor, kept: Kept<'_>, hooks: &mut dyn GradientHooks) -> Result<()> {
        let of_z = hooks.pull(HookPoint::Block(self.block, BlockHook::Z), of_z.clone())?;
        self.squares(&self.parts(kept)?, &of_z, kept, hooks)?;
        Ok(())
    }

    /// The inputs of attention.
    fn parts(&self, kept: Kept<'_>) -> Result<Parts> {
        let part = |hook| kept.get(HookPoint::Block(self.block, hook));
        Ok(Parts { q: part(BlockHook::RotQ)?, k: part(BlockHook::RotK)?, v: part(BlockHook::V)? })
    }

    /// Backpropagate through scores and pattern of all heads at once, with their edits.
    fn watched(&self, parts: &Parts, of_z: &Tensor, kept: Kept<'_>, hooks: &mut dyn GradientHooks) -> Result<OfParts> {
        let (pattern, mut of_scores) = self.squares(parts, of_z, kept, hooks)?;
        let of_v = kernels::weighted_values(&turned(&pattern)?, of_z)?;
        if hooks.edits(HookPoint::Block(self.block, BlockHook::AttnScores)) {
            // a masked score is not a product, so a gradient that an edit sent there is dropped
            let (queries, keys) = (of_scores.dim(2)?, of_scores.dim(3)?);
            let seen = (0..queries).flat_map(|query| (0..keys).map(move |key| u8::from(key <= query)));
            let seen = Tensor::from_iter(seen, of_scores.device())?.reshape((queries, keys))?;
            let seen = seen.broadcast_as(of_scores.shape())?.contiguous()?;
            of_scores = seen.where_cond(&of_scores, &of_scores.zeros_like()?)?;
        }
        let [of_q, of_k] = parts.of_products(&of_scores)?;
        Ok([of_q, of_k, of_v])
    }

    /// The pattern with its edits, and the gradient with respect to scores before their edits; both `[batch, head,
    /// query, key]`.
    fn squares(
        &self,
        parts: &Parts,
        of_z: &Tensor,
        kept: Kept<'_>,
        hooks: &mut dyn GradientHooks,
    ) -> Result<(Tensor, Tensor)> {
        let (at_scores, at_pattern) =
            (HookPoint::Block(self.block, BlockHook::AttnScores), HookPoint::Block(self.block, BlockHook::Pattern));
        // the softmax's own output, and the pattern after its edits
        let own = match kept.get(at_pattern) {
            Ok(pattern) if !hooks.edits(at_pattern) => pattern,
            Ok(_) | Err(_) => {
                let scores = match kept.get(at_scores) {
                    Ok(scores) => scores,
                    Err(_) => hooks.again(at_scores, scores(&parts.q, &parts.k)?)?,
                };
                kernels::softmax(&scores)?.0
            }
        };
        let pattern = hooks.again(at_pattern, own.clone())?;
        let products = by_head(of_z)?.matmul(&by_head(&parts.v)?.transpose(2, 3)?.contiguous()?)?;
        let of_pattern = hooks.at(at_pattern, products)?;
        let of_scores = hooks.at(at_scores, kernels::softmax_gradient(&own, &of_pattern)?)?;
        Ok((pattern, of_scores))
    }

    /// If nothing watches scores and pattern: some heads at a time, so that fewer scores are in memory.
    fn unwatched(&self, parts: &Parts, of_z: &Tensor, kept: Kept<'_>) -> Result<OfParts> {
        let (_, n_pos, heads, d_head) = of_z.dims4()?;
        let pattern = kept.get(HookPoint::Block(self.block, BlockHook::Pattern)).ok();
        let together = (SQUARES / (n_pos * n_pos)).clamp(1, heads);
        let mut all: [Vec<Tensor>; 3] = [vec![], vec![], vec![]];
        for first in (0..heads).step_by(together) {
            let n = together.min(heads - first);
            let some = |t: &Tensor| t.narrow(2, first, n)?.contiguous();
            let part = Parts { q: some(&parts.q)?, k: some(&parts.k)?, v: some(&parts.v)? };
            let of_z = some(of_z)?;
            let pattern = match &pattern {
                Some(pattern) => pattern.narrow(1, first, n)?.contiguous()?,
                None => kernels::softmax(&scores(&part.q, &part.k)?)?.0,
            };
            // a product like the scores, except for the factor; later keys are masked, and their pattern is 0
            let of_pattern = (scores(&of_z, &part.v)? * root(d_head))?;
            let [of_q, of_k] = part.of_products(&kernels::softmax_gradient(&pattern, &of_pattern)?)?;
            for (all, some) in all.iter_mut().zip([of_q, of_k, kernels::weighted_values(&turned(&pattern)?, &of_z)?]) {
                all.push(some);
            }
        }
        let [q, k, v] = all.map(|heads| Tensor::cat(&heads, 2));
        Ok([q?, k?, v?])
    }

    /// From gradients with respect to one of q (0), k (1), v (2) to those with respect to the normalised input of each
    /// head.
    ///
    /// # Shapes
    /// `[batch, pos, head, d_head]` to `[batch, pos, head, d_model]`.
    pub(super) fn heads_backward(&self, gradient: &Tensor, which: usize) -> candle_core::Result<Tensor> {
        let (batch, _, heads, d_head) = gradient.dims4()?;
        let weight = self.qkv[which].weight()?.to_dtype(gradient.dtype())?;
        let d_model = weight.dim(1)?;
        let weight = weight.reshape((1, heads, d_head, d_model))?.broadcast_as((batch, heads, d_head, d_model))?;
        by_head(gradient)?.matmul(&weight.contiguous()?)?.transpose(1, 2)?.contiguous()
    }

    /// The same for one head: `[1, pos, d_head]` to `[1, pos, d_model]`.
    pub(super) fn head_backward(&self, gradient: &Tensor, which: usize, head: usize) -> candle_core::Result<Tensor> {
        let weight = self.qkv[which].rows(head * self.d_head..(head + 1) * self.d_head)?.to_dtype(gradient.dtype())?;
        gradient.squeeze(0)?.contiguous()?.matmul(&weight)?.unsqueeze(0)
    }

    /// The same with respect to the normalised input that all heads share.
    ///
    /// # Shapes
    /// `[batch, pos, head, d_head]` each to `[batch, pos, d_model]`.
    pub(super) fn projections_backward(&self, parts: &[Tensor; 3]) -> candle_core::Result<Tensor> {
        let of = |which: usize| self.qkv[which].backward(&parts[which].flatten_from(2)?);
        kernels::add(&kernels::add(&of(0)?, &of(1)?)?, &of(2)?)
    }

    /// From gradients with respect to `hook_result` to those with respect to `hook_z`.
    ///
    /// # Shapes
    /// `[batch, pos, head, d_model]` to `[batch, pos, head, d_head]`.
    fn results_backward(&self, gradient: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, _, heads, d_model) = gradient.dims4()?;
        let weight = self.out.weight()?.to_dtype(gradient.dtype())?;
        // W_O's columns are (head, d_head)
        let weight = weight.reshape((d_model, heads, self.d_head))?.transpose(0, 1)?.unsqueeze(0)?;
        let weight = weight.broadcast_as((batch, heads, d_model, self.d_head))?.contiguous()?;
        by_head(gradient)?.matmul(&weight)?.transpose(1, 2)?.contiguous()
    }
}

impl Parts {
    /// From the gradient with respect to scores to those with respect to rotated queries and keys.
    fn of_products(&self, of_scores: &Tensor) -> candle_core::Result<[Tensor; 2]> {
        let of_scores = (of_scores / root(self.q.dim(3)?))?;
        Ok([kernels::weighted_values(&of_scores, &self.k)?, kernels::weighted_values(&turned(&of_scores)?, &self.q)?])
    }
}

#[allow(clippy::cast_precision_loss, reason = "d_head is small")]
fn root(d_head: usize) -> f64 {
    (d_head as f64).sqrt()
}

/// Swaps queries and keys: `[batch, head, key, query]`.
fn turned(squares: &Tensor) -> candle_core::Result<Tensor> {
    squares.transpose(2, 3)?.contiguous()
}

/// `[batch, pos, head, width]` to `[batch, head, pos, width]`.
fn by_head(t: &Tensor) -> candle_core::Result<Tensor> {
    t.transpose(1, 2)?.contiguous()
}
