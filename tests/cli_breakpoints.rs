//! Breakpoints on the command line: `--break`, and those of an experiment.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::program::{call, micro, refused, stdout};
use serde_json::{Value, json};

fn sweep(rest: &[&str]) -> Value {
    let micro = micro();
    let args = [&["sweep", "--model", &micro, "--tokens", "3,14,15,3", "--json"], rest].concat();
    serde_json::from_str(&stdout(&args)).unwrap()
}

const ABLATED: &str = "max(abs(blocks.1.hook_mlp_out) over all) == 0";

#[test]
fn a_sweep_stops_at_a_cell_and_says_so() {
    let plain = sweep(&[]);
    assert_eq!((&plain["breakpoints"], &plain["stopped"]), (&json!([]), &Value::Null));
    let report = sweep(&["--break", ABLATED]);
    let first = json!({"cell": "L1 mlp", "place": "blocks.1.hook_mlp_out", "value": 0.0});
    assert_eq!(report["stopped"], first);
    assert_eq!(report["breakpoints"], json!([{"when": ABLATED, "log": false, "cells": 1, "first": first}]));
    // what was run is as without a breakpoint
    for name in ["effect", "mlp"] {
        let both = report[name].as_array().unwrap().iter().zip(plain[name].as_array().unwrap());
        assert!(both.clone().count() > 0);
        for (now, plain) in both {
            assert!(now == plain || now.is_null() || now.is_array(), "{name}: {now} {plain}");
        }
    }
    assert_eq!(sweep(&["--break", "blocks.* is nan"])["stopped"], Value::Null);
    let micro = micro();
    let text = call(&["sweep", "--model", &micro, "--tokens", "3,14,15,3", "--break", ABLATED]);
    let said = String::from_utf8(text.stderr).unwrap();
    assert!(said.contains("stopped at L1 mlp, after ") && said.contains("blocks.1.hook_mlp_out = 0"), "{said}");
}

#[test]
fn an_experiment_s_breakpoints_stop_or_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("e.toml");
    let of = |log: bool, on: bool| {
        let text = format!(
            "version = 1\nmodel = {:?}\ntokens = [3, 14, 15, 3]\n[[breakpoint]]\nwhen = '{ABLATED}'\nlog = {log}\non = {on}\n",
            micro()
        );
        std::fs::write(&file, text).unwrap();
        let report = stdout(&["sweep", "--experiment", file.to_str().unwrap(), "--json"]);
        serde_json::from_str::<Value>(&report).unwrap()
    };
    let logged = of(true, true);
    assert_eq!((&logged["stopped"], &logged["breakpoints"][0]["cells"]), (&Value::Null, &json!(1)));
    assert!(logged["effect"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).all(Value::is_number));
    assert_eq!(of(false, true)["stopped"]["cell"], "L1 mlp");
    assert_eq!(of(false, false)["breakpoints"], json!([]));
}

#[test]
fn a_wrong_breakpoint_is_refused_before_anything_runs() {
    let micro = micro();
    let with = |rest: &[&str], expected: &str| {
        refused(&[&["sweep", "--model", &micro, "--tokens", "3,14"], rest].concat(), 2, expected);
    };
    with(&["--break", "nrom(hook_embed) > 1"], "did you mean `norm`?");
    with(&["--break", "blocks.9.hook_mlp_out > 1"], "there is no block 9");
    with(&["--break", "induction(blocks.0.attn.hook_z) > 1"], "attention pattern");
    with(&["--estimate", "--break", "hook_embed > 1"], "--estimate");
}

fn generate(rest: &[&str]) -> Value {
    let micro = micro();
    let args =
        [&["generate", "--model", &micro, "--tokens", "3,14,15", "--json", "--max-new-tokens", "8"], rest].concat();
    serde_json::from_str(&stdout(&args)).unwrap()
}

const EDIT: &str = "blocks.1.hook_mlp_out *= -1";

/// The places of the last position in a run of the text as far as token `made`.
fn found(text: &[u64], when: &str, edits: &[&str]) -> Vec<(String, f64)> {
    let text = text.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let micro = micro();
    let edits: Vec<&str> = edits.iter().flat_map(|edit| ["--edit", edit]).collect();
    let args = [&["grep", when, "--model", &micro, "--tokens", &text, "--json"], &edits[..]].concat();
    let report: Value = serde_json::from_slice(&call(&args).stdout).unwrap();
    let matches = report["matches"].as_array().unwrap().iter();
    matches.map(|found| (found["place"].as_str().unwrap().into(), found["value"].as_f64().unwrap())).collect()
}

