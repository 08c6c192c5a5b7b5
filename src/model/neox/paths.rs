//! Readers whose input is the stream plus what paths add to it.

use candle_core::Tensor;

use super::PassError;
use crate::hooks::{BlockHook, HookPoint, Hooks, Received, RunError};

type Result<T> = std::result::Result<T, PassError>;

/// The inputs of queries, keys and values, if they are split.
pub(super) const INPUTS: [BlockHook; 3] = [BlockHook::QInput, BlockHook::KInput, BlockHook::VInput];

/// The stream as the only reader at `point` gets it, with what paths add to it.
pub(super) fn received_whole(point: HookPoint, stream: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
    let received = hooks.received(point, stream)?;
    Ok(with_own(stream, received.into_iter().map(|Received { row, input, .. }| (row, None, input)).collect())?)
}

/// The same for the copies of each head, `[batch, pos, head, d_model]`.
pub(super) fn received_by_head(
    point: HookPoint,
    stream: &Tensor,
    copies: &Tensor,
    hooks: &mut dyn Hooks,
) -> std::result::Result<Tensor, RunError> {
    let received = hooks.received(point, stream)?;
    Ok(with_own(copies, received.into_iter().map(|Received { row, head, input }| (row, head, input)).collect())?)
}

/// `all`, with each of `own` replacing a row, or one head of a row. Missing rows equal the first.
///
/// # Shapes
/// `all`: `[batch, pos, width]` or `[batch, pos, head, width]`; each of `own`: `[1, pos, width]`.
pub(super) fn with_own(all: &Tensor, own: Vec<(usize, Option<usize>, Tensor)>) -> candle_core::Result<Tensor> {
    let Some(last) = own.iter().map(|(row, ..)| *row).max() else { return Ok(all.clone()) };
    let have = all.dim(0)?;
    let row = |row: usize| all.narrow(0, if row < have { row } else { 0 }, 1);
    let mut rows = (0..have.max(last + 1)).map(row).collect::<candle_core::Result<Vec<_>>>()?;
    for (row, head, part) in own {
        rows[row] = match head {
            None => part,
            Some(head) => with_head(&rows[row], head, &part)?,
        };
    }
    Tensor::cat(&rows, 0)
}

/// `[1, pos, head, width]` with one head replaced by `[1, pos, width]`.
fn with_head(all: &Tensor, head: usize, part: &Tensor) -> candle_core::Result<Tensor> {
    let heads = all.dim(2)?;
    let mut parts = vec![part.unsqueeze(2)?];
    if head > 0 {
        parts.insert(0, all.narrow(2, 0, head)?);
    }
    if head + 1 < heads {
        parts.push(all.narrow(2, head + 1, heads - head - 1)?);
    }
    Tensor::cat(&parts, 2)
}
