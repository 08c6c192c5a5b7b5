//! What a growing text keeps for breakpoints.

use std::collections::BTreeSet;

use candle_core::Tensor;

use crate::hooks::{ActivationCache, Axis, BlockHook, Capture, HookPoint, Schema};

/// The activations of a text that breakpoints are about, at every position.
#[derive(Clone, Default)]
pub(super) struct Watched {
    pub points: BTreeSet<HookPoint>,
    pub cache: ActivationCache,
}

impl Watched {
    /// What a pass keeps for it beside what `capture` names.
    pub fn with(&self, capture: &Capture) -> Capture {
        match capture {
            _ if self.points.is_empty() => capture.clone(),
            Capture::All => Capture::All,
            Capture::None => Capture::Only(self.points.clone()),
            Capture::Only(points) => Capture::Only(points.union(&self.points).copied().collect()),
        }
    }

    /// Take what a pass kept of the positions from `past` on. Only what `asked` names stays in `new`, too: the memory of the rest is
    /// used again at once, which is faster than fresh memory.
    pub fn add(
        &mut self,
        new: &mut ActivationCache,
        asked: &Capture,
        past: usize,
        schema: &Schema,
    ) -> candle_core::Result<()> {
        for point in &self.points {
            let Some(value) = new.get(*point) else { continue };
            let whole = match self.cache.get(*point).filter(|_| past > 0) {
                Some(before) => grown(*point, before, value, schema)?,
                None => value.clone(),
            };
            if !asked.wants(*point) {
                new.forget(*point);
            }
            self.cache.insert(*point, whole);
        }
        Ok(())
    }
}

/// An activation of a text, and of the positions that were added.
fn grown(point: HookPoint, before: &Tensor, new: &Tensor, schema: &Schema) -> candle_core::Result<Tensor> {
    let axes = schema.axes(point);
    let causal = axes.iter().position(|axis| axis.is_causal()).map_or(1, |axis| axis + 1);
    let mut before = before.contiguous()?;
    if let Some(keys) = axes.iter().position(|axis| *axis == Axis::Key).map(|axis| axis + 1) {
        // earlier queries do not see the new keys
        let masked = if point.block_hook() == Some(BlockHook::AttnScores) { f32::NEG_INFINITY } else { 0.0 };
        let mut shape = before.dims().to_vec();
        shape[keys] = new.dim(keys)? - shape[keys];
        let unseen = Tensor::full(masked, shape, before.device())?.to_dtype(before.dtype())?;
        before = Tensor::cat(&[&before, &unseen], keys)?;
    }
    Tensor::cat(&[&before, &new.contiguous()?], causal)
}
