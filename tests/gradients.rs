//! Gradients at every hook: against torch's autograd through TransformerLens 2.18.0 (`tests/golden/gradients.py`), and
//! against finite differences of our own forward pass.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::AtomicBool;

use common::{
    engine,
    golden::{Golden, error_of, ids, strings},
    spec,
};
use pythia_tui::{
    analysis::Objective,
    engine::{Control, Engine, Gradients, Spec},
    hooks::{Axis, Capture, Edit, HookPoint, Op},
    model::Processing,
};

/// Values that the golden keeps of a tensor.
const SAMPLES: usize = 40;

/// Relative to a tensor's largest value. The largest errors measured are 1.4e-5, and 2.5e-5 for a KL, whose gradient is
/// the difference of nearly equal distributions. Divisors have their own tolerance: the terms of their gradient can
/// cancel to a thousandth of their size. Torch's own error there is 6e-5 in f32, and 1.6e-4 was measured.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_OF_SCALES: f64 = 3e-4;

const PROCESSINGS: [(Processing, &str); 2] = [(Processing::Folded, "processed"), (Processing::None, "unprocessed")];

fn gradients(engine: &mut Engine, spec: &Spec, objective: Objective) -> Gradients {
    let cancel = AtomicBool::new(false);
    engine.gradients(spec, objective, &Capture::All, Control { cancel: &cancel, progress: &|_, _| {} }).unwrap()
}

fn objective(name: &str, pos: usize) -> Objective {
    match name {
        "logit-diff" => Objective::LogitDiff { pos, target: 5, distractor: Some(9) },
        "target" => Objective::LogitDiff { pos, target: 5, distractor: None },
        "prob" => Objective::Prob { pos, target: 5 },
        "kl" => Objective::Kl { pos },
        "loss" => Objective::Loss,
        other => panic!("{other}"),
    }
}

/// A gradient by name, flattened.
fn values(engine: &Engine, gradients: &Gradients, point: HookPoint) -> Vec<f32> {
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let found = engine.gradient(gradients, point, control).unwrap();
    found.unwrap_or_else(|| panic!("{point} has no gradient")).flatten_all().unwrap().to_vec1().unwrap()
}

/// Every metric and every edit; scores and patterns kept, and recomputed.
#[test]
fn every_hook_of_every_form_and_edit() {
    let (mut worst, mut worst_of_scales) = (0.0f64, 0.0f64);
    for checkpoint in ["parallel-25", "parallel-100", "sequential-25", "sequential-100"] {
        for (processing, kind) in PROCESSINGS {
            let golden = Golden::open(&format!("gradients-{checkpoint}-{kind}"));
            let prompt = ids(&golden.json("prompt"));
            for (number, case) in golden.json("cases").as_array().unwrap().iter().enumerate() {
                for leaving_out in [false, true] {
                    let lines = strings(&case["edits"]);
                    let what = format!("{checkpoint} {kind}, {}, {}", lines.join("; "), case["metric"]);
                    let mut engine = engine(checkpoint, processing, &strings(&case["enable"]));
                    if leaving_out {
                        engine = engine.keeping_scores(0);
                    }
                    let spec = Spec {
                        tokens: prompt.clone(),
                        contrast: case["contrast"].is_array().then(|| ids(&case["contrast"])),
                        edits: lines.iter().map(|line| line.parse().unwrap()).collect(),
                        enabled: engine.schema.enabled().clone(),
                        ..Spec::default()
                    };
                    let found =
                        gradients(&mut engine, &spec, objective(case["metric"].as_str().unwrap(), prompt.len() - 1));
                    let value = case["value"].as_f64().unwrap();
                    let off = (found.value - value).abs();
                    assert!(
                        off <= 2e-5 * value.abs().max(1.0),
                        "{what}: the value is {}, expected {value}",
                        found.value
                    );
                    let mut compared = 0;
                    for (name, expected) in golden.under(&number.to_string()) {
                        let point: HookPoint = name.parse().unwrap();
                        if engine.schema.check(point).is_err() {
                            continue; // all three split inputs are on there, some here
                        }
                        let found = values(&engine, &found, point);
                        if expected.iter().all(|x| *x == 0.0) {
                            assert!(found.iter().all(|x| *x == 0.0), "{what}: {name} should be 0");
                        } else {
                            let error = error_of(SAMPLES, expected, &found);
                            let (worst, tolerance) = match name.ends_with("hook_scale") {
                                true => (&mut worst_of_scales, TOLERANCE_OF_SCALES),
                                false => (&mut worst, TOLERANCE),
                            };
                            assert!(error <= tolerance, "{what}: {name} diverges by {error:.1e} of its scale");
                            *worst = worst.max(error);
                        }
                        compared += 1;
                    }
                    assert!(compared >= 39, "{what}: {compared}");
                }
            }
        }
    }
    println!("largest error {worst:.1e}, of a divisor's {worst_of_scales:.1e}");
}

