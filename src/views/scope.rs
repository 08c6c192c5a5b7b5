//! How much `a` ablates around a view's cursor.

use super::Scene;
use crate::hooks::{Axis, BlockHook, Edit, HookPoint, Op};

/// How much `a` ablates around the cursor of a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AblationScope {
    #[default]
    Cell,
    Row,
    Column,
    /// The rows and columns on the screen: one index of the third axis.
    Plane,
    /// The whole hook; in Attention, the head.
    Whole,
}

impl AblationScope {
    pub const ALL: [Self; 5] = [Self::Cell, Self::Row, Self::Column, Self::Plane, Self::Whole];

    /// Whether only the cursor's row is ablated.
    #[must_use]
    pub fn one_row(self) -> bool {
        matches!(self, Self::Cell | Self::Row)
    }

    /// Whether only the cursor's column is ablated.
    #[must_use]
    pub fn one_column(self) -> bool {
        matches!(self, Self::Cell | Self::Column)
    }
}

/// The ablation of a hook at some places: 0, but -inf for scores, since a score of 0 would let queries see the future.
pub(crate) fn ablated(point: HookPoint, places: &[(Axis, usize)]) -> Edit {
    let is_scores = point.block_hook() == Some(BlockHook::AttnScores);
    Edit::at(point, places, Op::Set(if is_scores { f32::NEG_INFINITY } else { 0.0 }))
}

/// The cursor's index along each of some axes.
pub(super) fn places(scene: &Scene, axes: &[Axis]) -> Vec<(Axis, usize)> {
    let there = axes.iter().filter(|axis| **axis != Axis::One);
    there.map(|axis| (*axis, scene.cursor.index(*axis))).collect()
}
