//! Dose curves: each point is the run with that amount.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::{cell::Cell, collections::BTreeMap, sync::Arc, sync::atomic::AtomicBool};

use common::{
    edits::any_edit,
    engine,
    program::{micro, refused, stdout},
    run, spec,
};
use proptest::prelude::*;
use pythia_tui::{
    analysis::{kl_divergence, log_normaliser},
    engine::{Control, Dose, Engine, Question, Spec, amounts},
    hooks::{Edit, VectorDefinition, VectorDefinitions, VectorSource},
    model::Processing,
};
use serde_json::Value;

const TOKENS: [u32; 6] = [3, 14, 15, 92, 65, 35];

fn vectors() -> VectorDefinitions {
    let of = |source| VectorDefinition { source: Arc::new(source), text: String::new() };
    let pairs = VectorSource::Prompts { positive: vec![vec![1, 2, 3]], negative: vec![vec![4, 5], vec![6]] };
    BTreeMap::from([("diff".parse().unwrap(), of(pairs)), ("out".parse().unwrap(), of(VectorSource::Unembedding(7)))])
}

fn control(cancel: &AtomicBool) -> Control<'_> {
    Control { cancel, progress: &|_, _| {} }
}

/// The curve beside a run for each of its points.
fn check(engine: &mut Engine, spec: &Spec, dose: &Dose, worst: &Cell<f64>) -> Result<(), TestCaseError> {
    let cancel = AtomicBool::new(false);
    let mut filled = 0;
    let mut each = |curve: &pythia_tui::engine::DoseCurve| filled = curve.points.iter().flatten().count();
    let curve = engine.dose(spec, dose, control(&cancel), &mut each).unwrap();
    prop_assert_eq!(filled, dose.amounts.len());
    for (amount, point) in dose.amounts.iter().zip(&curve.points) {
        let point = point.as_ref().unwrap();
        let edits = dose.edits_with(*amount);
        prop_assert_eq!(edits[dose.varied].op.number(), Some(*amount));
        let outcome = run(engine, &Spec { edits, ..spec.clone() }).unwrap();
        let last = |run: &pythia_tui::engine::Run| run.logit_rows().unwrap().pop().unwrap();
        let (before, after) = (last(&outcome.baseline), last(&outcome.run));
        let logit = |id: u32| f64::from(after[id as usize]);
        let prob = |id: u32| (logit(id) - log_normaliser(&after)).exp();
        let Question { target, distractor } = dose.question;
        let pairs = [
            (point.measure.kl, kl_divergence(&before, &after)),
            (point.measure.logit_diff, logit(target) - logit(distractor.unwrap())),
            (point.measure.prob, prob(target)),
            (point.probs[0], prob(dose.tokens[0])),
        ];
        for (found, expected) in pairs {
            let off = if found.is_nan() && expected.is_nan() { 0.0 } else { (found - expected).abs() };
            let scale = expected.abs().max(1.0);
            worst.set(worst.get().max(off / scale));
            prop_assert!(off <= 1e-6 * scale, "at {}: {} expected {}", amount, found, expected);
        }
    }
    Ok(())
}

