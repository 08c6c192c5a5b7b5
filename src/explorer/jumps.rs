//! The jump list: places to return to.

use crate::{
    hooks::HookPoint,
    views::{Cursor, Tab},
};

/// A place: a view, a hook and the cursor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub tab: Tab,
    pub hook: HookPoint,
    pub cursor: Cursor,
}

/// Places before and after the current one.
#[derive(Clone, Debug, Default)]
pub(super) struct Jumps {
    before: Vec<Place>,
    after: Vec<Place>,
}

/// The number of places that are remembered.
const MOST: usize = 100;

impl Jumps {
    /// Remember the place that a jump starts from.
    pub fn leave(&mut self, from: Place) {
        if self.before.last() != Some(&from) {
            self.before.push(from);
        }
        if self.before.len() > MOST {
            self.before.remove(0);
        }
        self.after.clear();
    }

    /// The place before the last jump from `here`.
    pub fn back(&mut self, here: Place) -> Option<Place> {
        let place = self.before.pop()?;
        self.after.push(here);
        Some(place)
    }

    /// The place that [`Self::back`] left.
    pub fn forward(&mut self, here: Place) -> Option<Place> {
        let place = self.after.pop()?;
        self.before.push(here);
        Some(place)
    }
}
