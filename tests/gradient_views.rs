//! Gradients as the explorer's views get them from the worker's session.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::{cell::RefCell, sync::atomic::AtomicBool};

use candle_core::{DType, Device};
use common::{
    engine, engine_at,
    golden::{Golden, error_of, ids, strings},
};
use pythia_tui::{
    analysis::{GraphShape, Node, Objective, stats},
    engine::{
        Answer, Compare, Control, Engine, Factor, HookTotals, Matrix, Method, Numbers, Report, Request, Serve, Session,
        Slice, Spec, Statistics, Stop, Thumbnails, Want, WhichAttention, WithBaseline,
    },
    hooks::{Axis, BlockHook, HookPoint, Schema},
    model::{Placement, Processing},
    views::{
        attention::{OfHead, OfHeads},
        diagram::OfEveryHook,
        shape::OfHook,
        values::OfSlice,
    },
};

/// Values that the golden keeps of a tensor.
const SAMPLES: usize = 40;

/// As in `tests/gradients.rs`.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_OF_SCALES: f64 = 3e-4;

const CHECKPOINTS: [&str; 4] = ["parallel-25", "parallel-100", "sequential-25", "sequential-100"];

/// A session, as the worker serves it.
struct Explorer {
    session: Session,
    schema: Schema,
    spec: Spec,
}

impl Explorer {
    fn new(engine: Engine, mut spec: Spec) -> Self {
        let schema = engine.schema.clone();
        spec.enabled = schema.enabled().clone();
        Self { session: Session::new(engine), schema, spec }
    }

    fn ask_all(&mut self, requests: Vec<Request>) -> Vec<Result<Answer, String>> {
        let want = Want { run: 1, spec: self.spec.clone(), requests, measure: false, hold: None };
        let answers = RefCell::new(vec![]);
        let report = |report| {
            if let Report::Saw { answer, .. } = report {
                answers.borrow_mut().push(answer);
            }
        };
        self.session.serve(&want, &Stop::default(), &report).unwrap();
        answers.into_inner()
    }

    fn ask<T: Clone + 'static>(&mut self, ask: impl pythia_tui::engine::Ask) -> Result<T, String> {
        let answer = self.ask_all(vec![Request::new(ask)]).remove(0)?;
        Ok(answer.get::<T>().unwrap().clone())
    }

    /// Every number of a hook, and of the baseline if there are edits, assembled from the slices that Values requests.
    fn whole(&mut self, point: HookPoint, numbers: Numbers) -> Result<WithBaseline<Vec<f32>>, String> {
        let axes = self.schema.axes(point);
        let slices: Vec<Slice> = match *axes.as_slice() {
            [rows] => vec![Slice { rows, columns: Axis::One, fixed: None }],
            [rows, columns] => vec![Slice { rows, columns, fixed: None }],
            [first, rows, columns] => (0..self.schema.size(first, self.spec.tokens.len()))
                .map(|at| Slice { rows, columns, fixed: Some((first, at)) })
                .collect(),
            _ => panic!("{axes:?}"),
        };
        let ask = |slice| Request::new(OfSlice { point, slice, numbers });
        let answers = self.ask_all(slices.into_iter().map(ask).collect());
        let mut all = WithBaseline { run: vec![], baseline: (!self.spec.edits.is_empty()).then(Vec::new) };
        for answer in answers {
            let matrix = answer?.get::<Matrix>().unwrap().clone();
            all.run.extend(matrix.values.run);
            if let Some(baseline) = &mut all.baseline {
                baseline.extend(matrix.values.baseline.unwrap());
            }
        }
        Ok(all)
    }

    fn sum(&mut self, point: HookPoint, numbers: Numbers) -> f64 {
        self.whole(point, numbers).unwrap().run.into_iter().map(f64::from).sum()
    }
}

fn logit_diff(n_pos: usize, distractor: Option<u32>) -> Objective {
    Objective::LogitDiff { pos: n_pos - 1, target: 5, distractor }
}

fn prompt(n_pos: usize, seed: u32) -> Vec<u32> {
    (0..n_pos as u32).map(|i| (i * i * 7 + i * 13 + seed * 29) % 96).collect()
}

fn edited(tokens: &[u32], edits: &[&str]) -> Spec {
    Spec { contrast: Some(prompt(tokens.len(), 3)), ..common::spec(tokens, edits) }
}

