//! Breakpoints in a sweep, against a run of each cell by itself.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, ops::ControlFlow, sync::atomic::AtomicBool};

use common::engine;
use pythia_tui::{
    engine::{CellBreakpoint, Control, Engine, Filling, Map, Metric, Patch, Question, Spec, Swept},
    hooks::{Capture, Edit, HookPoint, Op},
    model::Processing,
    predicate::{Match, Predicate},
};

const WHEN: [&str; 8] = [
    "blocks.*.attn.hook_pattern[query=-1 key=0] > 0.25",
    "max(norm(blocks.*.hook_mlp_out)) > 0.9",
    "delta(blocks.*.hook_resid_post) > 0.2",
    "hook_embed > 0.05 and blocks.1.attn.hook_z > 0.1",
    "norm(blocks.0.hook_resid_pre) > 0.5",
    "induction(blocks.*.attn.hook_pattern) > 0.2",
    "ln_final.hook_normalized[pos=-1] > 2.5",
    "blocks.*.ln1.hook_scale[pos=0] < 0.1 or blocks.1.attn.hook_attn_scores[head=0] > 0.5",
];

const QUESTION: Question = Question { target: 5, distractor: Some(9) };

fn spec(edits: &[&str], enabled: &[&str]) -> Spec {
    Spec {
        tokens: vec![7, 3, 9, 7, 3],
        contrast: Some(vec![8, 3, 2, 7, 40]),
        edits: edits.iter().map(|line| line.parse().unwrap()).collect(),
        enabled: enabled.iter().map(|name| name.parse::<HookPoint>().unwrap()).collect(),
        ..Spec::default()
    }
}

fn with<T>(call: impl FnOnce(Control<'_>) -> T) -> T {
    let cancel = AtomicBool::new(false);
    call(Control { cancel: &cancel, progress: &|_, _| {} })
}

fn predicates() -> Vec<Predicate> {
    WHEN.iter().map(|when| when.parse().unwrap()).collect()
}

/// Number of places and the first, by cell and breakpoint.
type Found = BTreeMap<(usize, usize), (usize, Match)>;

fn one_by_one(engine: &mut Engine, spec: &Spec, cells: &[Vec<Edit>]) -> Found {
    let mut all = Found::new();
    for (cell, edits) in cells.iter().enumerate() {
        let spec = Spec { edits: [spec.edits.as_slice(), edits].concat(), ..spec.clone() };
        let outcome = with(|control| engine.run(&spec, &Capture::All, 0, control)).unwrap();
        for (number, predicate) in predicates().iter().enumerate() {
            let mut found = |found: &Match| {
                let (places, _) = all.entry((cell, number)).or_insert_with(|| (0, found.clone()));
                *places += 1;
                ControlFlow::Continue(())
            };
            with(|control| engine.find_in(&outcome, predicate, &mut found, control)).unwrap();
        }
    }
    all
}

fn cells(engine: &Engine) -> Vec<Vec<Edit>> {
    let lines = [
        "hook_embed[pos=1] *= 3",
        "blocks.0.hook_resid_pre[pos=-1] = 0",
        "blocks.1.hook_resid_post *= 2",
        "ln_final.hook_normalized *= 2",
        "blocks.0.attn.hook_pattern[query=2] = 0",
        "blocks.0.attn.hook_attn_scores[head=1 key=0] = 5",
        "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_k_input[head=0] *= 3",
        "hook_embed *= 1",
    ];
    let lines = lines.iter().map(|line| vec![line.parse().unwrap()]);
    let maps = [Map::Ablate(Op::Set(0.0)), Map::Patch(Patch::ResidPre), Map::Patch(Patch::HeadPatternByPos)];
    let of_map = |map: Map| {
        let grid = map.grid(&engine.schema, 5);
        (0..grid.cells()).map(|cell| grid.edit(cell).into_iter().collect()).collect::<Vec<_>>()
    };
    lines.chain(maps.into_iter().flat_map(of_map)).collect()
}

#[test]
fn a_breakpoint_is_true_in_a_cell_as_in_a_run_of_its_own() {
    let edits = ["blocks.0.attn.hook_z[head=0] *= 2", "blocks.1.hook_mlp_out = freeze"];
    for model in ["parallel-25", "sequential-25"] {
        for (edits, enabled) in [(&[][..], &[][..]), (&edits[..], &[]), (&[], &["blocks.1.hook_q_input"])] {
            let mut engine = engine(model, Processing::Folded, &[]);
            let spec = spec(edits, enabled);
            let cells = cells(&engine);
            let expected = one_by_one(&mut engine, &spec, &cells);
            let mut found = Found::new();
            let mut measured = 0;
            let mut each = |swept| {
                match swept {
                    Swept::Begun { .. } => {}
                    Swept::Cells(cells) => measured += cells.len(),
                    Swept::Hits(hits) => {
                        found.extend(
                            hits.into_iter().map(|of| ((of.cell, of.hit.breakpoint), (of.hit.places, of.hit.first))),
                        );
                    }
                }
                ControlFlow::Continue(())
            };
            with(|control| engine.watched_sweep(&spec, &cells, QUESTION, &predicates(), control, &mut each)).unwrap();
            assert_eq!(measured, cells.len());
            let places = |found: &Found| -> Vec<_> {
                found.iter().map(|(key, (places, first))| (*key, *places, first.place.clone())).collect()
            };
            assert_eq!(places(&found), places(&expected), "{model} {edits:?} {enabled:?}");
            for (key, (_, first)) in &found {
                let other = expected[key].1.value;
                assert!((first.value - other).abs() <= 1e-6 * other.abs(), "{key:?}: {} {other}", first.value);
            }
            // each of them is true in some cells; what the sweep leaves alone counts too
            for (number, when) in WHEN.iter().enumerate() {
                let n = found.keys().filter(|(_, of)| *of == number).count();
                assert!(n > 0, "{when} is never true with {model} {edits:?}");
            }
        }
    }
}

#[test]
fn a_breakpoint_stops_a_sweep_which_goes_on_from_there() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let spec = spec(&[], &[]);
    let map = Map::Ablate(Op::Set(0.0));
    let fill = |engine: &mut Engine, filling: &mut Filling| {
        with(|control| engine.fill(&spec, QUESTION, Metric::Kl, filling, control, &mut |_| {})).unwrap();
    };
    let mut plain = Filling::new(map, &engine.schema, 5);
    fill(&mut engine, &mut plain);
    let mut filling = Filling::new(map, &engine.schema, 5);
    let ablated = |block: usize| format!("max(abs(blocks.{block}.hook_mlp_out) over all) == 0").parse().unwrap();
    filling.breakpoints = vec![CellBreakpoint::new(ablated(1), false), CellBreakpoint::new(ablated(0), true)];
    let mut stops = vec![];
    loop {
        fill(&mut engine, &mut filling);
        stops.extend(filling.stopped_at());
        if !filling.is_filling() {
            break;
        }
    }
    assert_eq!(stops, ["L1 mlp: blocks.1.hook_mlp_out = 0"]);
    let found = |number: usize| {
        let of = &filling.breakpoints[number];
        (of.cells, filling.grid.cell_name(of.first.as_ref().unwrap().cell))
    };
    assert_eq!((found(0), found(1)), ((1, "L1 mlp".into()), (1, "L0 mlp".into())));
    assert_eq!(filling.measures, plain.measures);
    assert_eq!(filling.comparison.is_some(), plain.comparison.is_some());
}
