//! The facts that the demo model's README states.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use common::{activations, engine, fixture, run, spec};
use proptest::prelude::*;
use pythia_tui::{
    analysis::{HeadScores, head_scores, log_normaliser, top_k},
    engine::Engine,
    model::Processing,
};
use serde_json::Value;

fn facts() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("demo.json")).unwrap()).unwrap()
}

fn rows() -> (Vec<Vec<u32>>, usize) {
    let facts = facts();
    let row = |row: &Value| row.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    (facts["repeated"].as_array().unwrap().iter().map(row).collect(), facts["period"].as_u64().unwrap() as usize)
}

/// Mean scores of every head over the repeated sequences, `[layer][head]`.
fn scores(engine: &mut Engine) -> Vec<Vec<HeadScores>> {
    let (rows, dims) = (rows().0, engine.schema.dims);
    let mut all = vec![vec![HeadScores::default(); dims.n_heads]; dims.n_layers];
    for row in &rows {
        let found = {
            let outcome = run(engine, &spec(row, &[])).unwrap();
            activations(engine, &outcome)
        };
        for (layer, heads) in all.iter_mut().enumerate() {
            let patterns = &found[&format!("blocks.{layer}.attn.hook_pattern")];
            for (score, pattern) in heads.iter_mut().zip(patterns.chunks(row.len() * row.len())) {
                let one = head_scores(pattern, row);
                score.previous_token += one.previous_token / rows.len() as f64;
                score.induction += one.induction / rows.len() as f64;
            }
        }
    }
    all
}

/// The mean loss on the first occurrence, and on later occurrences.
fn losses(engine: &mut Engine, edits: &[&str]) -> (f64, f64) {
    let (rows, period) = rows();
    let (mut first, mut later) = (vec![], vec![]);
    for row in &rows {
        let logits = run(engine, &spec(row, edits)).unwrap().run.logit_rows().unwrap();
        for (pos, (logits, &next)) in logits.iter().zip(&row[1..]).enumerate() {
            let loss = log_normaliser(logits) - f64::from(logits[next as usize]);
            if pos + 1 < period {
                first.push(loss)
            } else if pos >= period {
                later.push(loss)
            }
        }
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    (mean(&first), mean(&later))
}

#[test]
fn it_has_a_previous_token_head_and_an_effective_induction_head() {
    let mut engine = engine("demo", Processing::Folded, &[]);
    let scores = scores(&mut engine);
    let heads =
        || scores.iter().enumerate().flat_map(|(l, heads)| heads.iter().enumerate().map(move |(h, s)| (l, h, *s)));
    let previous = heads().map(|(.., s)| s.previous_token).fold(0.0, f64::max);
    let induction = heads().map(|(.., s)| s.induction).fold(0.0, f64::max);
    assert!(previous > 0.5 && induction > 0.5, "previous-token {previous:.2}, induction {induction:.2}");

    let (first, later) = losses(&mut engine, &[]);
    assert!(later < first / 4.0, "first occurrence {first:.2}, later {later:.2}");
    let ablations: Vec<String> = heads()
        .filter(|(.., s)| s.induction > 0.3)
        .map(|(l, h, _)| format!("blocks.{l}.attn.hook_z[head={h}] = 0"))
        .collect();
    let lines: Vec<&str> = ablations.iter().map(String::as_str).collect();
    let (_, without) = losses(&mut engine, &lines);
    assert!(without > later + 1.0, "with induction heads {later:.2}, without {without:.2}");
}

#[test]
fn it_completes_indirect_objects_with_unseen_pairs_of_names() {
    let mut engine = engine("demo", Processing::Folded, &[]);
    let facts = facts();
    let pairs = facts["indirect_object"].as_array().unwrap();
    let right = pairs
        .iter()
        .filter(|pair| {
            let ids = engine.loaded.tokenizer.encode(pair[0].as_str().unwrap()).unwrap();
            let answer = engine.loaded.tokenizer.single(pair[1].as_str().unwrap()).unwrap();
            let logits = run(&mut engine, &spec(&ids, &[])).unwrap().run.logit_rows().unwrap();
            top_k(logits.last().unwrap(), 1)[0].id == answer
        })
        .count();
    assert!(pairs.len() >= 200 && right * 10 >= pairs.len() * 9, "{right} of {}", pairs.len());
}

#[test]
fn two_tokens_are_two_tokens_and_it_is_small() {
    let engine = engine("demo", Processing::Folded, &[]);
    let tokenizer = &engine.loaded.tokenizer;
    let ids = tokenizer.encode("Two tokens").unwrap();
    assert_eq!(ids.iter().map(|id| tokenizer.token(*id)).collect::<Vec<_>>(), ["Two", " tokens"]);
    let weights = std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/model.safetensors")).unwrap();
    assert!(weights.len() <= 4 << 20);
    // padding rows of the vocabulary have no string
    assert_eq!(
        tokenizer.token(engine.schema.dims.d_vocab as u32 - 1),
        format!("<|{}|>", engine.schema.dims.d_vocab - 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_encodes_and_decodes_without_loss(text in any::<String>()) {
        thread_local!(static ENGINE: Engine = engine("demo", Processing::Folded, &[]));
        ENGINE.with(|engine| {
            let ids = engine.loaded.tokenizer.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|id| (*id as usize) < engine.schema.dims.d_vocab));
            prop_assert_eq!(engine.loaded.tokenizer.decode(&ids), text);
            Ok(())
        })?;
    }
}