/// A selected part of a random hook is scaled up and down a little: the objective changes by the gradient times the
/// activation.
#[test]
fn finite_differences_of_the_forward_pass() {
    const STEP: f32 = 1.0 / 64.0;
    let draw = |seed: u64, n: usize| -> usize {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    };
    // edits before and after the scaled part, each of a different kind for the backward pass
    let beside = [
        "hook_embed += noise 0.3 seed 2",
        "blocks.1.ln2.hook_scale *= 1.5",
        "blocks.0.attn.hook_pattern[head=1] = mean",
        "blocks.0.hook_mlp_out[pos=2:5] = 0",
        "blocks.1.attn.hook_attn_scores[head=2] *= 0.5",
        "blocks.1.hook_resid_pre[pos=3] = mean",
        "blocks.0.ln1.hook_scale = freeze",
        "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] *= -2",
        "hook_embed -> blocks.1.hook_mlp_in = mean",
        "blocks.0.hook_mlp_out[pos=1:] -> blocks.1.hook_resid_post = 0.5",
    ];
    let (mut worst, mut largest, mut tried) = (0.0f64, 0.0f64, 0);
    for case in 0..320u64 {
        let checkpoint = ["parallel-25", "sequential-25", "parallel-100"][draw(case, 3)];
        let (processing, _) = PROCESSINGS[draw(case + 1000, 2)];
        let n_pos = 5 + draw(case + 2000, 9);
        let mut engine = engine(checkpoint, processing, &[]);
        let tokens: Vec<u32> = (0..n_pos as u64).map(|i| draw(case * 31 + i, 96) as u32).collect();
        let edits = [beside[draw(case + 3000, beside.len())]];
        let base = spec(&tokens, &edits[..draw(case + 4000, 2)]);
        let points: Vec<HookPoint> = engine.schema.points();
        let point = points[draw(case + 5000, points.len())];
        let axes = engine.schema.axes(point);
        let shape = engine.schema.shape(point, n_pos);
        let axis = axes.iter().position(|axis| *axis == Axis::Head).unwrap_or(0);
        let at = draw(case + 6000, shape[axis]);
        // an edit of ln1 also reaches the copies that paths give to single heads, which are not the hook's own value
        if base.edits.iter().any(|edit| edit.sender.is_some()) && point.to_string().contains("ln1") {
            continue;
        }
        let objective = match draw(case + 7000, 4) {
            0 => Objective::LogitDiff { pos: n_pos - 1, target: 5, distractor: Some(9) },
            1 => Objective::LogitDiff { pos: n_pos / 2, target: 5, distractor: None },
            2 => Objective::Prob { pos: n_pos - 1, target: 7 },
            _ => Objective::Loss,
        };
        let found = gradients(&mut engine, &base, objective);
        let gradient = values(&engine, &found, point);
        let cancel = AtomicBool::new(false);
        let control = Control { cancel: &cancel, progress: &|_, _| {} };
        let activation = engine.activation(&found.run, point).unwrap().unwrap();
        let activation: Vec<f32> = activation.flatten_all().unwrap().to_vec1().unwrap();
        let (inner, outer): (usize, usize) = (shape[axis + 1..].iter().product(), shape[..axis].iter().product());
        let mut expected = 0.0;
        for before in 0..outer {
            for after in 0..inner {
                let i = (before * shape[axis] + at) * inner + after;
                if activation[i].is_finite() {
                    expected += f64::from(gradient[i]) * f64::from(activation[i]);
                }
            }
        }
        let value = |engine: &mut Engine, factor: f32| {
            let edit = Edit::at(point, &[(axes[axis], at)], Op::Scale(factor));
            let edits = base.edits.iter().cloned().chain([edit]).collect();
            let scaled = Spec { edits, ..base.clone() };
            engine.gradients(&scaled, objective, &Capture::None, control).unwrap().value
        };
        let slope = |engine: &mut Engine, step: f32| {
            (value(engine, 1.0 + step) - value(engine, 1.0 - step)) / f64::from(2.0 * step)
        };
        // Richardson's extrapolation leaves an error of the fourth power of the step
        let (wide, narrow) = (slope(&mut engine, STEP), slope(&mut engine, STEP / 2.0));
        let found = narrow + (narrow - wide) / 3.0;
        let off = (found - expected).abs();
        worst = worst.max(off);
        largest = largest.max(expected.abs());
        tried += usize::from(expected.abs() > 1e-2);
        // three times the measured error
        assert!(
            off < 3e-4,
            "{checkpoint} {point} {axis} {at}, {objective:?}, {:?}: {found} for {expected}",
            base.edits
        );
    }
    println!("largest difference {worst:.1e}, of slopes up to {largest:.1}; {tried} above 0.01");
    assert!(tried > 100, "{tried}");
}
