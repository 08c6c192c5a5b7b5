//! Unprocessed activations of a processed model, against TransformerLens's unprocessed ones.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use common::{
    engine, engine_at,
    golden::{Golden, TOLERANCE, compare, error, ids, strings},
    run, spec,
};
use pythia_tui::{
    engine::{Engine, Outcome},
    hooks::Schema,
    model::{Placement, Processing},
};

const CHECKPOINTS: [&str; 4] = ["parallel-25", "parallel-100", "sequential-25", "sequential-100"];

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// Every hook of the run, and the logits, as the unprocessed model has them.
fn unprocessed(engine: &Engine, outcome: &Outcome) -> HashMap<String, Vec<f32>> {
    let (run, model) = (&outcome.run, &engine.loaded.model);
    let raw = model.unprocessed(&run.tokens, &run.cache).unwrap();
    let value = |point| raw.at(point, &engine.activation(run, point).unwrap().unwrap()).unwrap();
    let mut all: HashMap<String, Vec<f32>> =
        run.cache.points().into_iter().map(|point| (point.to_string(), flat(&value(point)))).collect();
    let normalized = run.cache.get("ln_final.hook_normalized".parse().unwrap()).unwrap();
    all.insert("logits".into(), flat(&raw.logits(&run.logits, normalized).unwrap()));
    all
}

#[test]
fn a_processed_run_gives_every_unprocessed_activation() {
    let mut worst = 0.0f64;
    for checkpoint in CHECKPOINTS {
        let golden = Golden::open(&format!("{checkpoint}-unprocessed"));
        for processing in [Processing::Folded, Processing::None] {
            let mut engine = engine(checkpoint, processing, &[]);
            for length in ["1", "2", "17", "130"] {
                let outcome = run(&mut engine, &spec(&ids(&golden.json("prompts")[length]), &[])).unwrap();
                let what = format!("{checkpoint} {processing}, {length} tokens");
                worst = worst.max(compare(&what, &golden.under(length), &unprocessed(&engine, &outcome)));
            }
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn so_does_one_with_opt_in_hooks() {
    for checkpoint in ["parallel-25", "sequential-25"] {
        let golden = Golden::open(&format!("{checkpoint}-unprocessed-opt-in"));
        for (set, enable) in golden.json("enable").as_object().unwrap() {
            let mut engine = engine(checkpoint, Processing::Folded, &strings(enable));
            let outcome = run(&mut engine, &spec(&ids(&golden.json("prompt")), &[])).unwrap();
            compare(&format!("{checkpoint}, {set}"), &golden.under(set), &unprocessed(&engine, &outcome));
        }
    }
}

/// Edits that mean the same with and without processing, also where the run resumes in the middle.
#[test]
fn edited_runs_give_what_the_unprocessed_model_gives_with_the_edits() {
    let tokens: Vec<u32> = (0..9).map(|i| i * 7 % 96).collect();
    for lines in [
        &["blocks.0.mlp.hook_post[pos=2] = 0"][..],
        &["blocks.1.attn.hook_q[head=1] *= 2", "blocks.1.mlp.hook_pre += 0.5"],
        &["blocks.0.attn.hook_attn_scores[query=4 key=1] += 3"],
    ] {
        for checkpoint in ["parallel-25", "sequential-25"] {
            let found = |processing| {
                let mut engine = engine(checkpoint, processing, &[]);
                let outcome = run(&mut engine, &spec(&tokens, lines)).unwrap();
                unprocessed(&engine, &outcome)
            };
            let (expected, found) = (found(Processing::None), found(Processing::Folded));
            for (name, values) in &expected {
                let off = error(&sampled(values), &found[name]);
                assert!(off <= TOLERANCE, "{checkpoint}, {lines:?}: {name} is off by {off:.1e}");
            }
        }
    }
}

/// As the golden files keep a tensor.
fn sampled(values: &[f32]) -> Vec<f32> {
    if values.len() <= 256 {
        return values.to_vec();
    }
    let norm = values.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    (0..256).map(|k| values[k * values.len() / 256]).chain([norm as f32]).collect()
}

#[test]
fn a_change_of_an_unprocessed_value_is_that_of_the_runs_value() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let outcome = run(&mut engine, &spec(&[3, 1, 4], &[])).unwrap();
    let (run, model) = (&outcome.run, &engine.loaded.model);
    let raw = model.unprocessed(&run.tokens, &run.cache).unwrap();
    for point in Schema::new(model.config.dims()).points() {
        let value = run.cache.get(point).unwrap().clone();
        if value.dtype() != DType::F32 || point.to_string().contains("hook_attn_scores") {
            continue;
        }
        let change = value.ones_like().unwrap();
        let moved = (&value + raw.change_back(point, &change).unwrap()).unwrap();
        let back = (raw.at(point, &moved).unwrap() - raw.at(point, &value).unwrap()).unwrap();
        let off = flat(&(back - change).unwrap()).into_iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(off < 1e-4, "{point}: {off}");
    }
}

#[test]
fn sixteen_bits_are_given_back_in_f32() {
    let place = Placement { dtype: DType::BF16, ..common::placement() };
    let mut engine = engine_at("parallel-25", Processing::Folded, &[], place);
    let golden = Golden::open("parallel-25-unprocessed-bf16");
    let outcome = run(&mut engine, &spec(&ids(&golden.json("prompt")), &[])).unwrap();
    let found = unprocessed(&engine, &outcome);
    for (name, expected) in golden.under("17") {
        let off = error(expected, &found[&name]);
        // as far apart as 16-bit runs of either kind are from the reference
        assert!(off < 6e-2, "{name}: {off:.1e}");
    }
}
