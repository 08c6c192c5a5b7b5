//! Attribution patching, path edits, circuits and explanations against TransformerLens 2.18.0
//! (`tests/golden/circuits.py`), and direct paths against 4.3.0's `get_act_patch_direct_path`
//! (`tests/golden/direct_path.py`).
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::AtomicBool;

use candle_core::DType;
use common::{
    activations, engine, engine_at,
    golden::{Golden, error, error_of, ids, strings},
    run,
};
use pythia_tui::{
    analysis::{Edge, GraphShape, Node, Objective},
    engine::{
        AttributionError, Control, Engine, Filling, Map, Method, Metric, Patch, Question, ScoreCell, Spec, Swept,
        without_stream_edits,
    },
    hooks::{Axis, BlockHook, Capture, Edit, HookPoint, Op, Region},
    model::{Placement, Processing},
};
use serde_json::Value;

const CHECKPOINTS: [&str; 2] = ["parallel-25", "sequential-25"];
const PROCESSINGS: [(Processing, &str); 2] = [(Processing::Folded, "processed"), (Processing::None, "unprocessed")];

/// Relative to a tensor's largest value.
const TOLERANCE: f64 = 2e-5;

/// For the difference of two runs' numbers, relative to these numbers, whose rounding it has.
const TOLERANCE_OF_DIFFERENCES: f64 = 5e-6;

static NEVER: AtomicBool = AtomicBool::new(false);

fn control() -> Control<'static> {
    Control { cancel: &NEVER, progress: &|_, _| {} }
}

/// Each model with its golden and the two prompts.
fn each(mut test: impl FnMut(&str, &mut Engine, &Golden, &Value, Spec)) {
    for checkpoint in CHECKPOINTS {
        for (processing, kind) in PROCESSINGS {
            let golden = Golden::open(&format!("circuits-{checkpoint}-{kind}"));
            let meta = golden.json("circuits");
            let spec = Spec { tokens: ids(&meta["prompt"]), contrast: Some(ids(&meta["contrast"])), ..Spec::default() };
            let mut engine = engine(checkpoint, processing, &[]);
            test(&format!("{checkpoint} {kind}"), &mut engine, &golden, &meta, spec);
        }
    }
}

fn objective(name: &str, pos: usize) -> Objective {
    match name {
        "logit-diff" => Objective::LogitDiff { pos, target: 5, distractor: Some(9) },
        "prob" => Objective::Prob { pos, target: 5 },
        "kl" => Objective::Kl { pos },
        "loss" => Objective::Loss,
        other => panic!("{other}"),
    }
}

fn narrow<T>(scores: &[(T, f64)]) -> Vec<f32> {
    scores.iter().map(|(_, score)| *score as f32).collect()
}

