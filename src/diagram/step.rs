//! The neighbours of a hook.

use super::{Picture, Place};
use crate::hooks::HookPoint;

/// A direction from a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Left,
    Right,
}

impl Direction {
    pub const ALL: [Self; 4] = [Self::Up, Self::Down, Self::Left, Self::Right];
}

impl Picture {
    /// The hook in a direction: the next on the same wire or in the same row, else the nearest. A hook at the edge, or
    /// one that is not drawn here, leads to itself. Steps connect every hook with every other.
    #[must_use]
    pub fn step(&self, from: HookPoint, direction: Direction) -> HookPoint {
        let Some(here) = self.whole.iter().position(|place| place.hook == from) else { return from };
        let to = self.steps()[here][direction as usize];
        self.whole.get(to).map_or(from, |place| place.hook)
    }

    /// For each hook its neighbours in the four directions.
    fn steps(&self) -> Vec<[usize; 4]> {
        let all: Vec<usize> = (0..self.whole.len()).collect();
        let cost = |from: usize, to: usize, direction: Direction| {
            let (a, b) = (&self.whole[from], &self.whole[to]);
            let wired = self.joined.contains(&(a.hook, b.hook)) || self.joined.contains(&(b.hook, a.hook));
            cost(a, b, direction, wired)
        };
        let nearest = |from: usize, direction: Direction| {
            let costs = all.iter().filter_map(|to| Some((cost(from, *to, direction)?, *to)));
            costs.min().map_or(from, |(_, to)| to)
        };
        let mut steps: Vec<[usize; 4]> =
            all.iter().map(|from| Direction::ALL.map(|direction| nearest(*from, direction))).collect();
        // a hook that is the nearest of no other gets the cheapest step to it that keeps every other hook in reach
        for from in &all {
            let mut within = reach(*from, &steps);
            while within.contains(&false) {
                let missed = all.iter().filter(|to| !within[**to]);
                let ways = missed.flat_map(|to| all.iter().map(move |via| (*via, *to))).filter(|(via, _)| within[*via]);
                let ways = ways.flat_map(|(via, to)| Direction::ALL.map(|direction| (via, to, direction)));
                let mut ways: Vec<_> = ways
                    .filter_map(|(via, to, direction)| Some((cost(via, to, direction)?, via, to, direction as usize)))
                    .collect();
                ways.sort_unstable();
                let better = ways.into_iter().find_map(|(_, via, to, direction)| {
                    let mut changed = steps.clone();
                    changed[via][direction] = to;
                    let reached = reach(*from, &changed);
                    let keeps = within.iter().zip(&reached).all(|(before, after)| !before || *after);
                    keeps.then_some((changed, reached))
                });
                let Some((changed, reached)) = better else { break };
                (steps, within) = (changed, reached);
            }
        }
        steps
    }
}

/// Which places can be reached.
fn reach(from: usize, steps: &[[usize; 4]]) -> Vec<bool> {
    let (mut reached, mut ahead) = (vec![false; steps.len()], vec![from]);
    while let Some(at) = ahead.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            ahead.extend(steps[at]);
        }
    }
    reached
}

/// The cost of a step to a hook; None if it is not in that direction. Hooks straight ahead come first (along a wire
/// vertically, in the same row horizontally), then the nearest. Rows count twice, since they are twice as high as
/// columns are wide; hooks off the direction, or on no wire from here, count as farther.
fn cost(from: &Place, to: &Place, direction: Direction, wired: bool) -> Option<(bool, usize)> {
    let (dx, dy) = (to.mark.abs_diff(from.mark), 2 * to.y.abs_diff(from.y));
    let (along, aside) = (wired && dx == 0, dy == 0);
    let (lies_there, straight, off) = match direction {
        Direction::Up => (to.y < from.y, along, dx > dy),
        Direction::Down => (to.y > from.y, along, dx > dy),
        Direction::Left => (to.mark < from.mark, aside, dy > dx),
        Direction::Right => (to.mark > from.mark, aside, dy > dx),
    };
    let farther = if wired || straight { 1 } else { 2 } * if off { 2 } else { 1 };
    lies_there.then_some((!straight, (dx + dy) * farther))
}
