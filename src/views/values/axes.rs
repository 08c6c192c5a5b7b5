//! The two axes that an activation is shown along.

use crate::hooks::Axis;

/// The pair of a number, counted around.
pub(super) fn pair(axes: &[Axis], number: usize) -> (Axis, Axis) {
    let pairs = pairs(axes);
    pairs.get(number % pairs.len().max(1)).copied().unwrap_or((Axis::One, Axis::One))
}

/// The name of a pair, rows before columns.
pub(super) fn title((rows, columns): (Axis, Axis)) -> String {
    format!("{rows} by {columns}")
}

/// The pairs of axes that an activation can be shown along, rows before columns, the usual one first; at least one.
pub(super) fn pairs(axes: &[Axis]) -> Vec<(Axis, Axis)> {
    match axes {
        [] => vec![(Axis::One, Axis::One)],
        [only] => vec![(*only, Axis::One)],
        [a, b] | [a, b, Axis::One] => vec![(*a, *b)],
        [Axis::Head, b, c] => vec![(*b, *c), (Axis::Head, *b), (Axis::Head, *c)],
        // no activation has more than three
        [a, b, c, ..] => vec![(*a, *c), (*a, *b), (*b, *c)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::{Dims, Schema},
        model::ACTIVATIONS,
    };

    #[test]
    fn every_activation_has_rows_and_columns_and_one_axis_beside_them_at_most() {
        for parallel in [false, true] {
            let mut schema = Schema::new(Dims {
                n_layers: 1,
                n_heads: 2,
                d_head: 4,
                d_model: 8,
                d_mlp: 16,
                d_vocab: 50,
                parallel,
                activation: ACTIVATIONS[0].words,
            });
            let opt_in = schema.all_points().into_iter().filter(|point| point.is_opt_in()).collect();
            for enabled in [std::collections::BTreeSet::new(), opt_in] {
                schema.set_enabled(enabled);
                for point in schema.all_points() {
                    let axes = schema.axes(point);
                    assert!((1..=3).contains(&axes.len()), "{point}: {axes:?}");
                    for (rows, columns) in pairs(&axes) {
                        let beside = axes.iter().filter(|axis| **axis != rows && **axis != columns).count();
                        assert!(rows != columns && beside <= 1, "{point}: {rows}, {columns}");
                    }
                }
            }
        }
    }
}
