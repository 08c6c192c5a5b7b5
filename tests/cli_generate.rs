//! `generate` on the command line.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::program::{micro, refused, stdout};
use serde_json::{Value, json};

const EDIT: &str = "blocks.1.hook_mlp_out *= -1";

fn generate(rest: &[&str]) -> Value {
    let micro = micro();
    let args = [&["generate", "--model", &micro, "--tokens", "3,14,15", "--json"], rest].concat();
    serde_json::from_str(&stdout(&args)).unwrap()
}

fn ids(tokens: &Value) -> Vec<u64> {
    tokens.as_array().unwrap().iter().map(|token| token["id"].as_u64().unwrap()).collect()
}

#[test]
fn json_has_both_continuations_with_the_probability_of_each_token() {
    let report = generate(&["--max-new-tokens", "6", "--edit", EDIT]);
    assert_eq!(ids(&report["tokens"]), [3, 14, 15]);
    assert_eq!(report["edits"], json!([EDIT]));
    let (edited, unedited) = (&report["new_tokens"], &report["unedited"]);
    assert_ne!(ids(edited), ids(unedited));
    for token in [edited, unedited].into_iter().flat_map(|tokens| tokens.as_array().unwrap()) {
        let mut keys: Vec<&String> = token.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["baseline_prob", "id", "prob", "text"]);
        assert!(token["text"].is_string() && (0.0..=1.0).contains(&token["prob"].as_f64().unwrap()));
    }
    // the same numbers as a run of the text so far
    let text = [vec![3, 14, 15], ids(edited)].concat();
    for (step, token) in edited.as_array().unwrap().iter().enumerate() {
        let so_far = text[..3 + step].iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let run = stdout(&["run", "--model", &micro(), "--tokens", &so_far, "--json", "--edit", EDIT, "--top", "96"]);
        let run: Value = serde_json::from_str(&run).unwrap();
        let top = run["positions"].as_array().unwrap().last().unwrap()["top"].as_array().unwrap().clone();
        assert_eq!(token["id"], top[0]["id"]);
        for name in ["prob", "baseline_prob"] {
            let off = token[name].as_f64().unwrap() - top[0][name].as_f64().unwrap();
            assert!(off.abs() < 1e-6, "{name} at step {step} is off by {off}");
        }
    }
}

#[test]
fn without_edits_both_lists_are_the_same_text() {
    let report = generate(&["--max-new-tokens", "4"]);
    assert_eq!(report["new_tokens"], report["unedited"]);
    assert_eq!((&report["stop"], &report["edits"]), (&report["unedited_stop"], &json!([])));
    assert!(["max-new-tokens", "end-of-text"].contains(&report["stop"].as_str().unwrap()));
}

#[test]
fn several_samples_are_listed_and_drawn_again_by_the_same_seed() {
    let args = ["--temperature", "1.2", "--top-k", "50", "--top-p", "0.9", "--samples", "3", "--edit", EDIT];
    let of = |seed: &str| generate(&[&args[..], &["--seed", seed]].concat());
    let report = of("5");
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    assert!(report.get("new_tokens").is_none() && report.get("unedited").is_none());
    assert_ne!(samples[0], samples[1]);
    assert_eq!(of("5")["samples"], report["samples"]);
    assert_ne!(of("6")["samples"], report["samples"]);
    // the first of several is the one
    let one = generate(&["--temperature", "1.2", "--top-k", "50", "--top-p", "0.9", "--seed", "5", "--edit", EDIT]);
    assert_eq!(one["new_tokens"], samples[0]["new_tokens"]);
}

