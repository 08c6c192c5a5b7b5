//! Activations `[batch, pos, head, d_head]` by head, and the division of queries among threads.

use candle_core::{CpuStorage, Layout, Result};

use super::{row_of, values};

/// The most queries computed together.
pub(super) const QUERIES: usize = 64;

/// An activation `[batch, pos, head, d_head]`; rows may be missing (see [`super`]).
#[derive(Clone, Copy)]
pub(super) struct ByHead<'a> {
    values: &'a [f32],
    pub rows: usize,
    pub n_pos: usize,
    pub heads: usize,
    pub d_head: usize,
}

impl<'a> ByHead<'a> {
    pub fn new(storage: &'a CpuStorage, at: &Layout) -> Result<Self> {
        let (rows, n_pos, heads, d_head) = at.shape().dims4()?;
        Ok(Self { values: values(storage, at)?, rows, n_pos, heads, d_head })
    }

    /// The number of values at a position.
    pub fn width(self) -> usize {
        self.heads * self.d_head
    }

    /// `[pos, head, d_head]`
    pub fn row(self, row: usize) -> &'a [f32] {
        let each = self.n_pos * self.width();
        &self.values[row_of(row, self.rows) * each..][..each]
    }

    /// The values of one head from a position on; consecutive positions are [`Self::width`] apart.
    pub fn from(self, row: usize, head: usize, pos: usize) -> &'a [f32] {
        &self.row(row)[pos * self.width() + head * self.d_head..]
    }
}

/// How many of `n` items to do at once so that every thread gets some; at most `most`.
pub(super) fn shared(n: usize, most: usize) -> usize {
    n.div_ceil(rayon::current_num_threads()).clamp(1, most)
}

/// `[row, query, ...]` in parts of at most `together` queries of a row, each as (row, first query, values).
pub(super) fn by_queries(
    out: &mut [f32],
    queries: usize,
    width: usize,
    together: usize,
) -> Vec<(usize, usize, &mut [f32])> {
    let rows = out.chunks_mut((queries * width).max(1)).enumerate();
    let parts = rows.flat_map(|(row, out)| {
        out.chunks_mut((together * width).max(1)).enumerate().map(move |(at, out)| (row, at * together, out))
    });
    parts.collect()
}
