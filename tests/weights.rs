//! What weights say, against TransformerLens 2.18.0.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use candle_core::{DType, Tensor};
use common::{
    engine,
    golden::{Golden, error_of},
    program::{micro, refused, stdout},
};
use pythia_tui::{
    engine::{Circuit, Composition, Direction, Engine, Promoted},
    model::{HeadMatrix, Processing},
};
use serde_json::Value;

const HEAD: (usize, usize) = (1, 2);
const PROCESSINGS: [Processing; 2] = [Processing::Folded, Processing::None];
/// The largest error measured is 3e-6 of a tensor's scale: singular vectors of f32 weights.
const TOLERANCE: f64 = 2e-5;

/// The numbers of every token.
fn whole(found: &Promoted) -> Vec<f32> {
    let mut all = vec![f32::NAN; 96];
    found.promoted.iter().for_each(|(id, x)| all[*id as usize] = *x);
    assert!(found.promoted.is_sorted_by(|a, b| a.1 >= b.1) && found.suppressed.is_sorted_by(|a, b| a.1 <= b.1));
    all
}

fn held(golden: &Golden, name: &str, found: &[f32]) -> f64 {
    let off = error_of(usize::MAX, &golden.tensors[name], found);
    assert!(off <= TOLERANCE, "{name} is off by {off:.1e}");
    off
}

fn directions(golden: &Golden, name: &str, (left, right): (&str, &str), found: &[Direction]) -> f64 {
    let values: Vec<f32> = found.iter().map(|d| d.value as f32).collect();
    let sides = |of: fn(&Direction) -> &Promoted| found.iter().flat_map(|d| whole(of(d))).collect::<Vec<f32>>();
    let off = held(golden, &format!("{name}/values"), &values);
    let off = off.max(held(golden, &format!("{name}/{left}"), &sides(|d| &d.left)));
    off.max(held(golden, &format!("{name}/{right}"), &sides(|d| &d.right)))
}

fn of(processing: Processing) -> (Engine, String) {
    (engine("parallel-25", processing, &[]), processing.name().to_string())
}