/// Against torch's autograd, through TransformerLens: both block forms, processed and unprocessed, opt-in hooks, every
/// edit; scores and patterns kept, and recomputed.
#[test]
fn values_shows_the_gradients_of_the_reference() {
    let (mut worst, mut worst_of_scales, mut cases) = (0.0f64, 0.0f64, 0);
    for checkpoint in CHECKPOINTS {
        for (processing, kind) in [(Processing::Folded, "processed"), (Processing::None, "unprocessed")] {
            let golden = Golden::open(&format!("gradients-{checkpoint}-{kind}"));
            let tokens = ids(&golden.json("prompt"));
            for (number, case) in golden.json("cases").as_array().unwrap().iter().enumerate() {
                // the objective whose gradient the explorer shows
                let distractor = match case["metric"].as_str().unwrap() {
                    "logit-diff" => Some(9),
                    "target" => None,
                    _ => continue,
                };
                let of = logit_diff(tokens.len(), distractor);
                let numbers = Numbers::Gradients { of, times: Factor::One };
                let lines = strings(&case["edits"]);
                let contrast = case["contrast"].is_array().then(|| ids(&case["contrast"]));
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let mut engine = engine(checkpoint, processing, &strings(&case["enable"]));
                if number % 2 == 1 {
                    engine = engine.keeping_scores(0);
                }
                let mut explorer = Explorer::new(engine, Spec { contrast, ..common::spec(&tokens, &lines) });
                for (name, expected) in golden.under(&number.to_string()) {
                    let point: HookPoint = name.parse().unwrap();
                    if explorer.schema.check(point).is_err() {
                        continue; // all three split inputs are on there, some here
                    }
                    let found = explorer.whole(point, numbers).unwrap().run;
                    if expected.iter().all(|x| *x == 0.0) {
                        assert!(found.iter().all(|x| *x == 0.0), "{checkpoint} {kind} {lines:?}: {name} should be 0");
                        continue;
                    }
                    let error = error_of(SAMPLES, expected, &found);
                    let (worst, tolerance) = match name.ends_with("hook_scale") {
                        true => (&mut worst_of_scales, TOLERANCE_OF_SCALES),
                        false => (&mut worst, TOLERANCE),
                    };
                    assert!(error <= tolerance, "{checkpoint} {kind} {lines:?}: {name} diverges by {error:.1e}");
                    *worst = worst.max(error);
                }
                cases += 1;
            }
        }
    }
    println!("{cases} cases, largest error {worst:.1e}, of a divisor's {worst_of_scales:.1e}");
    assert!(cases >= 40, "{cases}");
}

/// Summed over a hook, gradient x (contrast - prompt) equals attribution patching: for a component, its node score; for
/// the stream that enters a block, the sum of the edges from all earlier senders to all later readers.
#[test]
fn sums_are_attributions() {
    let (mut worst, mut largest) = (0.0f64, 0.0f64);
    for checkpoint in CHECKPOINTS {
        for (processing, edits) in [
            (Processing::Folded, &[][..]),
            (Processing::None, &[]),
            (Processing::Folded, &["blocks.0.attn.hook_z[head=1] *= 0.5", "blocks.1.attn.hook_pattern[head=0] = mean"]),
        ] {
            let tokens = prompt(11, 1);
            let of = logit_diff(tokens.len(), Some(9));
            let numbers = Numbers::Gradients { of, times: Factor::Change };
            let spec = edited(&tokens, edits);
            let cancel = AtomicBool::new(false);
            let control = Control { cancel: &cancel, progress: &|_, _| {} };
            let mut library = engine(checkpoint, processing, &[]);
            let nodes = library.attribute_nodes(&spec, of, Method::Eap, control).unwrap().scores;
            let edges = library.attribute_edges(&spec, of, Method::Eap, control).unwrap().scores;
            let shape = GraphShape::from(library.schema.dims);
            let mut explorer = Explorer::new(library, spec);
            let scale = nodes.iter().map(|(_, score)| score.abs()).fold(0.0, f64::max);
            let mut agree = |what: String, found: f64, expected: f64| {
                let off = (found - expected).abs() / scale;
                // 1.2e-6 was measured
                assert!(off < 1e-5, "{checkpoint} {processing:?} {edits:?} {what}: {found} for {expected}");
                worst = worst.max(off);
                largest = largest.max(expected.abs());
            };
            let score = |node: Node| nodes.iter().find(|(of, _)| *of == node).unwrap().1;
            let layer = |node: Node| match node {
                Node::Input => 0,
                Node::Head { layer, .. } | Node::Mlp(layer) => layer + 1,
                Node::Logits => shape.n_layers + 1,
            };
            agree("embed".into(), explorer.sum(HookPoint::Embed, numbers), score(Node::Input));
            for block in 0..shape.n_layers {
                let at = |hook| HookPoint::Block(block, hook);
                agree(format!("mlp {block}"), explorer.sum(at(BlockHook::MlpOut), numbers), score(Node::Mlp(block)));
                let heads = (0..shape.n_heads).map(|head| score(Node::Head { layer: block, head })).sum();
                agree(format!("heads of {block}"), explorer.sum(at(BlockHook::Z), numbers), heads);
                let across =
                    |edge: &pythia_tui::analysis::Edge| layer(edge.from) <= block && layer(edge.to.node) > block;
                let through = edges.iter().filter(|(edge, _)| across(edge)).map(|(_, score)| score).sum();
                agree(format!("stream into {block}"), explorer.sum(at(BlockHook::ResidPre), numbers), through);
            }
            // the diagram's numbers are these sums
            let totals: HookTotals = explorer.ask(OfEveryHook(numbers, Compare::Edited)).unwrap();
            agree("diagram".into(), totals.0[&HookPoint::Embed], score(Node::Input));
            assert_eq!(totals.0.len(), explorer.schema.points().len());
        }
    }
    println!("largest difference {worst:.1e} of the largest score; scores up to {largest:.2}");
    assert!(largest > 0.01, "{largest}");
}

