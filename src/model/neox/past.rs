use candle_core::Tensor;

use crate::hooks::{ActivationCache, EditError, HookPoint, with_rows};

type Result<T> = std::result::Result<T, EditError>;

/// Where a forward pass begins.
pub enum Start<'a> {
    /// Rows of token ids, all of one length.
    Tokens(&'a [Vec<u32>]),
    /// The residual stream `[batch, pos, d_model]` as it enters a block, before that block's `hook_resid_pre`; block
    /// number `n_layers` is the end of the last block. With a past, the positions after it alone.
    Residual { block: usize, stream: Tensor, past: Option<Past<'a>> },
}

/// The positions before those that a pass computes, as an earlier run left them.
#[derive(Clone, Copy)]
pub struct Past<'a> {
    /// How many there are: the number of the first position that is computed.
    pub positions: usize,
    /// Holds `hook_rot_k` and `hook_v` of every block that is passed.
    pub cache: &'a ActivationCache,
}

impl Past<'_> {
    /// `value` `[batch, pos, ...]` of a hook, with what was before it.
    pub(super) fn before(self, point: HookPoint, value: &Tensor) -> Result<Tensor> {
        let earlier = self
            .cache
            .get(point)
            .ok_or_else(|| EditError::Tensor(candle_core::Error::Msg(format!("the earlier run kept no {point}"))))?;
        let earlier = with_rows(&earlier.narrow(1, 0, self.positions)?, value.dim(0)?)?;
        Ok(Tensor::cat(&[&earlier.contiguous()?, value], 1)?)
    }
}
