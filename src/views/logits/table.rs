use crate::{
    analysis::cell,
    engine::NextTokens,
    views::table::{Table, quoted},
};

pub(super) fn table(tokens: &NextTokens) -> Table {
    let NextTokens { top, logits, baseline, .. } = tokens;
    let header = ["rank", "id", "token", "logit", "probability", "baseline probability"];
    let rows = top.iter().enumerate().map(|(rank, p)| {
        let numbers = [cell(p.logit), cell(p.prob), cell(p.baseline_prob)];
        [vec![(rank + 1).to_string(), p.id.to_string(), quoted(&p.text)], numbers.to_vec()].concat()
    });
    let array = |name: &str, values: &[f32]| (name.to_string(), vec![values.len()], values.to_vec());
    let arrays = [Some(array("logits", logits)), baseline.as_ref().map(|b| array("baseline", b))];
    let arrays = arrays.into_iter().flatten().collect();
    Table { header: header.map(String::from).to_vec(), rows: rows.collect(), arrays }
}