/// Products equal the gradient times the factor, for the run and for the baseline.
#[test]
fn products_and_baselines() {
    for (checkpoint, most) in [("parallel-25", usize::MAX), ("sequential-25", 0)] {
        let tokens = prompt(9, 1);
        let of = logit_diff(tokens.len(), Some(9));
        let edits = ["blocks.0.attn.hook_z[head=1] = 0", "blocks.1.hook_mlp_out[pos=-1] *= 2"];
        let new = |tokens: &[u32], edits: &[&str]| {
            let engine = engine(checkpoint, Processing::Folded, &["blocks.0.attn.hook_result".into()]);
            Explorer::new(engine.keeping_scores(most), edited(tokens, edits))
        };
        let (mut explorer, mut unedited) = (new(&tokens, &edits), new(&tokens, &[]));
        let mut contrast = new(&prompt(9, 3), &[]);
        let gradients = |times| Numbers::Gradients { of, times };
        for point in explorer.schema.points() {
            let mut all = |numbers| explorer.whole(point, numbers).unwrap();
            let (values, slopes) = (all(Numbers::Values), all(gradients(Factor::One)));
            let (by_value, by_change) = (all(gradients(Factor::Value)), all(gradients(Factor::Change)));
            let there = contrast.whole(point, Numbers::Values).unwrap().run;
            let product = |slope: f32, factor: f32| if slope == 0.0 { 0.0 } else { slope * factor };
            for (i, slope) in slopes.run.iter().enumerate() {
                assert_eq!(by_value.run[i], product(*slope, values.run[i]), "{point} {i}");
                assert_eq!(by_change.run[i], product(*slope, there[i] - values.run[i]), "{point} {i}");
                assert!(
                    slope.is_finite() && by_value.run[i].is_finite() && by_change.run[i].is_finite(),
                    "{point} {i}"
                );
            }
            // bitwise equal to a session without the edits
            for (times, shown) in [(Factor::One, &slopes), (Factor::Value, &by_value), (Factor::Change, &by_change)] {
                let alone = unedited.whole(point, gradients(times)).unwrap();
                assert_eq!(shown.baseline.as_ref(), Some(&alone.run), "{point} {times:?}");
            }
            // statistics are those of what is shown
            let ask = OfHook { point, numbers: gradients(Factor::Change) };
            let statistics: Statistics = explorer.ask(ask).unwrap();
            let expected = stats(&by_change.run, 64);
            assert_eq!(statistics.stats.run.max, expected.max, "{point}");
            assert_eq!((statistics.dtype.as_str(), statistics.stats.run.count), ("f32", expected.count), "{point}");
        }
    }
}

