use super::state::{Continue, Side};
use crate::{
    analysis::cell,
    views::{
        Scene, Table,
        table::{quoted, short},
    },
};

/// A row for each step: the tokens of the texts on the screen with their probabilities.
pub(super) fn table(view: &Continue, scene: &Scene) -> Option<Table> {
    let unedited = view.branch(scene, Side::Unedited)?;
    let edited = view.branch(scene, Side::Edited);
    let n = unedited.tokens.len().max(edited.map_or(0, |branch| branch.tokens.len()));
    let mut header = ["step", "unedited", "probability"].map(String::from).to_vec();
    if edited.is_some() {
        header.extend(["edited", "edited probability", "its unedited probability"].map(String::from));
    }
    let row = |at: usize| {
        let mut cells = vec![(at + 1).to_string()];
        let one = unedited.tokens.get(at);
        cells.push(one.map(|made| quoted(&made.token.text)).unwrap_or_default());
        cells.push(one.map(|made| cell(made.prob)).unwrap_or_default());
        if let Some(edited) = edited {
            let one = edited.tokens.get(at);
            cells.push(one.map(|made| quoted(&made.token.text)).unwrap_or_default());
            cells.push(one.map(|made| cell(made.prob)).unwrap_or_default());
            cells.push(one.map(|made| cell(made.baseline_prob)).unwrap_or_default());
        }
        cells
    };
    let probs = |side: Side| -> Vec<f32> {
        view.branch(scene, side).iter().flat_map(|branch| &branch.tokens).map(|made| short(made.prob)).collect()
    };
    let array = |side: Side| (side.name().to_string(), vec![probs(side).len()], probs(side));
    let mut arrays = vec![array(Side::Unedited)];
    if let Some(edited) = edited {
        arrays.push(array(Side::Edited));
        let blocks = edited.changes.first().map_or(0, Vec::len);
        if blocks > 0 {
            let changes = edited.changes.iter().flatten().map(|change| short(*change)).collect();
            arrays.push(("changes".into(), vec![edited.changes.len(), blocks], changes));
        }
    }
    Some(Table { header, rows: (0..n).map(row).collect(), arrays })
}
