use super::{
    ask::Sides,
    state::{Weights, What, name_of_head},
};
use crate::{
    analysis::cell,
    views::{
        Scene, Table,
        table::{quoted, short},
    },
};

/// A row for each token of a direction or a neuron, for each distance, or for each pair of heads.
pub(super) fn table(view: &Weights, scene: &Scene) -> Option<Table> {
    match view.what {
        What::Ov | What::Qk => {
            let found = view.directions(scene)?.ok()?;
            if view.by_distance && view.what == What::Qk {
                let rows = found.distances.iter().map(|at| vec![at.distance.to_string(), cell(at.norm), cell(at.bias)]);
                let n = vec![found.distances.len()];
                let column = |of: fn(&crate::engine::AtDistance) -> f64| {
                    found.distances.iter().map(|at| short(of(at))).collect::<Vec<f32>>()
                };
                return Some(Table {
                    header: ["distance", "norm", "bias"].map(String::from).to_vec(),
                    rows: rows.collect(),
                    arrays: vec![
                        ("norm".into(), n.clone(), column(|at| at.norm)),
                        ("bias".into(), n, column(|at| at.bias)),
                    ],
                });
            }
            let (left, right) = sides_of(view.what);
            let rows = found.directions.iter().enumerate().flat_map(|(number, (value, read, written))| {
                [(left, read), (right, written)].into_iter().flat_map(move |(side, tokens)| {
                    listed(tokens)
                        .map(move |[rank, text, x]| vec![number.to_string(), side.into(), rank, text, x, cell(*value)])
                })
            });
            // the sides of a difference are vectors over the tokens
            let on_token = if found.relative.is_some() { "component" } else { "logit" };
            let values: Vec<f32> = found.directions.iter().map(|(value, ..)| short(*value)).collect();
            Some(Table {
                header: ["direction", "side", "rank", "token", on_token, "singular value"].map(String::from).to_vec(),
                rows: rows.collect(),
                arrays: vec![("singular_value".into(), vec![values.len()], values)],
            })
        }
        What::Neuron => {
            let found = Weights::tokens(scene)?.ok()?;
            let rows: Vec<Vec<String>> = listed(found).map(Vec::from).collect();
            let values: Vec<f32> = found.promoted.iter().chain(&found.suppressed).map(|(_, x)| *x).collect();
            Some(Table {
                header: ["rank", "token", "logit"].map(String::from).to_vec(),
                rows,
                arrays: vec![("logit".into(), vec![values.len()], values)],
            })
        }
        What::Composition => {
            let scores = view.scores(scene)?.ok()?;
            let n_heads = scene.schema.dims.n_heads;
            let n = n_heads * scene.schema.dims.n_layers;
            let pairs = scores.iter().enumerate().filter(|(pair, _)| (pair / n) / n_heads < (pair % n) / n_heads);
            let row = |(pair, score): (usize, &f32)| {
                vec![name_of_head(pair / n, n_heads), name_of_head(pair % n, n_heads), cell(f64::from(*score))]
            };
            Some(Table {
                header: ["from", "to", "score"].map(String::from).to_vec(),
                rows: pairs.map(row).collect(),
                arrays: vec![("score".into(), vec![n, n], scores.to_vec())],
            })
        }
    }
}

/// Rank, token and number: the promoted ones count from 1, the suppressed ones from -1.
fn listed(sides: &Sides) -> impl Iterator<Item = [String; 3]> + '_ {
    let row = |sign: &'static str| {
        move |(at, (text, x)): (usize, &(String, f32))| [format!("{sign}{}", at + 1), quoted(text), cell(f64::from(*x))]
    };
    let (promoted, suppressed) = (sides.promoted.iter().enumerate(), sides.suppressed.iter().enumerate());
    promoted.map(row("")).chain(suppressed.map(row("-")))
}

/// What the two sides of a direction are called.
pub(super) fn sides_of(what: What) -> (&'static str, &'static str) {
    match what {
        What::Qk => ("query", "key"),
        What::Ov | What::Neuron | What::Composition => ("reads", "writes"),
    }
}