#[test]
fn nodes_and_edges_equal_autograd_and_patching() {
    let (mut worst, mut worst_exact, mut worst_sum) = (0.0f64, 0.0f64, 0.0f64);
    each(|what, engine, golden, meta, spec| {
        let last = spec.tokens.len() - 1;
        let steps = meta["steps"].as_u64().unwrap() as usize;
        let diff = objective("logit-diff", last);
        for (name, method) in [
            ("eap/logit-diff", Method::Eap),
            ("eap/prob", Method::Eap),
            ("eap/loss", Method::Eap),
            ("eap-ig", Method::EapIg { steps }),
            ("exact/logit-diff", Method::Exact),
            ("exact/kl", Method::Exact),
            ("exact/loss", Method::Exact),
        ] {
            let objective = objective(name.split('/').nth(1).unwrap_or("logit-diff"), last);
            let nodes = engine.attribute_nodes(&spec, objective, method, control()).unwrap();
            let edges = engine.attribute_edges(&spec, objective, method, control()).unwrap();
            let names = |n: &[String], found: Vec<String>| assert_eq!(n, found, "{what}: the graph");
            names(&strings(&meta["nodes"]), nodes.scores.iter().map(|(node, _)| node.to_string()).collect());
            names(&strings(&meta["edges"]), edges.scores.iter().map(|(edge, _)| edge.to_string()).collect());
            if objective == diff {
                let close = |a: f64, b: &Value| (a - b.as_f64().unwrap()).abs() < 1e-5;
                assert!(close(nodes.value, &meta["value"]) && close(nodes.contrast_value, &meta["contrast_value"]));
            }
            for (kind, found) in [("nodes", narrow(&nodes.scores)), ("edges", narrow(&edges.scores))] {
                let expected = &golden.tensors[&format!("{name}/{kind}")];
                if method == Method::Exact {
                    let off = expected.iter().zip(&found).fold(0.0f64, |m, (a, b)| m.max(f64::from((a - b).abs())));
                    assert!(off <= TOLERANCE_OF_DIFFERENCES, "{what}: {kind} by {name} are off by {off:.1e}");
                    worst_exact = worst_exact.max(off);
                } else {
                    let scale = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let off = expected.iter().zip(&found).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale;
                    assert!(f64::from(off) <= TOLERANCE, "{what}: {kind} by {name} diverge by {off:.1e}");
                    worst = worst.max(f64::from(off));
                }
            }
            if method != Method::Exact {
                // the stream is a sum, so the edges of a writer sum to its node score
                let scale = nodes.scores.iter().fold(0f64, |m, (_, score)| m.max(score.abs()));
                for (node, score) in &nodes.scores {
                    let sum: f64 = edges.scores.iter().filter(|(edge, _)| edge.from == *node).map(|(_, s)| s).sum();
                    let off = (sum - score).abs() / scale;
                    assert!(off <= TOLERANCE, "{what}: the edges of {node} by {name} sum to {sum}, not {score}");
                    worst_sum = worst_sum.max(off);
                }
            }
        }
    });
    println!("largest error {worst:.1e}, of patching {worst_exact:.1e}, of a writer's sum {worst_sum:.1e}");
}

