use super::parts::Scores;
use crate::{
    analysis::cell,
    engine::Faithfulness,
    views::table::{Table, short},
};

/// A row for each part, the strongest first; an unknown exact effect is empty.
pub(super) fn table(scores: &Scores) -> Table {
    let rows = scores
        .parts
        .iter()
        .map(|(part, estimate, exact)| vec![part.name(), cell(*estimate), exact.map_or_else(String::new, cell)]);
    let n = vec![scores.parts.len()];
    let estimates = scores.parts.iter().map(|(_, estimate, _)| short(*estimate)).collect();
    let exact = scores.parts.iter().map(|(.., exact)| short(exact.unwrap_or(f64::NAN))).collect();
    Table {
        header: ["part", "estimate", "exact"].map(String::from).to_vec(),
        rows: rows.collect(),
        arrays: vec![("estimate".into(), n.clone(), estimates), ("exact".into(), n, exact)],
    }
}

/// A row for each circuit of the strongest edges that has run.
#[allow(clippy::cast_precision_loss, reason = "numbers of edges are far below 2^24")]
pub(super) fn curve(scores: &Scores) -> Table {
    let row = |of: &Faithfulness| vec![of.edges.to_string(), cell(of.value), cell(of.faithfulness)];
    let n = vec![scores.curve.len()];
    let column = |of: fn(&Faithfulness) -> f32| scores.curve.iter().map(of).collect();
    Table {
        header: ["edges", "value", "faithfulness"].map(String::from).to_vec(),
        rows: scores.curve.iter().map(row).collect(),
        arrays: vec![
            ("edges".into(), n.clone(), column(|of| of.edges as f32)),
            ("value".into(), n.clone(), column(|of| short(of.value))),
            ("faithfulness".into(), n, column(|of| short(of.faithfulness))),
        ],
    }
}
