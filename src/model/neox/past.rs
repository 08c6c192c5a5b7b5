use candle_core::Tensor;

use super::keys_and_values::KeysAndValues;
use crate::hooks::{ActivationCache, BlockHook, HookPoint, RunError, with_rows};

/// Where a forward pass begins.
pub enum Start<'a> {
    /// Rows of token ids, all of one length.
    Tokens(&'a [Vec<u32>]),
    /// Rows of token ids, all of one length, that come after a past.
    Next { rows: &'a [Vec<u32>], past: Past<'a> },
    /// The residual stream `[batch, pos, d_model]` as it enters a block, before that block's `hook_resid_pre`; block
    /// number `n_layers` is the end of the last block. With a past, only the positions after it; a value that is not
    /// finite is then an error, since it would reach the earlier positions too.
    Residual { block: usize, stream: Tensor, past: Option<Past<'a>> },
}

/// The positions before those that a pass computes.
#[derive(Clone, Copy)]
pub struct Past<'a> {
    /// The number of these positions, which is the first position that is computed.
    pub positions: usize,
    pub from: Earlier<'a>,
}

/// What holds keys and values of earlier positions.
#[derive(Clone, Copy)]
pub enum Earlier<'a> {
    /// A finished run that kept `hook_rot_k` and `hook_v` of every block that is passed.
    Run(&'a ActivationCache),
    /// A text that grows. The pass adds the keys and values that it computes.
    Text(&'a KeysAndValues),
}

impl Past<'_> {
    /// Keys or values `[batch, pos, head, d_head]` of a block, with those of the earlier positions prepended; `hook` is
    /// `hook_rot_k` or `hook_v`.
    pub(super) fn before(self, block: usize, hook: BlockHook, value: &Tensor) -> candle_core::Result<Tensor> {
        let cache = match self.from {
            Earlier::Text(kept) => return kept.with(block, hook, self.positions, value),
            Earlier::Run(cache) => cache,
        };
        let point = HookPoint::Block(block, hook);
        let earlier =
            cache.get(point).ok_or_else(|| candle_core::Error::Msg(format!("the earlier run kept no {point}")))?;
        let earlier = with_rows(&earlier.narrow(1, 0, self.positions)?, value.dim(0)?)?;
        Tensor::cat(&[&earlier.contiguous()?, value], 1)
    }
}

/// Why a pass failed.
pub(crate) enum PassError {
    /// A value that is not finite also reaches earlier positions, since 0 times it is not 0, so none can be left out.
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
