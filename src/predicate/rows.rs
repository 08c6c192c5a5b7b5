//! The selected values of an array as rows along its last axis, read where they lie.

use crate::hooks::Indices;

pub(super) struct Rows {
    /// Of each axis but the last, where its selected indices begin.
    outer: Vec<Vec<usize>>,
    last: Last,
    /// How many rows there are.
    pub(super) count: usize,
    /// Values of a row.
    pub(super) len: usize,
}

enum Last {
    /// Values that lie beside each other, from this index on.
    From(usize),
    These(Vec<usize>),
}

/// What a reduction goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    Last,
    /// An axis before the last, by number.
    Outer(usize),
    All,
}

impl Rows {
    /// What `indices` select.
    pub(super) fn of(indices: &Indices) -> Self {
        let chosen =
            |i: usize| -> Vec<usize> { indices.along[i].clone().unwrap_or_else(|| (0..indices.shape[i]).collect()) };
        let axes = indices.shape.len();
        let mut outer = vec![];
        for i in 0..axes.saturating_sub(1) {
            let stride: usize = indices.shape[i + 1..].iter().product();
            outer.push(chosen(i).into_iter().map(|at| at * stride).collect());
        }
        let along = if axes == 0 { vec![0] } else { chosen(axes - 1) };
        let len = along.len();
        let contiguous = along.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let last = if contiguous { Last::From(along.first().copied().unwrap_or(0)) } else { Last::These(along) };
        let count = outer.iter().map(Vec::len).product();
        Self { outer, last, count, len }
    }

    /// All of an array.
    pub(super) fn whole(shape: &[usize]) -> Self {
        Self::of(&Indices { axes: vec![], shape: shape.to_vec(), along: vec![None; shape.len()] })
    }

    /// Row number `k`; `scratch` is filled where its values do not lie beside each other.
    pub(super) fn row<'a, T: Copy>(&self, values: &'a [T], k: usize, scratch: &'a mut Vec<T>) -> &'a [T] {
        let mut offset = 0;
        let mut left = k;
        for starts in self.outer.iter().rev() {
            offset += starts[left % starts.len()];
            left /= starts.len();
        }
        match &self.last {
            Last::From(first) => &values[offset + first..offset + first + self.len],
            Last::These(along) => {
                scratch.clear();
                scratch.extend(along.iter().map(|at| values[offset + at]));
                scratch
            }
        }
    }

    /// `count` rows from number `k` on, of an array of which all is selected along the axes but the first.
    pub(super) fn block<'a, T>(&self, values: &'a [T], k: usize, count: usize) -> &'a [T] {
        let inner: usize = self.outer.iter().skip(1).map(Vec::len).product();
        let first = self.outer.first().and_then(|starts| starts.get(k / inner.max(1))).copied().unwrap_or(0);
        &values[first..first + count * self.len]
    }

    /// Whether the rows lie one behind the other from the beginning on, without gaps.
    pub(super) fn are_gapless(&self) -> bool {
        let mut stride = self.len;
        let from_start = matches!(self.last, Last::From(0));
        from_start
            && self.outer.iter().rev().all(|starts| {
                let gapless = starts.iter().enumerate().all(|(i, start)| *start == i * stride);
                stride *= starts.len();
                gapless
            })
    }

    /// How many values are reduced to one.
    pub(super) fn reduced(&self, along: Along) -> usize {
        match along {
            Along::Last => self.len,
            Along::Outer(axis) => self.outer[axis].len(),
            Along::All => self.count * self.len,
        }
    }

    /// How many values are left after a reduction.
    pub(super) fn left(&self, along: Along) -> usize {
        self.count * self.len / self.reduced(along).max(1)
    }

    /// Where the values of row `k` go when `axis` is reduced.
    pub(super) fn group(&self, k: usize, axis: usize) -> usize {
        let inner: usize = self.outer[axis + 1..].iter().map(Vec::len).product();
        k / (inner * self.outer[axis].len()) * inner + k % inner
    }
}