#[test]
fn neurons_circuits_and_distances_equal_the_reference() {
    let golden = Golden::open("weights");
    let mut worst = 0.0f64;
    for processing in PROCESSINGS {
        let (engine, name) = of(processing);
        let neuron = engine.neuron_tokens(1, 17, 96).unwrap();
        worst = worst.max(held(&golden, &format!("{name}/neuron"), &whole(&neuron)));
        let ov = engine.singular_directions(HEAD, Circuit::Ov, 3, 96).unwrap();
        worst = worst.max(directions(&golden, &format!("{name}/ov"), ("reads", "writes"), &ov));
        for distance in [0, 3] {
            let qk = engine.singular_directions(HEAD, Circuit::Qk { distance }, 3, 96).unwrap();
            worst = worst.max(directions(&golden, &format!("{name}/qk{distance}"), ("query", "key"), &qk));
        }
        for at in engine.by_distance(HEAD, 5).unwrap() {
            let found = [at.norm as f32, at.bias as f32];
            worst = worst.max(held(&golden, &format!("{name}/distance/{}", at.distance), &found));
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn composition_scores_equal_the_reference() {
    let golden = Golden::open("weights");
    for processing in PROCESSINGS {
        let (engine, name) = of(processing);
        for (kind, letter) in [(Composition::Q, "q"), (Composition::K, "k"), (Composition::V, "v")] {
            let scores = engine.composition_scores(kind).unwrap();
            let found: Vec<f32> = scores.iter().flatten().flatten().flatten().map(|x| *x as f32).collect();
            held(&golden, &format!("{name}/composition/{letter}"), &found);
        }
    }
}

/// The score of a query and a key, from the circuit at their distance and the biases, as the run has it.
#[test]
fn the_circuit_at_a_distance_is_what_scores_are_made_of() {
    let (engine, _) = of(Processing::Folded);
    let at: Vec<f64> = engine.by_distance(HEAD, 9).unwrap().iter().map(|at| at.bias).collect();
    let mut run = common::engine("parallel-25", Processing::Folded, &[]);
    // with nothing in the stream, queries and keys are their biases
    let edits = ["blocks.1.ln1.hook_normalized = 0"];
    let outcome = common::run(&mut run, &common::spec(&[1; 9], &edits)).unwrap();
    let scores = outcome.run.cache.get("blocks.1.attn.hook_attn_scores".parse().unwrap()).unwrap();
    let last = scores.get(0).unwrap().get(HEAD.1).unwrap().get(8).unwrap().to_vec1::<f32>().unwrap();
    for (distance, bias) in at.iter().enumerate() {
        assert!((f64::from(last[8 - distance]) - bias).abs() < 1e-6, "{distance}: {} and {bias}", last[8 - distance]);
    }
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[test]
fn json_and_text_name_what_they_are_about() {
    let model = micro();
    let call = |rest: &[&str]| json(&[&["weights", "--model", &model, "--json"], rest].concat());
    let neuron = call(&["--neuron", "1.17", "--top", "3"]);
    assert_eq!(neuron["neuron"], "1.17");
    assert_eq!((neuron["promoted"].as_array().unwrap().len(), neuron["suppressed"].as_array().unwrap().len()), (3, 3));
    assert!(neuron["promoted"][0]["logit"].as_f64() > neuron["suppressed"][0]["logit"].as_f64());
    let ov = call(&["--head", "1.2", "--svd", "2"]);
    assert_eq!((ov["head"].as_str(), ov["circuit"].as_str()), (Some("1.2"), Some("ov")));
    let directions = ov["directions"].as_array().unwrap();
    assert_eq!(directions.len(), 2);
    assert!(directions[0]["value"].as_f64() >= directions[1]["value"].as_f64());
    assert!(directions[0]["reads"]["promoted"][0]["id"].is_u64() && directions[0]["writes"]["suppressed"].is_array());
    let qk = call(&["--head", "1.2", "--circuit", "qk", "--distance", "3", "--distances", "4"]);
    assert_eq!((qk["distance"].as_u64(), qk["distances"].as_array().unwrap().len()), (Some(3), 4));
    assert!(qk["directions"][0]["query"].is_object() && qk["directions"][0]["key"].is_object());
    let composition = call(&["--composition", "k"]);
    assert_eq!(composition["composition"], "k");
    assert_eq!(composition["scores"][1][0][0][0], 0.0, "an earlier layer reads nothing of a later one");
    assert!(composition["scores"][0][3][1][2].as_f64().unwrap() > 0.0);
    let text = stdout(&["weights", "--model", &model, "--head", "1.2", "--circuit", "qk"]);
    assert!(text.starts_with("QK circuit of L1H2, 0 positions apart") && text.contains("distance"), "{text}");
    let text = stdout(&["weights", "--model", &model, "--composition", "v", "--top", "4"]);
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn what_does_not_exist_is_refused() {
    let model = micro();
    let refuse = |rest: &[&str], expected: &str| {
        refused(&[&["weights", "--model", &model], rest].concat(), 2, expected);
    };
    refuse(&[], "expected one of --neuron");
    refuse(&["--neuron", "2.0"], "layers are 0 to 1");
    refuse(&["--neuron", "17"], "expected LAYER.NUMBER");
    refuse(&["--head", "1.4"], "numbers 0 to 3");
    refuse(&["--head", "1.-1"], "expected LAYER.NUMBER");
    refuse(&["--head", "1.2", "--distance", "3"], "give --circuit qk");
    refuse(&["--head", "1.2", "--circuit", "qk", "--distance", "256"], "the context holds 256");
    refuse(&["--head", "1.2", "--neuron", "0.1"], "cannot be used with");
}

/// A head's circuit from each token to each: `[vocab, vocab]` in f64.
fn between_tokens(engine: &Engine, circuit: Circuit) -> Vec<f64> {
    let model = &engine.loaded.model;
    let (block, head) = HEAD;
    let d_model = model.config.d_model;
    let exact = |tensor: Tensor| tensor.to_dtype(DType::F64).unwrap();
    let identity = Tensor::eye(d_model, DType::F32, &model.place().device).unwrap();
    let embedding = exact(model.embedded_along(&identity).unwrap()).t().unwrap();
    let weight = |which| exact(model.head_matrices(block, which).unwrap().get(head).unwrap());
    let product = match circuit {
        Circuit::Ov => {
            let unembedding = exact(model.promoted(&identity).unwrap());
            let middle = weight(HeadMatrix::V).matmul(&weight(HeadMatrix::O)).unwrap();
            embedding.matmul(&middle).unwrap().matmul(&unembedding).unwrap()
        }
        Circuit::Qk { distance } => {
            let turned = exact(model.turned_queries(block, head, distance).unwrap()).narrow(0, 0, d_model).unwrap();
            let middle = turned.matmul(&weight(HeadMatrix::K).t().unwrap()).unwrap();
            embedding.matmul(&middle).unwrap().matmul(&embedding.t().unwrap()).unwrap()
        }
    };
    product.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest error measured is 2e-7 of the largest element: both factors are f32.
#[test]
fn the_difference_of_two_models_circuits_rebuilds_from_its_directions() {
    for processing in PROCESSINGS {
        let (this, that) = (engine("parallel-25", processing, &[]), engine("parallel-100", processing, &[]));
        for circuit in [Circuit::Ov, Circuit::Qk { distance: 0 }, Circuit::Qk { distance: 3 }] {
            let (here, there) = (between_tokens(&this, circuit), between_tokens(&that, circuit));
            let expected: Vec<f64> = here.iter().zip(&there).map(|(a, b)| a - b).collect();
            let found = this.differing_directions(&that, HEAD, circuit, usize::MAX, 96).unwrap();
            let mut rebuilt = vec![0.0; 96 * 96];
            for Direction { value, left, right } in &found.directions {
                let (left, right) = (whole(left), whole(right));
                let at = |i: usize, j: usize| value * f64::from(left[i]) * f64::from(right[j]);
                rebuilt.iter_mut().enumerate().for_each(|(pair, x)| *x += at(pair / 96, pair % 96));
            }
            let scale = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            let off = rebuilt.iter().zip(&expected).fold(0.0f64, |most, (a, b)| most.max((a - b).abs())) / scale;
            assert!(off < 2e-6, "{circuit:?} is off by {off:.1e}");
            assert!(found.directions.is_sorted_by(|a, b| a.value >= b.value));
            let norm = |all: &[f64]| all.iter().map(|x| x * x).sum::<f64>().sqrt();
            let relative = norm(&expected) / norm(&there);
            assert!((found.relative - relative).abs() < 1e-6 * relative, "{} {relative}", found.relative);
            println!("{circuit:?}: {off:.1e} of the largest element");
            let own = this.differing_directions(&this, HEAD, circuit, usize::MAX, 96).unwrap();
            assert_eq!((own.directions.len(), own.relative), (0, 0.0), "a model does not differ from itself");
        }
        let (here, there) = (this.neuron_tokens(1, 17, 96).unwrap(), that.neuron_tokens(1, 17, 96).unwrap());
        let less: Vec<f32> = whole(&here).iter().zip(whole(&there)).map(|(a, b)| a - b).collect();
        assert_eq!(whole(&this.differing_neuron_tokens(&that, (1, 17), 96).unwrap()), less);
    }
}
