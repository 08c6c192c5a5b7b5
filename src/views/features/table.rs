use super::state::Features;
use crate::{
    analysis::cell,
    views::{
        Scene, Table,
        table::{quoted, short},
    },
};

/// A row for each feature of the position, or for each position of the feature.
pub(super) fn table(view: &Features, scene: &Scene) -> Option<Table> {
    if view.over_tokens {
        let values = view.activations(scene)?;
        let rows = values.iter().zip(scene.tokens()).enumerate();
        let rows = rows.map(|(pos, (x, token))| vec![pos.to_string(), quoted(&token.text), cell(f64::from(*x))]);
        let header = ["position", "token", "activation"].map(String::from).to_vec();
        let rows = rows.collect();
        return Some(Table { header, rows, arrays: vec![("activation".into(), vec![values.len()], values)] });
    }
    let all = view.listed(scene)?;
    let row = |one: &super::state::Listed| {
        let promoted = one.promoted.iter().map(|token| quoted(token)).collect::<Vec<_>>().join(" ");
        vec![one.id.to_string(), cell(one.value), promoted, one.label.clone().unwrap_or_default()]
    };
    let numbers = |of: fn(&super::state::Listed) -> f64| all.iter().map(|one| short(of(one))).collect::<Vec<f32>>();
    Some(Table {
        header: ["feature", "activation", "promotes", "label"].map(String::from).to_vec(),
        rows: all.iter().map(row).collect(),
        arrays: vec![
            ("feature".into(), vec![all.len()], numbers(|one| f64::from(one.id))),
            ("activation".into(), vec![all.len()], numbers(|one| one.value)),
        ],
    })
}
