//! A block's backward pass: the residual stream, the MLP, and the inputs of queries, keys and values.

use candle_core::Tensor;

use super::{
    backward::{Kept, Result},
    block::{Block, Mlp},
    paths::{INPUTS, with_own},
};
use crate::{
    hooks::{BlockHook, GradientHooks, HookPoint, Received, Schema},
    model::kernels,
};

const LN1: [BlockHook; 2] = [BlockHook::Ln1Scale, BlockHook::Ln1Normalized];
const LN2: [BlockHook; 2] = [BlockHook::Ln2Scale, BlockHook::Ln2Normalized];

impl Block {
    /// From the gradient with respect to the stream that leaves the block to the one with respect to the stream that
    /// enters it.
    ///
    /// # Shapes
    /// Both `[batch, pos, d_model]`, f32.
    pub(super) fn backward(
        &self,
        gradient: Tensor,
        kept: Kept<'_>,
        schema: &Schema,
        hooks: &mut dyn GradientHooks,
    ) -> Result<Tensor> {
        let at = |hook| self.point(hook);
        let on = |hook| schema.is_enabled(at(hook));
        let gradient = hooks.at(at(BlockHook::ResidPost), gradient)?;

        let of_mlp = hooks.at(at(BlockHook::MlpOut), gradient.clone())?;
        let of_normalized = self.mlp.backward(&of_mlp, kept, hooks)?;
        let read = match (on(BlockHook::MlpIn), self.parallel) {
            (true, _) => BlockHook::MlpIn,
            (false, true) => BlockHook::ResidPre,
            (false, false) => BlockHook::ResidMid,
        };
        let mut mlp_in = kept.get(at(read))?;
        let own = if on(BlockHook::MlpIn) { vec![] } else { hooks.received(at(BlockHook::MlpIn), &mlp_in)? };
        if let Some(Received { input, .. }) = own.first() {
            mlp_in = input.clone();
        }
        let mut of_mlp_in = self.ln2.backward(&mlp_in, of_normalized, LN2.map(at), hooks)?;
        if !own.is_empty() {
            hooks.send_back(at(BlockHook::MlpIn), None, &of_mlp_in)?;
        }
        if on(BlockHook::MlpIn) {
            of_mlp_in = hooks.at(at(BlockHook::MlpIn), of_mlp_in)?;
        } else if hooks.asks_for_inputs() {
            hooks.input(at(BlockHook::MlpIn), &of_mlp_in)?;
        }

        // the gradient past the MLP, and the gradient through it
        let beside = kernels::add(&gradient, &of_mlp_in)?;
        let (of_attn, beside) = if self.parallel {
            (gradient, beside)
        } else {
            let of_mid = hooks.at(at(BlockHook::ResidMid), beside)?;
            (of_mid.clone(), of_mid)
        };
        let of_attn = hooks.at(at(BlockHook::AttnOut), of_attn)?;
        let parts = self.attn.backward(&of_attn, kept, schema, hooks)?;
        let read = self.qkv_backward(&parts, kept, schema, hooks)?;
        hooks.at(at(BlockHook::ResidPre), kernels::add(&beside, &read)?)
    }

