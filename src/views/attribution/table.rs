use super::component::Component;
use crate::{
    analysis::cell,
    engine::Attribution,
    views::table::{Table, short},
};

/// The parts on the screen, the largest first.
pub(super) fn table(parts: &Attribution, order: &[Component]) -> Table {
    let rows = order.iter().map(|c| vec![c.name(), cell(c.of(parts))]);
    let (layers, heads) = (parts.heads.len(), parts.heads.first().map_or(0, Vec::len));
    let of = |c: Component| short(c.of(parts));
    let all = (0..layers).flat_map(|block| (0..heads).map(move |head| Component::Head(block, head)));
    let rest = [Component::Embed, Component::Bias, Component::Constant].map(of).to_vec();
    let arrays = vec![
        ("heads".into(), vec![layers, heads], all.map(of).collect()),
        ("mlps".into(), vec![layers], (0..layers).map(|block| of(Component::Mlp(block))).collect()),
        ("embed_bias_constant".into(), vec![3], rest),
    ];
    Table { header: vec!["component".into(), "logit".into()], rows: rows.collect(), arrays }
}
