use super::{side::Side, state::Continue, tree::Branch};
use crate::{
    analysis::cell,
    engine::Compare,
    views::{
        Scene, Table,
        table::{plain, quoted, short},
    },
};

/// A row for each step: the tokens of the texts on the screen with their probabilities and, beside those of an edited text or of two
/// models, what these are without the edits or in the other model.
pub(super) fn table(view: &Continue, scene: &Scene) -> Option<Table> {
    let models = scene.compared_models() == Compare::Difference;
    let name = |side: Side| match (models, side) {
        (false, _) => side.name(scene),
        (true, Side::Unedited) => scene.beside(),
        (true, Side::Edited) => &scene.model.name,
    };
    view.branch(scene, Side::Unedited)?;
    let texts: Vec<(Side, &Branch)> =
        Side::ALL.into_iter().filter_map(|side| Some((side, view.branch(scene, side)?))).collect();
    let n = texts.iter().map(|(_, branch)| branch.tokens.len()).max().unwrap_or(0);
    let mut header = vec!["step".to_string()];
    for (side, _) in &texts {
        let own = name(*side);
        header.extend(match (models, side) {
            (false, Side::Unedited) => vec![own.into(), "probability".into()],
            (false, Side::Edited) => vec![own.into(), format!("{own} probability"), "its unedited probability".into()],
            (true, _) => {
                let other = name(if *side == Side::Edited { Side::Unedited } else { Side::Edited });
                vec![own.into(), format!("{own} probability"), format!("its probability in {other}")]
            }
        });
    }
    let row = |at: usize| {
        let of_text = |(side, branch): &(Side, &Branch)| {
            let one = branch.tokens.get(at);
            let beside = match (models, side) {
                (false, Side::Unedited) => None,
                (false, Side::Edited) => Some(one.map(|made| made.baseline_prob)),
                (true, _) => Some(branch.others.get(at).copied()),
            };
            let token = [one.map(|made| quoted(&made.token.text)), one.map(|made| cell(made.prob))];
            token
                .into_iter()
                .chain(beside.map(|prob| prob.map(cell)))
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
        };
        std::iter::once((at + 1).to_string()).chain(texts.iter().flat_map(of_text)).collect()
    };
    let mut arrays = vec![];
    for (side, branch) in &texts {
        let probs: Vec<f32> = branch.tokens.iter().map(|made| short(made.prob)).collect();
        arrays.push((plain(name(*side)), vec![probs.len()], probs));
    }
    let changes = view.branch(scene, Side::Edited).map_or(&[][..], |branch| &branch.changes);
    let blocks = changes.first().map_or(0, Vec::len);
    if blocks > 0 {
        let flat = changes.iter().flatten().map(|change| short(*change)).collect();
        arrays.push(("changes".into(), vec![changes.len(), blocks], flat));
    }
    Some(Table { header, rows: (0..n).map(row).collect(), arrays })
}