#[test]
fn circuits_run_only_their_edges() {
    let mut worst = 0.0f64;
    each(|what, engine, golden, meta, spec| {
        let circuits: Vec<Vec<Edge>> = meta["circuits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edges| strings(edges).iter().map(|edge| edge.parse().unwrap()).collect())
            .collect();
        let sets: Vec<&[Edge]> = circuits.iter().map(Vec::as_slice).collect();
        let objective = objective("logit-diff", spec.tokens.len() - 1);
        let found = engine.circuits(&spec, objective, &sets, control(), &mut |_| {}).unwrap();
        for (circuit, expected) in found.circuits.iter().zip(&golden.tensors["circuits"]) {
            let off = (circuit.value - f64::from(*expected)).abs();
            assert!(off < 1e-5, "{what}: {} edges give {}, expected {expected}", circuit.edges, circuit.value);
            worst = worst.max(off);
        }
        let ends = [found.circuits[0].faithfulness, found.circuits[3].faithfulness];
        assert!(ends[0].abs() < 1e-5 && (ends[1] - 1.0).abs() < 1e-5, "{what}: {ends:?}");
    });
    println!("largest error {worst:.1e}");
}

/// A circuit without one edge differs from the whole by the effect of patching that edge, which path patching computes
/// differently.
#[test]
fn circuits_run_with_edits_of_components() {
    const EDITS: [&str; 6] = [
        "hook_embed[pos=1] *= 0.5",
        "blocks.*.attn.hook_pattern[head=2] = mean",
        "blocks.0.attn.hook_z[head=3] = 0",
        "blocks.0.mlp.hook_post[pos=2:] = freeze",
        "blocks.1.hook_mlp_out += noise 0.3 seed 4",
        "blocks.1.attn.hook_v[head=1 pos=3] = patch",
    ];
    let mut worst = 0.0f64;
    each(|what, engine, _, _, spec| {
        let last = spec.tokens.len() - 1;
        for lines in [&EDITS[..], &EDITS[1..2], &EDITS[4..]] {
            let edits = lines.iter().map(|line| line.parse().unwrap()).collect();
            let spec = Spec { edits, ..spec.clone() };
            for name in ["logit-diff", "loss", "kl"] {
                let objective = objective(name, last);
                let exact = engine.attribute_edges(&spec, objective, Method::Exact, control()).unwrap();
                let all: Vec<Edge> = exact.scores.iter().map(|(edge, _)| *edge).collect();
                let without = |edge: Edge| all.iter().copied().filter(|other| *other != edge).collect::<Vec<_>>();
                let some: Vec<usize> = (0..all.len()).step_by(13).collect();
                let circuits: Vec<Vec<Edge>> =
                    [vec![], all.clone()].into_iter().chain(some.iter().map(|at| without(all[*at]))).collect();
                let sets: Vec<&[Edge]> = circuits.iter().map(Vec::as_slice).collect();
                let mut told = vec![];
                let found = engine.circuits(&spec, objective, &sets, control(), &mut |one| told.push(one)).unwrap();
                assert_eq!(told, found.circuits);
                let mut near = |what: String, ours: f64, theirs: f64| {
                    assert!((ours - theirs).abs() < 1e-5, "{what}: {ours}, expected {theirs}");
                    worst = worst.max((ours - theirs).abs());
                };
                near(format!("{what} {name} none {lines:?}"), found.circuits[0].value, exact.contrast_value);
                near(format!("{what} {name} all"), found.circuits[1].value, exact.value);
                for (at, circuit) in some.iter().zip(&found.circuits[2..]) {
                    let (edge, effect) = exact.scores[*at];
                    near(format!("{what} {name} {edge} {lines:?}"), circuit.value - exact.value, effect);
                }
            }
        }
    });
    println!("largest difference {worst:.1e}");
}

/// A constant added to the stream belongs to no component: the edges of a writer still sum to its node score, and
/// patching one is a path that starts after the constant.
#[test]
fn edges_are_attributed_beside_constants_in_the_stream() {
    const EDITS: [&str; 4] = [
        "blocks.1.hook_resid_pre[pos=1 d_model=3] += 4",
        "blocks.0.hook_attn_out += noise 0.5 seed 2",
        "blocks.1.hook_resid_post += -0.7",
        "blocks.0.attn.hook_z[head=1] *= -1",
    ];
    let (mut worst, mut worst_effect) = (0.0f64, 0.0f64);
    each(|what, engine, _, _, spec| {
        let objective = objective("logit-diff", spec.tokens.len() - 1);
        let plain = engine.attribute_edges(&spec, objective, Method::Eap, control()).unwrap();
        let spec = Spec { edits: EDITS.iter().map(|line| line.parse().unwrap()).collect(), ..spec };
        for method in [Method::Eap, Method::EapIg { steps: 2 }] {
            let nodes = engine.attribute_nodes(&spec, objective, method, control()).unwrap();
            let edges = engine.attribute_edges(&spec, objective, method, control()).unwrap();
            let scale = nodes.scores.iter().fold(0f64, |m, (_, score)| m.max(score.abs()));
            for (node, score) in &nodes.scores {
                let sum: f64 = edges.scores.iter().filter(|(edge, _)| edge.from == *node).map(|(_, s)| s).sum();
                let off = (sum - score).abs() / scale;
                assert!(off <= TOLERANCE, "{what}: the edges of {node} sum to {sum}, not {score}");
                worst = worst.max(off);
            }
            assert!(edges.scores.iter().zip(&plain.scores).any(|(a, b)| (a.1 - b.1).abs() > 1e-3 * scale));
        }
        // the path to the logits is linear except for the last LayerNorm's divisor: with that frozen, the estimate is
        // exact
        let mut edits = spec.edits.clone();
        edits.push("ln_final.hook_scale = freeze".parse().unwrap());
        let spec = Spec { edits, ..spec };
        let [estimate, exact] = [Method::Eap, Method::Exact]
            .map(|method| engine.attribute_edges(&spec, objective, method, control()).unwrap().scores);
        let to_logits = |scores: &[(Edge, f64)]| -> Vec<f64> {
            scores.iter().filter(|(edge, _)| edge.to.node == Node::Logits).map(|(_, score)| *score).collect()
        };
        let (estimate, exact) = (to_logits(&estimate), to_logits(&exact));
        let scale = exact.iter().fold(0f64, |m, x| m.max(x.abs()));
        for (estimate, exact) in estimate.iter().zip(&exact) {
            let off = (estimate - exact).abs() / scale;
            assert!(off <= TOLERANCE, "{what}: {estimate}, patched {exact}");
            worst_effect = worst_effect.max(off);
        }
    });
    println!("largest difference of a sum {worst:.1e}, of an effect {worst_effect:.1e}");
}

/// Each path alone, and several with an edit; run from the tokens and resumed; also with the opt-in hooks on.
#[test]
fn path_edits_equal_the_reference() {
    let (mut worst, mut worst_gradient) = (0.0f64, 0.0f64);
    each(|what, engine, golden, meta, spec| {
        for (number, lines) in meta["paths"].as_array().unwrap().iter().enumerate() {
            let expected = &golden.tensors[&format!("paths/{number}")];
            let edits: Vec<Edit> = strings(lines).iter().map(|line| line.parse().unwrap()).collect();
            for enable in [
                vec![],
                vec!["attn.hook_result"],
                vec!["hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in", "attn.hook_result"],
                vec!["hook_k_input"],
            ] {
                let mut schema = engine.schema.clone();
                schema.set_enabled(Default::default());
                enable.iter().for_each(|name| schema.enable(name).unwrap());
                let spec = Spec { edits: edits.clone(), enabled: schema.enabled().clone(), ..spec.clone() };
                let outcome = engine.run(&spec, &Capture::All, 0, control()).unwrap();
                let found = activations(engine, &outcome);
                let error = error(expected, &found["logits"]);
                assert!(error <= TOLERANCE, "{what}, {lines} with {enable:?} on: diverges by {error:.1e}");
                worst = worst.max(error);
                let gradients = engine
                    .gradients(&spec, objective("logit-diff", spec.tokens.len() - 1), &Capture::All, control())
                    .unwrap();
                let mut compared = 0;
                for (name, expected) in golden.under(&format!("path-gradients/{number}")) {
                    let found = engine.gradient(&gradients, name.parse().unwrap(), control()).unwrap().unwrap();
                    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
                    let off = error_of(40, expected, &found);
                    let tolerance = if name.ends_with("hook_scale") { 3e-4 } else { 1e-4 };
                    assert!(
                        off <= tolerance,
                        "{what}, {lines} with {enable:?} on: gradient at {name} off by {off:.1e}"
                    );
                    worst_gradient = worst_gradient.max(off);
                    compared += 1;
                }
                assert!(compared > 20, "{compared}");
                let summary = outcome.summary(1, engine, &NEVER).unwrap();
                for (edit, effect) in edits.iter().zip(&summary.effects) {
                    assert!(effect.effect.changed > 0 && effect.effect.delta_l2 > 0.0, "{what}: {edit}");
                    assert!(effect.no_effect.is_none(), "{what}: {edit}: {:?}", effect.no_effect);
                }
            }
            // as rows of one pass
            let cells: Vec<Vec<Edit>> = edits.iter().map(|edit| vec![edit.clone()]).collect();
            let question = Question { target: 5, distractor: Some(9) };
            let mut swept = vec![];
            engine
                .sweep(&spec, &cells, question, control(), &mut |told| {
                    if let Swept::Cells(cells) = told {
                        swept.extend(cells);
                    }
                })
                .unwrap();
            for (number, measure) in swept {
                let alone = Spec { edits: cells[number].clone(), ..spec.clone() };
                let outcome = engine.run(&alone, &Capture::None, 0, control()).unwrap();
                let value = engine
                    .objective(objective("logit-diff", spec.tokens.len() - 1), &outcome.run, &outcome.baseline)
                    .unwrap();
                assert!((value - measure.logit_diff).abs() < 1e-5, "{what}: {}", cells[number][0]);
            }
        }
    });
    println!("largest error {worst:.1e}, of gradients {worst_gradient:.1e}");
}

#[test]
fn every_patching_map_is_estimated() {
    let mut worst = 0.0f64;
    each(|what, engine, golden, _, spec| {
        let question = Question { target: 5, distractor: Some(9) };
        for patch in Patch::ALL {
            let found = engine.estimate(&spec, Map::Patch(patch), question, Metric::LogitDiff, control()).unwrap();
            let expected = &golden.tensors[&format!("estimate/{}", patch.name())];
            let values: Vec<f32> = found.values.iter().map(|x| *x as f32).collect();
            let error = error(expected, &values);
            assert!(error <= TOLERANCE, "{what}: {} diverges by {error:.1e}", patch.name());
            worst = worst.max(error);
        }
        // scaling by 1 + e changes e times the gradient along the activation
        let tiny =
            engine.estimate(&spec, Map::Ablate(Op::Scale(1.001)), question, Metric::LogitDiff, control()).unwrap();
        let filled =
            engine.estimate(&spec, Map::Ablate(Op::Scale(1.0)), question, Metric::LogitDiff, control()).unwrap();
        assert!(filled.values.iter().all(|x| *x == 0.0) && tiny.values.iter().all(|x| *x != 0.0));
        let mut filling = Filling::new(Map::Ablate(Op::Scale(1.001)), &engine.schema, spec.tokens.len());
        engine.fill(&spec, question, Metric::LogitDiff, &mut filling, control(), &mut |_| {}).unwrap();
        for (cell, estimate) in tiny.values.iter().enumerate() {
            let exact = filling.value(cell, Metric::LogitDiff).unwrap();
            assert!((estimate - exact).abs() < 1e-5, "{what}: cell {cell}: {estimate} for {exact}");
        }
        let flat = engine.estimate(&spec, Map::Ablate(Op::Set(0.0)), question, Metric::Kl, control()).unwrap_err();
        assert!(flat.is_usage());
    });
    println!("largest error {worst:.1e}");
}

/// Against TransformerLens 4.3.0's own path patching.
#[test]
fn direct_paths_equal_transformer_lens_4() {
    let golden = Golden::open("direct-path");
    let meta = golden.json("prompts");
    let mut worst = 0.0f64;
    for (processing, kind) in PROCESSINGS {
        let mut engine = engine("parallel-25", processing, &[]);
        let spec = Spec { tokens: ids(&meta["prompt"]), contrast: Some(ids(&meta["contrast"])), ..Spec::default() };
        for (port, hook) in [("q", BlockHook::QInput), ("k", BlockHook::KInput), ("v", BlockHook::VInput)] {
            // [source head, destination head], from block 0 to block 1
            let expected = &golden.tensors[&format!("{kind}/{port}")];
            for (at, expected) in expected.iter().enumerate() {
                let from = Edit::at(HookPoint::Block(0, BlockHook::Result), &[(Axis::Head, at / 4)], Op::Patch);
                let to = Edit::at(HookPoint::Block(1, hook), &[(Axis::Head, at % 4)], Op::Patch);
                let edit =
                    Edit { sender: Some(Region { target: from.target, selection: from.selection }), ..to.clone() };
                let outcome = run(&mut engine, &Spec { edits: vec![edit], ..spec.clone() }).unwrap();
                let objective = objective("logit-diff", spec.tokens.len() - 1);
                let found = engine.objective(objective, &outcome.run, &outcome.baseline).unwrap();
                let off = (found - f64::from(*expected)).abs();
                assert!(off < 1e-5, "{kind} {port} {at}: {found}, expected {expected}");
                worst = worst.max(off);
            }
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn a_score_is_the_sum_of_its_parts() {
    let (mut worst, mut worst_sum) = (0.0f64, 0.0f64);
    each(|what, engine, golden, meta, spec| {
        let outcome = run(engine, &Spec { contrast: None, ..spec.clone() }).unwrap();
        for (number, cell) in meta["cells"].as_array().unwrap().iter().enumerate() {
            let [block, head, query, key] = ids(cell)[..] else { panic!("{cell}") };
            let cell =
                ScoreCell { block: block as usize, head: head as usize, query: query as usize, key: key as usize };
            let found = engine.explain_score(&outcome.run, cell).unwrap();
            assert_eq!(found.rows, strings(&meta["parts"][number]), "{what}");
            assert_eq!(found.rows, found.columns);
            let expected = &golden.tensors[&format!("explain/{number}")];
            let values: Vec<f32> = found.matrix.concat().iter().map(|x| *x as f32).collect();
            let error = error(expected, &values);
            assert!(error <= TOLERANCE, "{what}: {cell:?} diverges by {error:.1e}");
            worst = worst.max(error);
            let off = (found.sum - found.score).abs() / found.score.abs().max(1.0);
            assert!(off < 1e-5, "{what}: {cell:?}: {} for {}", found.sum, found.score);
            worst_sum = worst_sum.max(off);
        }
        // a logit's parts sum to it, and a head's parts over the sources sum to its direct logit attribution
        let last = spec.tokens.len() - 1;
        let found = engine.explain_logit(&outcome.run, last, 5).unwrap();
        assert!((found.sum - found.score).abs() < 1e-5 * found.score.abs().max(1.0), "{what}: {found:?}");
        let parts = engine.attribution(&outcome.run, last, 5, None).unwrap().unwrap();
        for (block, heads) in parts.heads.iter().enumerate() {
            for (head, expected) in heads.iter().enumerate() {
                let row = found.rows.iter().position(|name| *name == format!("L{block}H{head}")).unwrap();
                let sum: f64 = found.matrix[row].iter().sum();
                assert!((sum - expected).abs() < 1e-5, "{what}: L{block}H{head}: {sum} for {expected}");
            }
        }
    });
    println!("largest error {worst:.1e}, of a sum {worst_sum:.1e}");
}

#[test]
fn impossible_comparisons_say_what_was_expected() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let spec = |tokens: &[u32], contrast: Option<&[u32]>, edits: &[&str]| Spec {
        contrast: contrast.map(<[u32]>::to_vec),
        ..common::spec(tokens, edits)
    };
    let diff = Objective::LogitDiff { pos: 2, target: 5, distractor: None };
    let mut why = |spec: &Spec, objective, method| {
        let error: AttributionError = engine.attribute_edges(spec, objective, method, control()).unwrap_err();
        assert!(error.is_usage());
        error.to_string()
    };
    let (tokens, other) = (&[1, 2, 3][..], &[4, 5, 6][..]);
    assert!(why(&spec(tokens, None, &[]), diff, Method::Eap).contains("--contrast"));
    let lengths = why(&spec(tokens, Some(&[4, 5]), &[]), diff, Method::Eap);
    assert!(lengths.contains("2 tokens") && lengths.contains("expected the same number"), "{lengths}");
    assert!(why(&spec(tokens, Some(other), &[]), Objective::Kl { pos: 2 }, Method::Eap).contains("eap-ig or exact"));
    let edited = why(&spec(tokens, Some(other), &["blocks.1.hook_resid_pre *= 2"]), diff, Method::Eap);
    assert!(edited.contains("`blocks.1.hook_resid_pre *= 2`"), "{edited}");
    let path = "blocks.0.hook_mlp_out -> blocks.1.hook_resid_post += 1";
    assert!(why(&spec(tokens, Some(other), &[path]), diff, Method::Eap).contains(path));
    assert!(why(&spec(tokens, Some(other), &[]), diff, Method::EapIg { steps: 0 }).contains("1 to"));
    assert!(why(&spec(&[1], Some(&[2]), &[]), Objective::Loss, Method::Eap).contains("two tokens or more"));

    let (from, to) = (Node::Mlp(1), "a1.h0");
    let edge: Edge = format!("{from}->{to}<q>").parse().unwrap();
    let circuit =
        engine.circuits(&spec(tokens, Some(other), &[]), diff, &[&[edge]], control(), &mut |_| {}).unwrap_err();
    assert!(circuit.to_string().contains("parallel block"), "{circuit}");
    for edit in [
        path,
        "blocks.1.hook_resid_pre += 1",
        "blocks.0.ln1.hook_scale *= 2",
        "ln_final.hook_normalized = 0",
        "blocks.0.hook_attn_out = 0",
    ] {
        let refused = engine.circuits(&spec(tokens, Some(other), &[edit]), diff, &[&[]], control(), &mut |_| {});
        let refused = refused.unwrap_err();
        assert!(refused.is_usage() && refused.to_string().contains(edit), "{refused}");
    }
    let same = engine.circuits(&spec(tokens, Some(tokens), &[]), diff, &[&[]], control(), &mut |_| {}).unwrap_err();
    assert!(same.to_string().contains("faithfulness is undefined"), "{same}");
    assert_eq!(GraphShape::from(engine.schema.dims).edge_count(), 13 * (1 + 6) + 11);
}

/// In 16 bits, sums outside the pass are in f32: scores equal those of f32 except for the rounding of activations.
#[test]
fn half_precision_scores_differ_only_by_rounding() {
    let golden = Golden::open("circuits-parallel-25-processed");
    let meta = golden.json("circuits");
    let path = "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] = patch";
    for (dtype, tolerance) in [(DType::F16, 5e-3), (DType::BF16, 4e-2)] {
        let place = Placement { dtype, ..common::placement() };
        let mut engine = engine_at("parallel-25", Processing::Folded, &[], place);
        let spec = Spec { tokens: ids(&meta["prompt"]), contrast: Some(ids(&meta["contrast"])), ..Spec::default() };
        let diff = objective("logit-diff", spec.tokens.len() - 1);
        for (name, method) in [("eap/logit-diff", Method::Eap), ("exact/logit-diff", Method::Exact)] {
            let edges = engine.attribute_edges(&spec, diff, method, control()).unwrap();
            let off = error(&golden.tensors[&format!("{name}/edges")], &narrow(&edges.scores));
            println!("{dtype:?} {name} {off:.1e}");
            assert!(off <= 2.0 * tolerance, "{dtype:?} {name}: {off:.1e}");
        }
        let all: Vec<Edge> = GraphShape::from(engine.schema.dims).edges().collect();
        let found = engine.circuits(&spec, diff, &[&[], &all], control(), &mut |_| {}).unwrap();
        assert!((found.circuits[1].faithfulness - 1.0).abs() < 0.1 && found.circuits[0].faithfulness.abs() < 0.1);
        // also through a patch, whose values come in 16 bits
        let edited =
            Spec { edits: vec![path.parse().unwrap(), "blocks.0.hook_mlp_out = freeze".parse().unwrap()], ..spec };
        let gradients = engine.gradients(&edited, diff, &Capture::All, control()).unwrap();
        assert!(gradients.cache.iter().all(|(_, gradient)| gradient.dtype() == DType::F32));
    }
}

#[test]
fn paths_that_do_not_exist_say_why() {
    let why = |checkpoint: &str, line: &str| {
        let mut engine = engine(checkpoint, Processing::Folded, &[]);
        let spec = common::spec(&[1, 2, 3], &[line]);
        let outcome = engine.run(&spec, &Capture::None, 0, control());
        outcome.err().map(|error| (error.is_usage(), error.to_string())).unwrap_or_default()
    };
    let parallel = |line: &str| why("parallel-25", line);
    assert_eq!(why("sequential-25", "blocks.0.attn.hook_result[head=1] -> blocks.0.hook_mlp_in = 0").1, "");
    for (line, part) in [
        ("blocks.0.attn.hook_result[head=1] -> blocks.0.hook_mlp_in = 0", "parallel block"),
        ("blocks.*.hook_mlp_out -> blocks.0.hook_q_input = 0", "parallel block"),
        ("blocks.*.hook_mlp_out -> blocks.*.hook_mlp_in = 0", "an earlier place to a later one"),
        ("hook_embed -> blocks.0.hook_resid_post = 0", "blocks.1"),
        ("hook_embed -> blocks.7.hook_mlp_in = 0", "blocks 0 to 1"),
        ("blocks.0.hook_mlp_out -> blocks.1.hook_q_input[head=9] = 0", "0 to 3"),
        ("blocks.0.hook_mlp_out -> blocks.1.hook_q_input = patch", "--contrast"),
    ] {
        let (is_usage, message) = parallel(line);
        assert!(is_usage && message.contains(part) && message.contains(line), "{line}: {message}");
    }
}

/// Edits that change a sum of components are left out, and named; those that add a constant stay.
#[test]
fn edges_are_attributed_without_edits_of_the_stream() {
    let parse = |line: &str| line.parse::<Edit>().unwrap();
    let path = parse("blocks.0.hook_mlp_out -> blocks.1.hook_q_input[head=0] = patch");
    let (scaled, added) = (parse("blocks.1.hook_resid_pre *= 0.5"), parse("blocks.1.hook_resid_pre += 0.5"));
    let component = parse("blocks.0.attn.hook_z[head=1] = 0");
    each(|name, engine, _, _, spec| {
        let edits = vec![path.clone(), scaled.clone(), added.clone(), component.clone()];
        let edited = Spec { edits, ..spec.clone() };
        let objective = objective("logit-diff", spec.tokens.len() - 1);
        let refused = engine.attribute_edges(&edited, objective, Method::Eap, control());
        assert!(matches!(refused, Err(AttributionError::EditedStream(_))), "{name}");
        let (rest, left_out) = without_stream_edits(&edited);
        assert_eq!(left_out, [path.clone(), scaled.clone()]);
        assert_eq!(rest.edits, [added.clone(), component.clone()]);
        assert!(engine.attribute_edges(&rest, objective, Method::Eap, control()).is_ok(), "{name}");
    });
}
