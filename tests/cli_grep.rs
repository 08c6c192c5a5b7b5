//! `grep` on the command line.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, process::Output};

use common::program::{call, micro, refused};
use safetensors::SafeTensors;
use serde_json::Value;

const IDS: &str = "7,3,9,22,41";

fn grep(rest: &[&str]) -> Output {
    call(&[&["grep", "--model", &micro()], rest].concat())
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(String::from).collect()
}

/// The places of a run on the micro checkpoint.
fn places(rest: &[&str]) -> Vec<String> {
    lines(&grep(&[&["--tokens", IDS], rest].concat()))
}

fn json(rest: &[&str]) -> Value {
    serde_json::from_slice(&grep(&[&["--tokens", IDS, "--json"], rest].concat()).stdout).unwrap()
}

/// Every activation, as `--save-cache` writes it.
fn cache(rest: &[&str]) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache.safetensors").display().to_string();
    let output = call(&[&["run", "--model", &micro(), "--tokens", IDS, "--save-cache", &file], rest].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(file).unwrap();
    let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        (name, (view.shape().to_vec(), floats(view.data())))
    };
    tensors.tensors().into_iter().map(tensor).collect()
}

#[test]
fn each_place_is_a_line_with_its_value() {
    let cache = cache(&[]);
    let mut expected = vec![];
    for block in 0..2 {
        let name = format!("blocks.{block}.attn.hook_pattern");
        let (shape, values) = &cache[&name];
        for (at, x) in values.iter().enumerate().filter(|(_, x)| **x > 0.3) {
            let (head, query, key) = (at / (shape[1] * shape[2]), at / shape[2] % shape[1], at % shape[2]);
            let x = if *x == 1.0 { "1".into() } else { format!("{x:.4}") };
            expected.push(format!("{name}[head={head} query={query} key={key}] {x}"));
        }
    }
    assert!(expected.len() > 8);
    assert_eq!(places(&["blocks.*.attn.hook_pattern > 0.3"]), expected);
    assert_eq!(places(&["blocks.*.attn.hook_pattern > 0.3", "--first", "3"]), expected[..3]);
    assert_eq!(places(&["blocks.*.attn.hook_pattern > 0.3", "--count"]), [expected.len().to_string()]);
    assert_eq!(places(&["blocks.*.attn.hook_pattern > 0.3", "--count", "--first", "2"]), ["2"]);
}

#[test]
fn norms_are_those_of_the_cache() {
    for edit in [&[][..], &["--edit", "blocks.0.hook_mlp_out[pos=1:3] *= 4"]] {
        let cache = cache(edit);
        let found = json(&[&["norm(blocks.*.hook_resid_post) > 0"], edit].concat());
        let all = found["matches"].as_array().unwrap();
        assert_eq!(all.len(), 2 * 5);
        for found in all {
            let (shape, values) = &cache[found["hook"].as_str().unwrap()];
            let pos = found["index"]["pos"].as_u64().unwrap() as usize;
            let row = &values[pos * shape[1]..(pos + 1) * shape[1]];
            let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let value = found["value"].as_f64().unwrap();
            assert!((value - norm).abs() < 1e-12 * norm, "{found}: {norm}");
        }
    }
}

#[test]
fn sorting_puts_the_largest_first() {
    let values = |rest: &[&str]| -> Vec<f64> {
        let all = json(&[&["norm(blocks.*.hook_mlp_out) > 0"], rest].concat());
        all["matches"].as_array().unwrap().iter().map(|found| found["value"].as_f64().unwrap()).collect()
    };
    let mut expected = values(&[]);
    expected.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(values(&["--sort"]), expected);
    assert_eq!(values(&["--sort", "--first", "2"]), expected[..2]);
    expected.reverse();
    assert_eq!(values(&["--sort=ascending"]), expected);
}

#[test]
fn the_json_has_the_documented_fields() {
    let found = json(&["blocks.*.attn.hook_attn_scores[head=1 query=0] is inf"]);
    let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["count", "device", "matches", "model", "predicate", "processing", "prompts", "revision"]);
    assert_eq!(found["count"], 2 * 4);
    let first = &found["matches"][0];
    assert_eq!(first["place"], "blocks.0.attn.hook_attn_scores[head=1 query=0 key=1]");
    assert_eq!(first["index"], serde_json::json!({"head": 1, "query": 0, "key": 1}));
    assert_eq!((&first["value"], &first["nonfinite"]), (&Value::Null, &"-inf".into()));
    let prompt = &found["prompts"][0];
    assert_eq!((&prompt["line"], &prompt["count"]), (&Value::Null, &8.into()));
    assert_eq!(prompt["tokens"][1]["id"], 3);
    let counted = json(&["blocks.* is nan", "--count"]);
    assert_eq!((counted.get("matches"), &counted["count"]), (None, &0.into()));
    let none = json(&["blocks.* is nan"]);
    assert_eq!(none["matches"], serde_json::json!([]));
}

