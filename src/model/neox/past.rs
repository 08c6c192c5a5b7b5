use candle_core::Tensor;

use crate::hooks::{ActivationCache, HookPoint, RunError, with_rows};

/// Where a forward pass begins.
pub enum Start<'a> {
    /// Rows of token ids, all of one length.
    Tokens(&'a [Vec<u32>]),
    /// The residual stream `[batch, pos, d_model]` as it enters a block, before that block's `hook_resid_pre`; block
    /// number `n_layers` is the end of the last block. With a past, the positions after it alone; a value that is not finite
    /// is then an error, since it would reach the earlier positions too.
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
    pub(super) fn before(self, point: HookPoint, value: &Tensor) -> candle_core::Result<Tensor> {
        let earlier =
            self.cache.get(point).ok_or_else(|| candle_core::Error::Msg(format!("the earlier run kept no {point}")))?;
        let earlier = with_rows(&earlier.narrow(1, 0, self.positions)?, value.dim(0)?)?;
        Tensor::cat(&[&earlier.contiguous()?, value], 1)
    }
}

/// Why a pass came to no result.
pub(crate) enum PassError {
    /// A value that is not finite reaches the positions before it too, since 0 times it is not 0: none can be left out.
    NotCausal,
    Run(RunError),
}

impl From<RunError> for PassError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<candle_core::Error> for PassError {
    fn from(error: candle_core::Error) -> Self {
        Self::Run(error.into())
    }
}

impl From<PassError> for RunError {
    fn from(error: PassError) -> Self {
        match error {
            PassError::NotCausal => {
                let message = "a value that is not finite reaches positions that were left out";
                candle_core::Error::Msg(message.into()).into()
            }
            PassError::Run(error) => error,
        }
    }
}
