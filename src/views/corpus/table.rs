use super::state::Corpus;
use crate::{
    analysis::cell,
    experiment::Results,
    views::table::{Table, quoted, short},
};

/// The rows in the order of the list.
pub(super) fn table(view: &Corpus, results: &Results) -> Table {
    let rows = || view.order.iter().filter_map(|row| results.rows.get(*row));
    let lines = rows().enumerate().map(|(number, row)| {
        let text = results.prompts.get(row.prompt).map_or("", |prompt| prompt.text.as_str());
        let model = results.models.get(row.model).cloned().unwrap_or_default();
        vec![
            number.to_string(),
            model,
            row.revision.as_deref().unwrap_or_default().to_string(),
            cell(row.baseline),
            cell(row.value),
            cell(row.effect()),
            quoted(text),
        ]
    });
    let array = |name: &str, of: &dyn Fn(&crate::experiment::ResultRow) -> f64| {
        let values: Vec<f32> = rows().map(|row| short(of(row))).collect();
        (name.to_string(), vec![values.len()], values)
    };
    Table {
        header: ["row", "model", "revision", "baseline", "edited", "effect", "prompt"].map(String::from).to_vec(),
        rows: lines.collect(),
        arrays: vec![array("baseline", &|row| row.baseline), array("edited", &|row| row.value)],
    }
}
