use crate::{
    analysis::cell,
    engine::{HookTotals, Reading},
    views::{Scene, Table},
};

/// Every hook with its shape and the total of its gradients.
pub(super) fn of_totals(scene: &Scene, HookTotals(totals): &HookTotals) -> Table {
    let what = match scene.reading {
        Reading::Value | Reading::Gradient => "norm of gradient",
        Reading::TimesValue => "sum of gradient x value",
        Reading::TimesChange => "sum of gradient x (contrast - prompt)",
    };
    let rows = totals.iter().map(|(point, total)| {
        vec![point.to_string(), format!("{:?}", scene.schema.shape(*point, scene.tokens().len())), cell(*total)]
    });
    Table { header: ["hook", "shape", what].map(String::from).to_vec(), rows: rows.collect(), arrays: vec![] }
}

/// Every hook with its shape and how far the edits changed it.
pub(super) fn table(scene: &Scene) -> Table {
    let changes = scene.runs.shown.as_ref().map(|shown| &shown.changes);
    let rows = scene.schema.all_points().into_iter().map(|point| {
        let shape = scene.schema.shape(point, scene.tokens().len());
        let change = changes.and_then(|changes| changes.get(&point)).map_or_else(String::new, |c| cell(*c));
        vec![point.to_string(), format!("{shape:?}"), change]
    });
    let what = match &scene.against {
        Some(other) => format!("relative distance from {other}"),
        None => "relative change".into(),
    };
    let header = vec!["hook".into(), "shape".into(), what];
    Table { header, rows: rows.collect(), arrays: vec![] }
}