    /// From the gradients with respect to queries, keys and values, each `[batch, pos, head, d_head]`, to the one with
    /// respect to the stream that they read.
    fn qkv_backward(
        &self,
        parts: &[Tensor; 3],
        kept: Kept<'_>,
        schema: &Schema,
        hooks: &mut dyn GradientHooks,
    ) -> Result<Tensor> {
        let at = |hook| self.point(hook);
        let on = |hook| schema.is_enabled(at(hook));
        if !schema.ln1_per_head(self.number) {
            let x = kept.get(at(BlockHook::ResidPre))?;
            if hooks.asks_for_inputs() {
                for (which, hook) in INPUTS.into_iter().enumerate() {
                    let of_normalized = self.attn.heads_backward(&parts[which], which)?;
                    // heads take the place of the batch's rows
                    let by_head = of_normalized.squeeze(0)?.transpose(0, 1)?.contiguous()?;
                    let of_input = self.ln1.backward_aside(&x, by_head, LN1.map(at), hooks)?;
                    hooks.input(at(hook), &of_input)?;
                }
            }
            let (shared, own) = self.apart(parts, &x, hooks)?;
            let mut of_stream = self.ln1.backward(&x, self.attn.projections_backward(&shared)?, LN1.map(at), hooks)?;
            for Own { which, head, input, gradient } in own {
                let of_normalized = self.attn.head_backward(&gradient, which, head)?;
                let of_input = self.ln1.backward_aside(&input, of_normalized, LN1.map(at), hooks)?;
                hooks.send_back(at(INPUTS[which]), Some(head), &of_input)?;
                of_stream = (of_stream + of_input)?;
            }
            return Ok(of_stream);
        }
        let copies = || -> Result<Tensor> {
            let x = kept.get(at(BlockHook::ResidPre))?;
            let (batch, n_pos, d_model) = x.dims3()?;
            Ok(x.unsqueeze(2)?.broadcast_as((batch, n_pos, self.attn.n_heads, d_model))?.contiguous()?)
        };
        let input = |hook| if on(hook) { kept.get(at(hook)) } else { copies() };
        let of_heads = |which: usize| self.attn.heads_backward(&parts[which], which);
        if !schema.is_split(self.number) {
            let of_normalized = ((of_heads(0)? + of_heads(1)?)? + of_heads(2)?)?;
            let of_copies = self.ln1.backward(&input(BlockHook::AttnIn)?, of_normalized, LN1.map(at), hooks)?;
            return Ok(hooks.at(at(BlockHook::AttnIn), of_copies)?.sum(2)?);
        }
        let mut sum: Option<Tensor> = None;
        // ln1 ran on each input; the last one, for the values, is kept, as for its activations
        for (which, hook) in INPUTS.into_iter().enumerate() {
            let mut x = input(hook)?;
            let own = if on(hook) { vec![] } else { hooks.received(at(hook), &kept.get(at(BlockHook::ResidPre))?)? };
            let own: Vec<(usize, Option<usize>, Tensor)> =
                own.into_iter().map(|Received { head, input, .. }| (0, head, input)).collect();
            let heads: Vec<usize> = own.iter().filter_map(|(_, head, _)| *head).collect();
            x = with_own(&x, own)?;
            let mut of_copies = self.ln1.backward(&x, of_heads(which)?, LN1.map(at), hooks)?;
            for head in heads {
                hooks.send_back(at(hook), Some(head), &of_copies.narrow(2, head, 1)?.squeeze(2)?)?;
            }
            if on(hook) {
                of_copies = hooks.at(at(hook), of_copies)?;
            }
            let of_stream = of_copies.sum(2)?;
            sum = Some(match sum {
                Some(sum) => (sum + of_stream)?,
                None => of_stream,
            });
        }
        if on(BlockHook::AttnIn) {
            // nothing reads it beside split inputs
            hooks.at(at(BlockHook::AttnIn), copies()?.zeros_like()?)?;
        }
        match sum {
            Some(sum) => Ok(sum),
            None => Ok(kept.get(at(BlockHook::ResidPre))?.zeros_like()?),
        }
    }
}

/// The query, key or value of a head that has its own input.
struct Own {
    which: usize,
    head: usize,
    input: Tensor,
    /// With respect to the query, key or value: `[1, pos, d_head]`.
    gradient: Tensor,
}

impl Block {
    /// The gradients that go to the stream shared by all heads, and those of heads at which paths end.
    fn apart(
        &self,
        parts: &[Tensor; 3],
        stream: &Tensor,
        hooks: &dyn GradientHooks,
    ) -> Result<([Tensor; 3], Vec<Own>)> {
        let (mut shared, mut own) = (parts.clone(), vec![]);
        for (which, hook) in INPUTS.into_iter().enumerate() {
            for Received { head, input, .. } in hooks.received(self.point(hook), stream)? {
                let Some(head) = head else { continue };
                let gradient = parts[which].narrow(2, head, 1)?.squeeze(2)?;
                shared[which] = with_own(&shared[which], vec![(0, Some(head), gradient.zeros_like()?)])?;
                own.push(Own { which, head, input, gradient });
            }
        }
        Ok((shared, own))
    }
}

impl Mlp {
    /// From the gradient with respect to the MLP's output to the one with respect to the normalised input that it
    /// reads.
    fn backward(&self, gradient: &Tensor, kept: Kept<'_>, hooks: &mut dyn GradientHooks) -> Result<Tensor> {
        let at = |hook| HookPoint::Block(self.block, hook);
        let of_post = hooks.at(at(BlockHook::MlpPost), self.w_out.backward(gradient)?)?;
        let slope = self.activation.slope(&kept.get(at(BlockHook::MlpPre))?)?;
        let of_pre = hooks.at(at(BlockHook::MlpPre), (of_post * slope)?)?;
        Ok(self.w_in.backward(&of_pre)?)
    }
}
