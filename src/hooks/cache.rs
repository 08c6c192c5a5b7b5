use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::{HookPoint, Schema};

/// Which activations a run keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    None,
    Only(BTreeSet<HookPoint>),
    All,
}

impl Capture {
    #[must_use]
    pub fn wants(&self, point: HookPoint) -> bool {
        match self {
            Self::None => false,
            Self::Only(points) => points.contains(&point),
            Self::All => true,
        }
    }
}

/// `x` with `rows` rows of a batch: those it lacks are as its first.
pub(crate) fn with_rows(x: &Tensor, rows: usize) -> candle_core::Result<Tensor> {
    let have = x.dim(0)?;
    if have >= rows {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    shape[0] = rows - have;
    let first = x.narrow(0, 0, 1)?.broadcast_as(shape)?;
    if have == 1 { Tensor::cat(&[x, &first], 0) } else { Tensor::cat(&[x, &first.contiguous()?], 0) }
}

/// The activations of a run, by hook point, in execution order.
///
/// Tensors have a leading batch axis and stay on the device they were computed on.
#[derive(Clone, Debug, Default)]
pub struct ActivationCache(BTreeMap<HookPoint, Tensor>);

impl ActivationCache {
    #[must_use]
    pub fn get(&self, point: HookPoint) -> Option<&Tensor> {
        self.0.get(&point)
    }

    pub fn insert(&mut self, point: HookPoint, value: Tensor) {
        self.0.insert(point, value);
    }

    /// In execution order.
    pub fn iter(&self) -> impl Iterator<Item = (HookPoint, &Tensor)> {
        self.0.iter().map(|(point, value)| (*point, value))
    }

    /// Put before every activation the `positions` that `earlier` has there, which this run did not compute.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn complete(&mut self, earlier: &Self, positions: usize, schema: &Schema) -> candle_core::Result<()> {
        for (point, value) in &mut self.0 {
            let axis = schema.axes(*point).iter().position(|axis| axis.is_causal()).map_or(1, |axis| axis + 1);
            if let Some(before) = earlier.get(*point) {
                let before = with_rows(&before.narrow(axis, 0, positions)?, value.dim(0)?)?;
                *value = Tensor::cat(&[&before.contiguous()?, &value.contiguous()?], axis)?;
            }
        }
        Ok(())
    }

    /// Take from `earlier` every activation before block `block`'s residual stream: what a run that started there shares.
    pub fn share_before(&mut self, earlier: &Self, block: usize, n_layers: usize) {
        let before = |point: HookPoint| match point {
            HookPoint::Tokens | HookPoint::Embed => true,
            HookPoint::Block(b, _) => b < block.min(n_layers),
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => false,
        };
        for (point, value) in earlier.iter().filter(|(point, _)| before(*point)) {
            self.0.entry(point).or_insert_with(|| value.clone());
        }
    }
}