#[test]
fn each_point_is_the_run_with_that_amount() {
    let lines = [
        "blocks.0.hook_resid_post += 1 * diff",
        "blocks.1.attn.hook_z[head=2] += 1 * diff",
        "blocks.*.hook_resid_post[pos=1:] += 1 * out",
        "blocks.1.hook_mlp_out *= 1",
        "blocks.0.mlp.hook_post[d_mlp=3] = 1",
    ];
    for checkpoint in ["parallel-25", "sequential-25"] {
        let engine = std::cell::RefCell::new(engine(checkpoint, Processing::Folded, &[]));
        let other = any_edit(&engine.borrow(), TOKENS.len());
        let strategy = (
            prop::collection::vec(other, 0..2),
            prop::sample::select(lines.to_vec()),
            any::<bool>(),
            1usize..12,
            -8f32..8.0,
            -8f32..8.0,
        );
        let mut config = ProptestConfig::with_cases(24);
        config.failure_persistence = None;
        let worst = Cell::new(0.0);
        let mut runner = proptest::test_runner::TestRunner::new(config);
        runner
            .run(&strategy, |(others, line, first, points, from, to)| {
                let line: Edit = line.parse().unwrap();
                let varied = if first { 0 } else { others.len() };
                let mut edits = others;
                edits.insert(varied, line);
                let spec = Spec {
                    contrast: Some(TOKENS.iter().rev().copied().collect()),
                    vectors: vectors(),
                    ..spec(&TOKENS, &[])
                };
                let question = Question { target: 5, distractor: Some(9) };
                let dose = Dose { edits, varied, amounts: amounts(from, to, points), question, tokens: vec![11] };
                check(&mut engine.borrow_mut(), &spec, &dose, &worst)
            })
            .unwrap();
        println!("{checkpoint}: largest error {:.1e}", worst.get());
    }
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[test]
fn the_command_prints_a_curve_as_json_csv_and_text() {
    let model = micro();
    let base = ["dose", "--model", &model, "--tokens", "3,14,15", "--vector", "v=unembed:#7"];
    let edit = ["--edit", "blocks.0.hook_resid_post *= 1", "--edit", "blocks.1.hook_resid_post += 4 * v"];
    let of = |rest: &[&'static str]| [&base[..], &edit, rest].concat();
    let report = json_of(&of(&["--json", "--token", "#9", "--token", "#7", "--points", "5"]));
    let points = report["points"].as_array().unwrap();
    let amounts: Vec<f64> = points.iter().map(|point| point["amount"].as_f64().unwrap()).collect();
    assert_eq!(amounts, [-8.0, -4.0, 0.0, 4.0, 8.0]);
    assert_eq!((&report["vary"], points[2]["kl"].as_f64().unwrap()), (&Value::from(2), 0.0));
    assert_eq!(report["vectors"][0]["name"], "v");
    assert_eq!(points[3]["probs"].as_array().unwrap().len(), 2);
    // the single run
    let ran = json_of(&[
        "run",
        "--model",
        &model,
        "--tokens",
        "3,14,15",
        "--vector",
        "v=unembed:#7",
        "--json",
        edit[2],
        edit[3],
    ]);
    let kl = ran["positions"].as_array().unwrap().last().unwrap()["kl"].as_f64().unwrap();
    assert!((points[3]["kl"].as_f64().unwrap() - kl).abs() < 1e-5);
    let csv = stdout(&of(&["--csv", "--from", "0", "--to", "2", "--points", "3", "--vary", "1"]));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "amount,kl,logit_diff,prob"));
    assert!(lines[2].starts_with("1,"));
    let text = stdout(&of(&[]));
    assert!(text.contains("vector v at blocks.1.hook_resid_post: norm") && text.lines().count() > 20, "{text}");
}

#[test]
fn a_curve_that_can_not_be_is_refused_with_what_was_expected() {
    let model = micro();
    let check = |rest: &[&str], expected: &str| {
        refused(&[&["dose", "--model", &model, "--tokens", "3,14,15"], rest].concat(), 2, expected);
    };
    check(&[], "expected an edit with a number");
    check(&["--edit", "hook_embed = mean"], "expected an edit with a number");
    check(&["--edit", "hook_embed = 1", "--edit", "hook_embed *= 2"], "--vary N");
    check(&["--edit", "hook_embed = 1", "--vary", "2"], "expected 1 to 1");
    check(&["--edit", "hook_embed = mean", "--edit", "hook_embed *= 2", "--vary", "1"], "no number to vary");
    check(&["--edit", "hook_embed = inf"], "give --from and --to");
    check(&["--edit", "hook_embed += noise 1", "--from", "-1"], "noise takes numbers from 0");
    check(&["--edit", "hook_embed *= 2", "--points", "1"], "--points");
    check(&["--edit", "hook_embed *= 2", "--from", "x"], "expected a finite number");
}
