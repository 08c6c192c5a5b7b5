use crate::{
    analysis::cell,
    engine::NextTokens,
    views::table::{Table, plain, quoted},
};

/// The next tokens, with the numbers of the run with this name beside theirs.
pub(super) fn table(tokens: &NextTokens, beside: &str) -> Table {
    let NextTokens { top, logits, baseline, .. } = tokens;
    let header = ["rank", "id", "token", "logit", "probability", &format!("{beside} probability")];
    let rows = top.iter().enumerate().map(|(rank, p)| {
        let numbers = [cell(p.logit), cell(p.prob), cell(p.baseline_prob)];
        [vec![(rank + 1).to_string(), p.id.to_string(), quoted(&p.text)], numbers.to_vec()].concat()
    });
    let array = |name: &str, values: &[f32]| (name.to_string(), vec![values.len()], values.to_vec());
    let arrays = [Some(array("logits", logits)), baseline.as_ref().map(|b| array(&plain(beside), b))];
    let arrays = arrays.into_iter().flatten().collect();
    Table { header: header.map(String::from).to_vec(), rows: rows.collect(), arrays }
}