#[test]
fn rows_show_both_texts_token_by_token() {
    let prompt = "When Mary and John went to the store, John gave a drink to";
    let args = ["generate", "--model", "demo", prompt];
    let text = stdout(&[&args[..], &["--edit", "blocks.1.attn.hook_z[head=2] = 0"]].concat());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("demo · processed · ") && lines[0].contains(" · 14 tokens · "), "{text}");
    assert_eq!(lines[1..3], ["edit: blocks.1.attn.hook_z[head=2] = 0", ""]);
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[3]), "unedited prob edited prob (unedited)");
    assert_eq!(words(lines[4]), "1 \" Mary\" 98.6 % \" John\" 67.7 % 1.2 %");
    assert_eq!(words(lines[5]), "2 \".\" 100.0 % \".\" 100.0 % 100.0 %");
    let ended = "3 tokens, ended by the end-of-text token";
    assert_eq!(lines[8], format!("unedited, {ended}: \" Mary.<|endoftext|>\""));
    assert_eq!(lines[9], format!("edited, {ended}: \" John.<|endoftext|>\""));
    assert!(lines[11].ends_with(" tokens a second"), "{text}");
    // without edits there is one text
    let text = stdout(&[&args[..], &["--max-new-tokens", "2"]].concat());
    assert!(!text.contains("edited") && text.contains("\ntext, 2 tokens (--max-new-tokens): \" Mary.\"\n"), "{text}");
}

#[test]
fn the_context_length_ends_a_text_and_says_so() {
    let tokens = (0..254).map(|i| (1 + i % 90).to_string()).collect::<Vec<_>>().join(",");
    let micro = micro();
    let args = ["generate", "--model", &micro, "--tokens", &tokens];
    let text = stdout(&args);
    assert!(text.contains("text, 2 tokens, stopped at the model's context of 256 tokens: "), "{text}");
    let report: Value = serde_json::from_str(&stdout(&[&args[..], &["--json"]].concat())).unwrap();
    assert_eq!(report["stop"], "context");
}

#[test]
fn wrong_arguments_are_refused_with_what_was_expected() {
    let micro = micro();
    let refused = |rest: &[&str], expected: &str| {
        refused(&[&["generate", "--model", &micro, "--tokens", "1,2"], rest].concat(), 2, expected);
    };
    refused(&["--temperature", "-1"], "expected a number from 0");
    refused(&["--temperature", "nan"], "expected a number from 0");
    refused(&["--temperature", "1", "--top-p", "1.5"], "expected a number above 0, at most 1");
    refused(&["--top-k", "5"], "--temperature");
    refused(&["--seed", "5"], "--temperature");
    refused(&["--samples", "2"], "give --temperature T");
    refused(&["--samples", "2", "--temperature", "0"], "give --temperature T");
    refused(&["--max-new-tokens", "0"], "--max-new-tokens");
    refused(&["--edit", "blocks.0.hook_mlp_out[pos=2] = 0"], "pos 0 to 1");
    refused(&["--edit", "blocks.0.hook_mlp_out = patch"], "--contrast");
}