/// One head, and thumbnails of several, have the numbers that Values has.
#[test]
fn heads_show_the_gradients_of_their_scores_and_patterns() {
    for most in [usize::MAX, 0] {
        let tokens = prompt(10, 2);
        let of = logit_diff(tokens.len(), None);
        let numbers = Numbers::Gradients { of, times: Factor::One };
        let engine = engine("parallel-25", Processing::Folded, &[]).keeping_scores(most);
        let mut explorer = Explorer::new(engine, edited(&tokens, &["blocks.0.hook_mlp_out *= 0.5"]));
        let (n, heads) = (tokens.len(), explorer.schema.dims.n_heads);
        for which in [WhichAttention::Pattern, WhichAttention::Scores] {
            let whole = explorer.whole(HookPoint::Block(1, which.hook()), numbers).unwrap();
            let before = whole.baseline.clone().unwrap();
            for head in 0..heads {
                let ask = OfHead { block: 1, head, which, numbers };
                let found: WithBaseline<Vec<f32>> = explorer.ask(ask).unwrap();
                assert_eq!(found.run, whole.run[head * n * n..(head + 1) * n * n]);
                assert_eq!(found.baseline.unwrap(), before[head * n * n..(head + 1) * n * n]);
            }
            for compare in Compare::ALL {
                let value = |i: usize| compare.of(whole.run[i], before[i]);
                let ask = OfHeads { block: Some(1), which, numbers, compare, side: n };
                let found: Thumbnails = explorer.ask(ask).unwrap();
                assert_eq!((found.pool, found.side), (1, n));
                for (i, shown) in found.heads[0].concat().into_iter().enumerate() {
                    // masked cells without a gradient are blank
                    assert!(shown == value(i) || shown.is_nan() && value(i) == 0.0, "{which:?} {compare} {i}");
                }
            }
        }
        let ask = OfHead { block: 1, head: 0, which: WhichAttention::ValueWeighted, numbers };
        assert!(explorer.ask::<WithBaseline<Vec<f32>>>(ask).unwrap_err().contains("no gradient"));
    }
}

/// What can't be shown gives the reason; for a hook that is off, the same as for its values.
#[test]
fn hooks_without_a_gradient_say_why() {
    let tokens = prompt(8, 1);
    let of = logit_diff(tokens.len(), Some(9));
    let gradients = |times| Numbers::Gradients { of, times };
    let spec = Spec { contrast: Some(prompt(7, 3)), ..common::spec(&tokens, &[]) };
    let mut explorer = Explorer::new(engine("parallel-25", Processing::Folded, &["hook_tokens".into()]), spec);
    let off = HookPoint::Block(0, BlockHook::QInput);
    let why = explorer.whole(off, Numbers::Values).unwrap_err();
    assert_eq!(explorer.whole(off, gradients(Factor::One)).unwrap_err(), why);
    let mut refused = |point, times| explorer.whole(point, gradients(times)).unwrap_err();
    assert!(refused(HookPoint::Tokens, Factor::One).contains("whole numbers"));
    let derived = HookPoint::Block(1, BlockHook::ResidMid);
    assert!(refused(derived, Factor::Value).contains("never computes blocks.1.hook_resid_mid"));
    let lengths = "the contrast prompt has 7 tokens and the prompt 8; expected the same number";
    assert_eq!(refused(HookPoint::Embed, Factor::Change), lengths);
    assert_eq!(
        explorer.ask::<HookTotals>(OfEveryHook(gradients(Factor::Change), Compare::Edited)).unwrap_err(),
        lengths
    );
    // the diagram leaves out what has none
    let totals: HookTotals = explorer.ask(OfEveryHook(gradients(Factor::One), Compare::Edited)).unwrap();
    assert!(!totals.0.contains_key(&HookPoint::Tokens) && totals.0[&HookPoint::Embed] > 0.0);
    explorer.spec.contrast = None;
    assert_eq!(explorer.whole(HookPoint::Embed, gradients(Factor::Change)).unwrap_err(), "there is no contrast prompt");
}

/// A model in f16 has gradients in f32, at its f16 values.
#[test]
fn a_half_precision_model_has_gradients_in_f32() {
    let tokens = prompt(9, 1);
    let of = logit_diff(tokens.len(), Some(9));
    let numbers = Numbers::Gradients { of, times: Factor::Change };
    let place = |dtype| Placement { device: Device::Cpu, dtype };
    let new =
        |dtype| Explorer::new(engine_at("parallel-25", Processing::Folded, &[], place(dtype)), edited(&tokens, &[]));
    let (mut half, mut single) = (new(DType::F16), new(DType::F32));
    let mut worst = 0.0f64;
    for hook in [BlockHook::ResidPre, BlockHook::Pattern, BlockHook::Z, BlockHook::MlpPre] {
        let point = HookPoint::Block(1, hook);
        let statistics: Statistics = half.ask(OfHook { point, numbers }).unwrap();
        assert_eq!(statistics.dtype, "f32");
        let (found, expected) = (half.whole(point, numbers).unwrap().run, single.whole(point, numbers).unwrap().run);
        worst =
            worst.max(error_of(SAMPLES, &expected[..SAMPLES.min(expected.len())], &found[..SAMPLES.min(found.len())]));
    }
    println!("largest difference {worst:.1e}");
    // f16 has 11 bits; 1.3e-3 was measured
    assert!(worst > 0.0 && worst < 4e-3, "{worst}");
}
