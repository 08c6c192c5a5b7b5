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

/// The row of a batch of `have` rows that holds row `row`.
pub(super) fn row_of(row: usize, have: usize) -> usize {
    if row < have { row } else { 0 }
}

/// `x` with `rows` rows; missing rows are copies of the first.
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
/// Tensors have a leading batch axis and stay on the device they were computed on. Scores and patterns of a long
/// prompt, `pos * pos` numbers for every head, may be left out; they are recomputed from `hook_rot_q` and `hook_rot_k`.
#[derive(Clone, Debug, Default)]
pub struct ActivationCache {
    kept: BTreeMap<HookPoint, Tensor>,
    left_out: BTreeSet<HookPoint>,
}

impl ActivationCache {
    /// The activation kept at a hook point.
    #[must_use]
    pub fn get(&self, point: HookPoint) -> Option<&Tensor> {
        self.kept.get(&point)
    }

    pub fn insert(&mut self, point: HookPoint, value: Tensor) {
        self.left_out.remove(&point);
        self.kept.insert(point, value);
    }

    /// Note that scores or a pattern are left out, and can be recomputed.
    pub fn leave_out(&mut self, point: HookPoint) {
        self.kept.remove(&point);
        self.left_out.insert(point);
    }

    /// Forget what was kept at `point`.
    pub fn forget(&mut self, point: HookPoint) {
        self.kept.remove(&point);
    }

    /// Forget what was kept or left out at `point` and after it.
    pub fn forget_from(&mut self, point: HookPoint) {
        self.kept.retain(|at, _| *at < point);
        self.left_out.retain(|at| *at < point);
    }

    /// Forget what was kept or left out after `point`.
    pub fn forget_after(&mut self, point: HookPoint) {
        self.kept.retain(|at, _| *at <= point);
        self.left_out.retain(|at| *at <= point);
    }

    #[must_use]
    pub fn is_left_out(&self, point: HookPoint) -> bool {
        self.left_out.contains(&point)
    }

    /// One row of a batch; an activation with fewer rows gives its first.
    ///
    /// # Errors
    /// Tensor errors.
    pub(crate) fn of_row(&self, row: usize) -> candle_core::Result<Self> {
        let own = |(point, value): (&HookPoint, &Tensor)| -> candle_core::Result<(HookPoint, Tensor)> {
            Ok((*point, value.narrow(0, row_of(row, value.dim(0)?), 1)?))
        };
        Ok(Self { kept: self.kept.iter().map(own).collect::<candle_core::Result<_>>()?, ..Self::default() })
    }

    /// The activations that were kept, in execution order.
    pub fn iter(&self) -> impl Iterator<Item = (HookPoint, &Tensor)> {
        self.kept.iter().map(|(point, value)| (*point, value))
    }

    /// Every hook point that was kept or left out, in execution order.
    #[must_use]
    pub fn points(&self) -> BTreeSet<HookPoint> {
        self.kept.keys().chain(&self.left_out).copied().collect()
    }

    /// Prepend to every activation the `positions` that this run did not compute, from an earlier run.
    ///
    /// # Errors
    /// Tensor errors, and those of `earlier`.
    pub fn complete<E: From<candle_core::Error>>(
        &mut self,
        earlier: impl Fn(HookPoint) -> Result<Option<Tensor>, E>,
        positions: usize,
        schema: &Schema,
    ) -> Result<(), E> {
        for (point, value) in &mut self.kept {
            let axis = schema.axes(*point).iter().position(|axis| axis.is_causal()).map_or(1, |axis| axis + 1);
            if let Some(before) = earlier(*point)? {
                let before = with_rows(&before.narrow(axis, 0, positions)?, value.dim(0)?)?;
                *value = Tensor::cat(&[&before.contiguous()?, &value.contiguous()?], axis)?;
            }
        }
        Ok(())
    }

    /// Take every activation before block `block`'s residual stream from `earlier`, the run that this one resumed from.
    pub fn share_before(&mut self, earlier: &Self, block: usize, n_layers: usize) {
        let before = |point: HookPoint| match point {
            HookPoint::Tokens | HookPoint::Embed => true,
            HookPoint::Block(b, _) => b < block.min(n_layers),
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => false,
        };
        for (point, value) in earlier.iter().filter(|(point, _)| before(*point)) {
            self.kept.entry(point).or_insert_with(|| value.clone());
        }
        self.left_out.extend(earlier.left_out.iter().copied().filter(|point| before(*point)));
    }
}
