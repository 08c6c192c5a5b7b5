//! Keys and values of a text that grows, so that a new token costs one position.

use candle_core::{Result, Tensor};

use super::Config;
use crate::{hooks::BlockHook, model::Placement};

/// The keys (rotated) and values of the positions that a text has so far, in every block, for one row of a batch.
pub struct KeysAndValues {
    /// Of each block, `[1, room, head, d_head]`.
    blocks: Vec<[Tensor; 2]>,
    room: usize,
}

impl KeysAndValues {
    /// Of a text that is still empty.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn new(config: &Config, place: &Placement) -> Result<Self> {
        let empty = || Tensor::zeros((1, 1, config.n_heads, config.d_head), place.dtype, &place.device);
        let blocks = (0..config.n_layers).map(|_| Ok([empty()?, empty()?])).collect::<Result<_>>()?;
        Ok(Self { blocks, room: 1 })
    }

    /// Make room for `positions` positions; the first `kept` keep their keys and values.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn reserve(&mut self, kept: usize, positions: usize) -> Result<()> {
        if positions > self.room {
            *self = self.copy(kept, positions.next_power_of_two())?;
        }
        Ok(())
    }

    /// Keys and values of its own for a text that goes on differently after `kept` positions.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn fork(&self, kept: usize) -> Result<Self> {
        self.copy(kept, self.room)
    }

    fn copy(&self, kept: usize, room: usize) -> Result<Self> {
        let copy = |x: &Tensor| -> Result<Tensor> {
            let (_, _, heads, d_head) = x.dims4()?;
            let larger = Tensor::zeros((1, room, heads, d_head), x.dtype(), x.device())?;
            if kept > 0 {
                larger.slice_set(&x.narrow(1, 0, kept)?, 1, 0)?;
            }
            Ok(larger)
        };
        let blocks = self.blocks.iter().map(|[k, v]| Ok([copy(k)?, copy(v)?])).collect::<Result<_>>()?;
        Ok(Self { blocks, room })
    }

    /// Write the keys (`hook_rot_k`) or values (`hook_v`) from position `from` on; returns those of all positions up to these.
    ///
    /// # Shapes
    /// `value`: `[1, pos, head, d_head]`; returns `[1, from + pos, head, d_head]`.
    ///
    /// # Errors
    /// There is no room for them.
    pub(super) fn with(&self, block: usize, hook: BlockHook, from: usize, value: &Tensor) -> Result<Tensor> {
        let all = &self.blocks[block][usize::from(hook == BlockHook::V)];
        all.slice_set(&value.contiguous()?, 1, from)?;
        all.narrow(1, 0, from + value.dim(1)?)
    }
}