#[test]
fn the_exit_code_is_greps() {
    let code = |rest: &[&str]| grep(rest).status.code();
    assert_eq!(code(&["blocks.* is inf", "--tokens", IDS]), Some(0));
    assert_eq!(code(&["blocks.* is nan", "--tokens", IDS]), Some(1));
    let nothing = grep(&["blocks.* is nan", "--tokens", IDS]);
    assert!(nothing.stdout.is_empty() && nothing.stderr.is_empty());
    let model = micro();
    let refused = |rest: &[&str], expected: &str| refused(&[&["grep", "--model", &model], rest].concat(), 2, expected);
    refused(&["norm(blocks.0.hook_mlp_uot) > 1", "--tokens", IDS], "did you mean `blocks.0.hook_mlp_out`?");
    refused(&["blocks.9.hook_mlp_out > 1", "--tokens", IDS], "there is no block 9");
    refused(&["blocks.0.attn.hook_result > 1", "--tokens", IDS], "--enable attn.hook_result");
    refused(&["blocks.0.hook_resid_mid > 1", "--tokens", IDS], "never computes blocks.0.hook_resid_mid");
    refused(&["hook_embed > 1"], "a prompt is needed");
    refused(&["hook_embed > 1", "--tokens", IDS, "--edit", "hook_embed = patch"], "needs a contrast prompt");
    refused(&["hook_embed > 1", "--tokens", IDS, "--prompts", "x"], "cannot be used with");
    // what is not a mistake in the call is no "not found" either
    common::program::refused(&["grep", "--model", "/nonexistent/model", "hook_embed > 1", "x"], 2, "");
}

#[test]
fn prompts_of_a_file_are_searched_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prompts.txt");
    fs::write(&path, "Two tokens\n\nOne\r\n").unwrap();
    let file = path.display().to_string();
    let of = |rest: &[&str]| call(&[&["grep", "--model", "demo", "--prompts", &file], rest].concat());
    let both = lines(&of(&["max(blocks.1.attn.hook_pattern[head=0]) > 0.5"]));
    let alone = |text: &str| {
        let args = ["grep", "--model", "demo", text, "max(blocks.1.attn.hook_pattern[head=0]) > 0.5"];
        lines(&call(&[&args[..1], &args[1..3], &args[4..], &args[3..4]].concat()))
    };
    let with = |line: usize, text: &str| alone(text).into_iter().map(|place| format!("{line}:{place}")).collect();
    let expected: Vec<Vec<String>> = vec![with(1, "Two tokens"), with(3, "One")];
    assert_eq!(both, expected.concat());
    assert_eq!(lines(&of(&["hook_embed is nan", "--count"])), ["1:0", "3:0"]);
    let json: Value = serde_json::from_slice(&of(&["hook_embed[pos=0 d_model=0] < inf", "--json"]).stdout).unwrap();
    assert_eq!((&json["prompts"][1]["line"], &json["matches"][1]["prompt"]), (&3.into(), &1.into()));
    let first = lines(&of(&["hook_embed < inf", "--first", "1"]));
    assert_eq!(first.len(), 1);
    // all prompts are checked before anything is printed
    let output = of(&["hook_embed[pos=1] < inf"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("prompts.txt, line 3"));
    fs::write(&path, "\n \n").unwrap();
    let output = of(&["hook_embed < inf"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("it holds no prompt"));
}

#[test]
fn an_edit_is_seen_and_delta_compares_with_the_run_without() {
    let edit = ["--edit", "blocks.1.hook_mlp_out[pos=2] = 3"];
    let set = places(&[&["blocks.1.hook_mlp_out[d_model=0] == 3"], &edit[..]].concat());
    assert_eq!(set, ["blocks.1.hook_mlp_out[pos=2] 3.0000".replace("[pos=2]", "[pos=2 d_model=0]")]);
    let moved = places(&[&["delta(blocks.*.hook_resid_post) > 0"], &edit[..]].concat());
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(moved[0].starts_with("blocks.1.hook_resid_post[pos=2] "), "{moved:?}");
    // without edits nothing has changed
    assert!(places(&["delta(blocks.*) > 0"]).is_empty());
    // what an edit reads of other runs is there
    let frozen = ["--edit", "blocks.0.hook_mlp_out *= 2", "--edit", "blocks.1.hook_resid_post = freeze"];
    let moved = places(&[&["delta(blocks.*.hook_resid_post over all) > 0"], &frozen[..]].concat());
    assert!(moved.len() == 1 && moved[0].starts_with("blocks.0.hook_resid_post "), "{moved:?}");
}
