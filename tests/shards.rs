//! Shards of a grid: together they are the whole, and none costs much more than another.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use pythia_tui::{
    experiment::{Grid, ModelChoice, Shard, balanced},
    explorer::SavedView,
    model::Processing,
};

fn grid(models: &[&str], revisions: usize, prompts: &[usize]) -> Grid<SavedView> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grid.toml");
    let revisions: Vec<String> = (0..revisions).map(|step| format!("step{step}")).collect();
    let prompts: String = prompts.iter().map(|n| format!("[[grid.prompt]]\ntokens = {:?}\n", vec![1; *n])).collect();
    let text = format!(
        "version = 1\nmodel = 'demo'\nmetric = 'kl'\n[grid]\nmodels = {models:?}\nrevisions = {revisions:?}\n{prompts}"
    );
    fs::write(&path, text).unwrap();
    let choice = ModelChoice {
        name: None,
        revision: None,
        processing: Processing::Folded,
        device: "cpu".parse().unwrap(),
        dtype: "f32".parse().unwrap(),
        offline: true,
    };
    Grid::read(&path, &choice, &[]).unwrap()
}

const MODELS: [&str; 4] = ["pythia-14m", "pythia-70m-seed1", "pythia-1.4b", "some/other"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn shards_partition_the_cells_and_their_costs_are_close(
        n_models in 1_usize..=4,
        revisions in 1_usize..12,
        prompts in proptest::collection::vec(1_usize..40, 1..30),
        shards in 1_usize..60,
    ) {
        let grid = grid(&MODELS[..n_models], revisions, &prompts);
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        let mut loads = vec![];
        let mut most = 0;
        for at in 0..shards {
            let units = grid.units(Shard { at, of: shards });
            let cells: Vec<usize> = units.iter()
                .flat_map(|unit| unit.prompts.clone().map(|prompt| grid.cell(unit.checkpoint, prompt))).collect();
            prop_assert!(cells.is_sorted(), "rows are in the order of their cells");
            for cell in cells {
                prop_assert_eq!(seen.insert(cell, at), None, "cell {} twice", cell);
            }
            most = most.max(units.iter().map(|unit| unit.cost).max().unwrap_or(0));
            loads.push(units.iter().map(|unit| unit.cost).sum::<u128>());
        }
        prop_assert_eq!(seen.len(), grid.cells());
        let total: u128 = loads.iter().sum();
        let (least, greatest) = (*loads.iter().min().unwrap(), *loads.iter().max().unwrap());
        // of greedy distributions: the last unit of the fullest shard went to what was then the emptiest one
        prop_assert!(greatest - least <= most, "{loads:?}");
        prop_assert!(greatest <= total / shards as u128 + most);
    }

    /// At most 4/3 of the best distribution, which costs no less than the mean and the costliest unit.
    #[test]
    fn the_costliest_shard_is_within_graham_s_bound(costs in proptest::collection::vec(1_u128..1000, 1..9), shards in 1_usize..4) {
        let cost = |of: &[usize]| {
            let mut loads = vec![0; shards];
            of.iter().zip(&costs).for_each(|(shard, cost)| loads[*shard] += cost);
            *loads.iter().max().unwrap()
        };
        let found = balanced(&costs, shards);
        prop_assert_eq!(&found, &balanced(&costs, shards), "the same every time");
        let best = (0..shards.pow(costs.len() as u32)).map(|code| {
            let of: Vec<usize> = (0..costs.len()).map(|unit| code / shards.pow(unit as u32) % shards).collect();
            cost(&of)
        }).min().unwrap();
        prop_assert!(3 * shards as u128 * cost(&found) <= (4 * shards as u128 - 1) * best);
    }
}

#[test]
fn a_checkpoint_is_loaded_by_one_shard_as_long_as_there_are_enough() {
    let grid = grid(&MODELS, 5, &[3; 10]);
    for of in 1..=20 {
        let units: Vec<_> = (0..of).flat_map(|at| grid.units(Shard { at, of })).collect();
        assert_eq!(units.len(), 20, "{of} shards");
        assert!(units.iter().all(|unit| unit.prompts == (0..10)));
    }
    assert_eq!((0..21).flat_map(|at| grid.units(Shard { at, of: 21 })).count(), 40);
}
