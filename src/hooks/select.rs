use std::fmt;

use super::{Axis, EditError, HookPoint};

/// One entry of an axis's list: an index or a half-open slice, counted as in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Index(i64),
    Slice(Option<i64>, Option<i64>),
}

/// The selection along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisSelection {
    pub axis: Axis,
    pub slots: Vec<Slot>,
}

/// The part of an activation that an edit applies to. An axis that is not named is taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(pub Vec<AxisSelection>);

/// The selected indices along each axis of an activation; `None` is the whole axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indices {
    pub axes: Vec<Axis>,
    pub shape: Vec<usize>,
    pub along: Vec<Option<Vec<usize>>>,
}

impl Indices {
    /// The number of indices selected along axis number `i`.
    #[must_use]
    pub fn count(&self, i: usize) -> usize {
        self.along[i].as_ref().map_or(self.shape[i], Vec::len)
    }

    /// The same places in an activation without the first positions. The selection must come after those.
    #[must_use]
    pub(super) fn without(&self, positions: usize) -> Self {
        let mut rest = self.clone();
        if let Some(i) = self.axes.iter().position(|axis| axis.is_causal()) {
            rest.shape[i] -= positions;
            for at in rest.along[i].iter_mut().flatten() {
                *at -= positions;
            }
            rest.along[i].take_if(|along| along.len() == rest.shape[i]);
        }
        rest
    }

    /// The number of values selected.
    #[must_use]
    pub fn values(&self) -> usize {
        (0..self.shape.len()).map(|i| self.count(i)).product()
    }
}

impl Selection {
    /// Resolve against an activation's axes and shape (both without the batch axis).
    ///
    /// # Errors
    /// An axis that the hook does not have, an index out of range, an empty slice; `edit` is quoted in the message.
    pub fn resolve(&self, edit: &str, hook: HookPoint, axes: &[Axis], shape: &[usize]) -> Result<Indices, EditError> {
        let mut along = vec![None; axes.len()];
        for selected in &self.0 {
            let axis = &selected.axis;
            let Some(i) = axes.iter().position(|a| a == axis) else {
                let axes = axes.to_vec();
                return Err(EditError::NoAxis { edit: edit.to_string(), hook, axis: *axis, axes });
            };
            let mut indices = selected.slots(edit, hook, shape[i])?;
            indices.sort_unstable();
            indices.dedup();
            let whole = indices.len() == shape[i];
            along[i] = if whole { None } else { Some(indices) };
        }
        Ok(Indices { axes: axes.to_vec(), shape: shape.to_vec(), along })
    }
}

impl AxisSelection {
    /// What each slot selects along an axis of `n`, in the order written.
    pub(super) fn slots(&self, edit: &str, hook: HookPoint, n: usize) -> Result<Vec<usize>, EditError> {
        // lists may overlap, but a short one that selects an axis over and over would exhaust memory
        const OVERLAPS: usize = 16;
        let mut all = Vec::new();
        for slot in &self.slots {
            all.extend(slot.resolve(edit, hook, self.axis, n)?);
            if all.len() > n.saturating_mul(OVERLAPS) {
                return Err(EditError::Overlaps { axis: self.axis, times: OVERLAPS });
            }
        }
        Ok(all)
    }
}

impl Slot {
    fn resolve(self, edit: &str, hook: HookPoint, axis: Axis, n: usize) -> Result<std::ops::Range<usize>, EditError> {
        let size = i64::try_from(n).unwrap_or(i64::MAX);
        let out_of_range = |index: i64, valid: String| EditError::OutOfRange {
            edit: edit.to_string(),
            hook,
            axis,
            index: index.to_string(),
            valid,
        };
        let from_start = |index: i64, limit: i64| {
            let counted = if index < 0 { index + size } else { index };
            usize::try_from(counted).ok().filter(|_| counted <= limit)
        };
        match self {
            Self::Index(index) => {
                let at = from_start(index, size - 1)
                    .ok_or_else(|| out_of_range(index, format!("0 to {} (or -{n} to -1)", n.saturating_sub(1))))?;
                Ok(at..at + 1)
            }
            Self::Slice(start, end) => {
                let bound = |index: i64| {
                    from_start(index, size)
                        .ok_or_else(|| out_of_range(index, format!("slices from 0 to {n} (or -{n} to -1)")))
                };
                let (a, b) = (start.map_or(Ok(0), bound)?, end.map_or(Ok(n), bound)?);
                if a >= b {
                    return Err(EditError::Empty { edit: edit.to_string(), axis, slice: self.to_string() });
                }
                Ok(a..b)
            }
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |b: &Option<i64>| b.map(|b| b.to_string()).unwrap_or_default();
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Slice(start, end) => write!(f, "{}:{}", bound(start), bound(end)),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, AxisSelection { axis, slots }) in self.0.iter().enumerate() {
            let slots = slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            write!(f, "{}{axis}={slots}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_may_overlap_up_to_a_limit() {
        let select = |slots: Vec<Slot>| AxisSelection { axis: Axis::Pos, slots }.slots("", HookPoint::Embed, 4);
        let (whole, one) = (Slot::Slice(None, None), Slot::Index(-1));
        assert_eq!(select(vec![whole, one]).unwrap(), [0, 1, 2, 3, 3]);
        assert!(select(vec![whole; 16]).is_ok());
        assert!(matches!(select(vec![whole; 17]), Err(EditError::Overlaps { axis: Axis::Pos, .. })));
    }
}
