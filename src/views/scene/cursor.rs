use std::collections::BTreeMap;

use crate::{hooks::Axis, views::motion::stepped};

/// The place that the views share: a head, a position (or query) and key, and an index along each other axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub head: usize,
    /// Position, or query of attention.
    pub pos: usize,
    pub key: usize,
    /// The index along each of the other axes.
    others: BTreeMap<Axis, usize>,
}

impl Cursor {
    /// The index along an axis.
    #[must_use]
    pub fn index(&self, axis: Axis) -> usize {
        match axis {
            Axis::Pos | Axis::Query => self.pos,
            Axis::Key => self.key,
            Axis::Head => self.head,
            Axis::One => 0,
            Axis::DHead | Axis::DModel | Axis::DMlp | Axis::Vocab | Axis::DSae => {
                self.others.get(&axis).copied().unwrap_or(0)
            }
        }
    }

    /// Move along an axis.
    pub fn set_index(&mut self, axis: Axis, index: usize) {
        match axis {
            Axis::Pos | Axis::Query => self.pos = index,
            Axis::Key => self.key = index,
            Axis::Head => self.head = index,
            Axis::One => {}
            Axis::DHead | Axis::DModel | Axis::DMlp | Axis::Vocab | Axis::DSae => drop(self.others.insert(axis, index)),
        }
    }

    /// Go to the position before or after.
    pub fn step_pos(&mut self, by: isize, n_pos: usize) {
        self.pos = stepped(self.pos, by, n_pos);
    }

    pub(super) fn clamp(&mut self, n_pos: usize, n_heads: usize) {
        self.head = self.head.min(n_heads.saturating_sub(1));
        let last = n_pos.saturating_sub(1);
        (self.pos, self.key) = (self.pos.min(last), self.key.min(last));
    }
}
