//! The explorer on a model beside another with the same sizes.

use pythia_tui::{
    engine::Compare,
    experiment::{self, Given},
    explorer::Event,
    views::{Tab, Table},
};

use super::{
    explorer::{Explorer, choice},
    fixture,
};

pub const IDS: &str = "7,3,11,2,40,5";
pub const EDIT: &str = "blocks.0.attn.hook_z[head=1] = 0";

/// A checkpoint with the sizes of the micro one and other weights.
pub fn other() -> String {
    fixture("parallel-100").display().to_string()
}

pub fn start(model: &str, against: Option<&str>, edits: &[&str], size: (u16, u16)) -> Explorer {
    let given = Given {
        tokens: Some(IDS.split(',').map(|id| id.parse().unwrap()).collect()),
        contrast_tokens: Some(vec![9, 3, 11, 2, 40, 6]),
        edits: edits.iter().map(ToString::to_string).collect(),
        ..Given::default()
    };
    let choice = choice(Some(model));
    let prepared = experiment::prepare(&choice, &given, None, None, &mut |_| true, &|| true).unwrap();
    let other =
        against.map(|name| experiment::against(name, &choice, &prepared.engine, &mut |_| true, &|| true).unwrap());
    Explorer::start(prepared, other.map(|other| ("parallel-100", other)), size)
}

pub fn table(explorer: &mut Explorer, tab: Tab, point: &str, compare: Compare) -> Table {
    explorer.state.tab = tab;
    explorer.state.scene.select(point.parse().unwrap());
    explorer.state.scene.chosen_compare = compare;
    explorer.event(Event::Start);
    explorer.state.table().unwrap_or_else(|| panic!("{tab:?} {point}: {}", explorer.screen()))
}

/// The numbers of a table's arrays.
pub fn arrays(table: &Table) -> Vec<Vec<f32>> {
    table.arrays.iter().map(|(_, _, values)| values.clone()).collect()
}
