use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::HookPoint;

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
