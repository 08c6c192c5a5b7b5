use super::quantity::Quantity;
use crate::{
    analysis::cell,
    views::{
        Scene,
        table::{Table, plain, short},
    },
};

/// The charted number, over the visited steps.
pub(super) fn table(quantity: Quantity, scene: &Scene) -> Table {
    let points = quantity.over_training(scene);
    let step = |at: usize| &scene.checkpoints.steps[at];
    let rows = points.iter().map(|point| {
        let baseline = point.baseline.map_or_else(String::new, cell);
        let copy = scene.checkpoints.copy_of(point.at).unwrap_or_default().to_string();
        vec![step(point.at).step.to_string(), step(point.at).revision.clone(), cell(point.value), baseline, copy]
    });
    #[allow(clippy::cast_precision_loss, reason = "steps are below 2^24")]
    let steps = points.iter().map(|point| step(point.at).step as f32).collect();
    let value = points.iter().map(|point| short(point.value)).collect();
    let baseline = points.iter().map(|point| short(point.baseline.unwrap_or(f64::NAN))).collect();
    let array = |name: &str, values: Vec<f32>| (name.to_string(), vec![values.len()], values);
    let header =
        ["step".into(), "revision".into(), quantity.title_of(scene), scene.beside().into(), "same_weights".into()];
    Table {
        header: header.to_vec(),
        rows: rows.collect(),
        arrays: vec![array("step", steps), array("value", value), array(&plain(scene.beside()), baseline)],
    }
}
