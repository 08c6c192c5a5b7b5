//! Shares of a large experiment, for the tasks of a scheduler. Each is determined by the experiment alone, so that tasks need
//! not know of each other and can run again in any order.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    path::{Path, PathBuf},
};

/// One share, from 0, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub at: usize,
    pub of: usize,
}

/// All of it.
impl Default for Shard {
    fn default() -> Self {
        Self { at: 0, of: 1 }
    }
}

/// `3/64`
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.at + 1, self.of)
    }
}

impl Shard {
    /// For names of files, which sort in its order: `03-of-64`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let digits = self.of.to_string().len();
        format!("{:0digits$}-of-{}", self.at + 1, self.of)
    }

    /// A path in which `{shard}` became [`Self::file_name`].
    #[must_use]
    pub fn named(&self, path: &Path) -> PathBuf {
        path.to_str().map_or_else(|| path.to_path_buf(), |name| name.replace("{shard}", &self.file_name()).into())
    }
}

/// What each shard costs so far.
struct Loads(BinaryHeap<Reverse<(u128, usize)>>);

impl Loads {
    fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|shard| Reverse((0, shard))).collect())
    }

    /// Give a unit to the shard that costs least, the first of equal ones.
    fn give(&mut self, cost: u128) -> usize {
        let Some(mut least) = self.0.peek_mut() else { return 0 };
        let Reverse((load, shard)) = *least;
        *least = Reverse((load + cost, shard));
        shard
    }
}

/// The shard of each unit of work, so that the shards cost about the same: the costliest unit first, each to the shard that costs
/// least so far (Graham, "Bounds on multiprocessing timing anomalies", 1969: at most 4/3 of the best distribution).
#[must_use]
pub fn balanced(costs: &[u128], shards: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|at| Reverse(costs[*at]));
    let mut loads = Loads::new(shards);
    let mut shard_of = vec![0; costs.len()];
    for at in order {
        shard_of[at] = loads.give(costs[at]);
    }
    shard_of
}

/// Divides units that come one by one, in the same order for every shard: each goes to the shard that costs least so far.
pub struct Dealer {
    loads: Loads,
    own: usize,
}

impl Dealer {
    #[must_use]
    pub fn new(shard: Shard) -> Self {
        Self { loads: Loads::new(shard.of), own: shard.at }
    }

    /// Whether the next unit, of this cost, belongs to the shard.
    pub fn is_own(&mut self, cost: usize) -> bool {
        self.loads.give(cost as u128) == self.own
    }
}