#[test]
fn branches_of_an_experiment_have_to_fit_the_model() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("branches.toml");
    let wrong = |table: &str, expected: &str| {
        let edit = "[[edit]]\nline = 'hook_embed *= 2'\non = false\n";
        let text = format!("version = 1\nmodel = '{}'\ntokens = [3, 14]\n{edit}[continuation]\n{table}\n", micro());
        std::fs::write(&path, text).unwrap();
        refused(&["run", "--experiment", path.to_str().unwrap()], 2, expected);
    };
    wrong("temperatur = 1.0", "line 8, column 1: unknown field `temperatur`");
    wrong("temperature = -1.0", "line 8, column 15: `-1`: temperature takes a number from 0");
    wrong("seed = -1", "line 8, column 8: `-1`: seed takes a whole number from 0");
    let branch = |tokens: &str| format!("[[continuation.unedited]]\ntokens = {tokens}");
    wrong(&branch("[5, 96]"), "line 9, column 10: token id 96 is out of range");
    wrong(&branch("[]"), "expected the tokens of a branch");
    let long = (0..255).map(|_| "5").collect::<Vec<_>>().join(", ");
    wrong(&branch(&format!("[{long}]")), "2 tokens of the prompt and these 255 are more than the context of 256");
    wrong(&branch("[5]\nsample = 0"), "line 10, column 10: sample 0: expected 1 to 64");
    wrong("[[continuation.edited]]\ntokens = [5]", "no edit is on");
    // another prompt leaves them out
    stdout(&["run", "--experiment", path.to_str().unwrap(), "--tokens", "3"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_at_once_and_prints_what_there_is() {
    for json in [false, true] {
        // Ctrl-C may also come between two samples, where none is cut short
        assert!((0..10).any(|_| is_cut_short_by_ctrl_c(json)), "no sample says that it was cut short");
    }
}

/// Generate until Ctrl-C, check what is printed, and return whether the last sample says that it was cut short.
#[cfg(unix)]
fn is_cut_short_by_ctrl_c(json: bool) -> bool {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };
    let mut args = vec!["generate", "--model", "demo", "Once upon a time", "--max-new-tokens", "4000000000"];
    args.extend(["--samples", "1000000", "--temperature", "1", "--edit", "blocks.0.hook_mlp_out = mean"]);
    args.extend(json.then_some("--json"));
    let mut child = common::program::program(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    if json {
        // nothing is printed before the end
        std::thread::sleep(Duration::from_secs(3));
    } else {
        while !text.contains("\n   3  ") {
            assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
        }
    }
    let stopped = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stopped.elapsed() < Duration::from_secs(20), "{:?}", stopped.elapsed());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(error.contains("stopped by Ctrl-C"), "{error}");
    if !json {
        assert!(text.contains("edited, "), "{text}");
        return text.contains(", stopped: \"");
    }
    let report: Value = serde_json::from_str(&text).unwrap();
    let (last, whole) = report["samples"].as_array().unwrap().split_last().unwrap();
    let is_cut = |sample: &Value| [&sample["stop"], &sample["unedited_stop"]].contains(&&Value::from("cancelled"));
    assert!(!whole.iter().any(is_cut), "only the last sample can be cut short");
    is_cut(last)
}

#[test]
fn every_activation_of_the_text_is_kept_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.safetensors");
    let line = "blocks.1.attn.hook_z[head=1 pos=-1] = 0";
    let report = generate(&["--max-new-tokens", "5", "--edit", line, "--save-cache", path.to_str().unwrap()]);
    assert!(report["time_ms"]["cache"].as_f64().unwrap() > 0.0);
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let new = ids(&report["new_tokens"]).len();
    let z = file.tensor("blocks.1.attn.hook_z").unwrap();
    assert_eq!(z.shape()[0], 3 + new);
    let values: Vec<f32> = z.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let (heads, d_head) = (z.shape()[1], z.shape()[2]);
    let head = |pos: usize| values[(pos * heads + 1) * d_head..][..d_head].iter().all(|x| *x == 0.0);
    // the prompt's last position, not that of the text
    assert_eq!((0..3 + new).map(head).collect::<Vec<_>>(), (0..3 + new).map(|pos| pos == 2).collect::<Vec<_>>());
    // the logits are those that the tokens were chosen by
    let logits = file.tensor("logits").unwrap();
    let vocab = logits.shape()[1];
    let rows: Vec<f32> = logits.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    for (step, id) in ids(&report["new_tokens"]).into_iter().enumerate() {
        let row = &rows[(2 + step) * vocab..(3 + step) * vocab];
        assert!(row.iter().all(|x| *x <= row[id as usize]), "step {step}");
    }
    // as `run` writes them
    let text = [vec![3, 14, 15], ids(&report["new_tokens"])].concat();
    let text = text.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let (of_run, line) = (directory.path().join("run.safetensors"), line.replace("pos=-1", "pos=2"));
    stdout(&["run", "--model", &micro(), "--tokens", &text, "--edit", &line, "--save-cache", of_run.to_str().unwrap()]);
    assert!(std::fs::read(of_run).unwrap() == bytes, "the files differ");
    let bad = ["generate", "--model", &micro(), "--tokens", "3", "--save-cache", "x.txt"];
    refused(&bad, 2, "--save-cache");
}
