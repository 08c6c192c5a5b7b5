//! Whether a test holds at the place of another one.

use super::{Site, bits::Bits, program::Tested};
use crate::hooks::Axis;

/// Where a test is looked at from the places of a site.
pub(super) struct Lookup(Vec<Part>);

/// One of the hooks that it is looked at.
struct Part {
    /// Whether it holds for some index of the axes that are not followed, by number along the others.
    holds: Bits,
    followed: Vec<Followed>,
}

/// An axis along which the place's own index counts.
struct Followed {
    /// The axis of the place, by number from the first, and its number of indices.
    of_place: usize,
    /// The number of each of the place's indices among the test's, times the stride.
    offsets: Vec<Option<usize>>,
}

/// Positions and queries are the same thing: what the pass computes one by one.
fn same(a: Axis, b: Axis) -> bool {
    a == b || a.is_causal() && b.is_causal()
}

impl Lookup {
    /// `truths` are those of the sites of `test` that are seen from the place, with what each holds of.
    pub(super) fn new<'t>(place: &Site, test: &Tested, truths: impl Iterator<Item = (&'t Site, &'t Bits)>) -> Self {
        let part = |(site, truth): (&Site, &Bits)| {
            let place_of = |axis: Axis| place.left.iter().position(|left| same(left.axis, axis));
            let is_followed = |axis: Axis| axis != Axis::One && test.follows(axis);
            // the place's axis for each of the test's
            let pairs: Vec<Option<usize>> =
                site.left.iter().map(|left| place_of(left.axis).filter(|_| is_followed(left.axis))).collect();
            let (mut followed, mut strides, mut stride) = (vec![], vec![0; pairs.len()], 1);
            for (axis, of_place) in pairs.iter().enumerate().rev() {
                let Some(of_place) = *of_place else { continue };
                let (theirs, own) = (&place.left[of_place], &site.left[axis]);
                let offset = |at: usize| own.number(theirs.index(at)).map(|number| number * stride);
                followed.push(Followed { of_place, offsets: (0..theirs.n).map(offset).collect() });
                strides[axis] = stride;
                stride *= own.n;
            }
            let holds = if pairs.iter().all(Option::is_some) {
                truth.clone()
            } else {
                let mut holds = Bits::none(stride);
                for at in truth.iter() {
                    let mut rest = at;
                    let mut onto = 0;
                    for (axis, left) in site.left.iter().enumerate().rev() {
                        onto += rest % left.n * strides[axis];
                        rest /= left.n;
                    }
                    holds.set(onto);
                }
                holds
            };
            Part { holds, followed }
        };
        Self(truths.map(part).collect())
    }

    /// Whether it holds at a place, whose numbers along its axes are `numbers`.
    pub(super) fn holds(&self, numbers: &[usize]) -> bool {
        let at = |part: &Part| -> Option<usize> {
            part.followed.iter().map(|axis| axis.offsets[numbers[axis.of_place]]).sum()
        };
        self.0.iter().any(|part| at(part).is_some_and(|at| part.holds.get(at)))
    }
}