#[test]
fn a_text_ends_after_the_token_at_which_a_breakpoint_is_true() {
    let plain = generate(&["--edit", EDIT]);
    assert_eq!(plain["breakpoints"], json!([]));
    let ids = |report: &Value| -> Vec<u64> {
        report["new_tokens"].as_array().unwrap().iter().map(|token| token["id"].as_u64().unwrap()).collect()
    };
    let all = [vec![3, 14, 15], ids(&plain)].concat();
    assert!(all.len() > 6, "{all:?}");
    // each of these at the last position of the text as far as each token, as `grep` finds it in a run of that text
    for (when, edits) in [
        ("norm(blocks.*.hook_mlp_out[pos=-1]) > {}", &[EDIT][..]),
        ("max(blocks.0.attn.hook_pattern[query=-1 key=0]) > {}", &[]),
        ("max(delta(blocks.1.hook_resid_post[pos=-1])) > {}", &[EDIT]),
        ("max(induction(blocks.*.attn.hook_pattern)) > {}", &[]),
    ] {
        let report = generate(&edits.iter().flat_map(|edit| ["--edit", edit]).collect::<Vec<_>>());
        let text = [vec![3, 14, 15], ids(&report)].concat();
        let values = |end: usize| found(&text[..end], &when.replace("{}", "-1"), edits);
        let largest = |end: usize| values(end).into_iter().map(|(_, x)| x).fold(f64::NEG_INFINITY, f64::max);
        let by_token: Vec<f64> = (4..=text.len()).map(largest).collect();
        let most = by_token.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = by_token.iter().copied().fold(f64::INFINITY, f64::min);
        let threshold = f64::from(f64::midpoint(least, most) as f32);
        let expected = by_token.iter().position(|x| *x > threshold);
        let when = when.replace("{}", &threshold.to_string());
        let mut args = vec!["--break", when.as_str()];
        args.extend(edits.iter().flat_map(|edit| ["--edit", edit]));
        let stopped = generate(&args);
        let Some(expected) = expected else {
            assert_eq!(ids(&stopped), ids(&report), "{when}");
            continue;
        };
        assert_eq!((&stopped["stop"], ids(&stopped).len()), (&json!("breakpoint"), expected + 1), "{when}");
        assert_eq!(ids(&stopped), ids(&report)[..=expected]);
        let first = &stopped["breakpoints"][0]["first"];
        let (place, value) = found(&text[..4 + expected], &when, edits).remove(0);
        assert_eq!((&first["token"], first["place"].as_str().unwrap()), (&json!(expected), place.as_str()), "{when}");
        let off = (first["value"].as_f64().unwrap() - value).abs();
        assert!(off <= 1e-5 * value.abs(), "{when}: off by {off}");
    }
}

#[test]
fn a_breakpoint_that_logs_counts_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("e.toml");
    let text = format!(
        "version = 1\nmodel = {:?}\ntokens = [3, 14, 15]\n[[breakpoint]]\nwhen = 'norm(blocks.0.hook_mlp_out) > 0'\nlog = true\n",
        micro()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let report: Value =
        serde_json::from_str(&stdout(&["generate", "--experiment", file, "--json", "--max-new-tokens", "4"])).unwrap();
    let made = report["new_tokens"].as_array().unwrap().len();
    // the last token is looked at, too; the prompt is not
    assert_eq!(report["breakpoints"][0]["tokens"], json!(made));
    assert_eq!(report["breakpoints"][0]["first"]["place"], "blocks.0.hook_mlp_out[pos=3]");
    assert_ne!(report["stop"], "breakpoint");
    let said = call(&["generate", "--experiment", file, "--max-new-tokens", "4"]);
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains(&format!("true at {made} tokens, first token 1 ")), "{said}");
    let micro = micro();
    let args = ["generate", "--model", &micro, "--tokens", "3,14", "--break", "norm(blocks.0.hook_mlp_out) > 0"];
    let output = call(&args);
    let (out, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("stopped by a breakpoint") && said.contains("stopped after token 1 "), "{out}{said}");
    refused(&[&args[..5], &["--break", "norm(hook_embd) > 1"]].concat(), 2, "did you mean `hook_embed`?");
}

/// Edits that make every token run the whole text again, and text that ends for another reason.
#[test]
fn breakpoints_look_at_texts_that_are_read_again() {
    let when = "norm(blocks.1.hook_mlp_out) > 0";
    let edit = "blocks.0.hook_mlp_out = mean";
    let report = generate(&["--edit", edit, "--break", when]);
    assert_eq!((&report["stop"], &report["breakpoints"][0]["first"]["token"]), (&json!("breakpoint"), &json!(0)));
    assert_eq!(report["breakpoints"][0]["first"]["place"], "blocks.1.hook_mlp_out[pos=3]");
    let report = generate(&["--break", "blocks.0.hook_mlp_out[pos=5] is nan"]);
    assert_ne!(report["stop"], "breakpoint");
}
