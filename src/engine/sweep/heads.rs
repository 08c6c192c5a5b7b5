//! The strongest heads of a map ablated together, compared with as many random ones.

use std::collections::BTreeSet;

use super::{
    super::{Control, Engine, Spec},
    Column, Grid, Measure, Metric, Question, Swept,
};
use crate::hooks::{Axis, BlockHook, Edit, HookPoint, Op, RunError, random_bits};

/// The effect of a set of heads, compared with random ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The heads that are compared, as (layer, head).
    pub heads: Vec<(usize, usize)>,
    /// The metric with all of them ablated at once.
    pub effect: f64,
    /// The metric with as many random heads of the same layers, one for each seed.
    pub random: Vec<f64>,
}

impl Comparison {
    /// Mean and sample standard deviation of the random sets.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of seeds")]
    pub fn spread(&self) -> (f64, f64) {
        let n = self.random.len() as f64;
        let mean = self.random.iter().sum::<f64>() / n;
        let squares: f64 = self.random.iter().map(|x| (x - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0).max(1.0)).sqrt())
    }
}

/// The strongest heads of an ablation map, as (layer, head).
#[must_use]
pub fn strongest(grid: &Grid, values: &[f64], count: usize) -> Vec<(usize, usize)> {
    let places = grid.rows.iter().flat_map(|row| grid.columns.iter().map(move |column| (row.layer, *column)));
    let heads = places.zip(values).filter_map(|((layer, column), value)| match column {
        Column::Head(head) if value.is_finite() => Some((layer, head, *value)),
        _ => None,
    });
    let mut heads: Vec<(usize, usize, f64)> = heads.collect();
    heads.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    // heads that push the other way would reduce the joint effect
    let up = heads.first().is_some_and(|first| first.2 > 0.0);
    heads.retain(|head| (head.2 > 0.0) == up);
    heads.into_iter().take(count).map(|(layer, head, _)| (layer, head)).collect()
}

/// Edits that ablate heads at once.
#[must_use]
pub fn ablate_heads(heads: &[(usize, usize)], op: Op) -> Vec<Edit> {
    let edit =
        |(layer, head): &(usize, usize)| Edit::at(HookPoint::Block(*layer, BlockHook::Z), &[(Axis::Head, *head)], op);
    heads.iter().map(edit).collect()
}

/// As many heads of the same layers, chosen at random; others than the given ones as far as a layer has any.
#[must_use]
pub fn random_heads(heads: &[(usize, usize)], n_heads: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut drawn = 0;
    let mut layers: Vec<usize> = heads.iter().map(|(layer, _)| *layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut chosen = Vec::new();
    for layer in layers {
        let taken = |head: &usize| heads.contains(&(layer, *head));
        let count = heads.iter().filter(|(l, _)| *l == layer).count();
        let (mut others, mut same): (Vec<usize>, Vec<usize>) = (0..n_heads).partition(|head| !taken(head));
        for _ in 0..count {
            let pool = if others.is_empty() { &mut same } else { &mut others };
            let at = usize::try_from(random_bits(seed, drawn) % pool.len().max(1) as u64).unwrap_or(0);
            drawn += 1;
            chosen.push((layer, pool.swap_remove(at)));
        }
    }
    chosen
}

impl Engine {
    /// The strongest `count` heads of a map, ablated at once, beside as many random ones of the same layers.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    #[allow(clippy::too_many_arguments, reason = "everything a comparison depends on")]
    pub fn compare_heads(
        &mut self,
        spec: &Spec,
        heads: &[(usize, usize)],
        op: Op,
        metric: Metric,
        question: Question,
        seeds: u64,
        control: Control<'_>,
    ) -> Result<Comparison, RunError> {
        let n_heads = self.schema.dims.n_heads;
        // a small layer has few distinct sets of heads, and each set counts once
        let mut sets: Vec<Vec<(usize, usize)>> =
            vec![heads.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()];
        for seed in 1..=20 * seeds {
            let set: BTreeSet<(usize, usize)> = random_heads(heads, n_heads, seed).into_iter().collect();
            let set = set.into_iter().collect();
            if !sets.contains(&set) && sets.len() <= usize::try_from(seeds).unwrap_or(usize::MAX) {
                sets.push(set);
            }
        }
        let random = sets[1..].iter().map(|heads| ablate_heads(heads, op));
        let cells: Vec<Vec<Edit>> = std::iter::once(ablate_heads(heads, op)).chain(random).collect();
        let (mut measures, mut begun) = (vec![None; cells.len()], None);
        self.sweep(spec, &cells, question, control, &mut |swept| match swept {
            Swept::Begun { before, .. } => begun = Some(before),
            Swept::Hits(_) => {}
            Swept::Cells(cells) => {
                for (number, measure) in cells {
                    measures[number] = Some(measure);
                }
            }
        })?;
        let value = |m: &Option<Measure>| {
            m.as_ref().zip(begun.as_ref()).map_or(f64::NAN, |(m, before)| metric.of(m, before, None))
        };
        let mut values = measures.iter().map(value);
        let effect = values.next().unwrap_or(f64::NAN);
        Ok(Comparison { heads: heads.to_vec(), effect, random: values.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_heads_are_other_heads_of_the_same_layers_if_there_are_any() {
        let heads = [(0, 1), (0, 3), (2, 2)];
        for seed in 0..50 {
            let random = random_heads(&heads, 4, seed);
            assert_eq!(random.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [0, 0, 2]);
            assert!(random.iter().all(|head| !heads.contains(head)) && random[0] != random[1], "{random:?}");
        }
        // three of four: one is new, the rest can't be
        let random = random_heads(&[(0, 0), (0, 1), (0, 2)], 4, 1);
        assert_eq!(random.iter().filter(|(_, head)| *head == 3).count(), 1);
    }
}
