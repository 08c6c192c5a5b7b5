//! Text from files, arguments and servers is escaped before it reaches the terminal.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, process::Command};

use common::{
    fixture,
    hub::FakeHub,
    program::{copy_of_micro, micro, program, stdout},
};
use pythia_tui::printed::is_printable;
use serde_json::Value;

/// Sets the title, rings the bell, clears the screen with C1 and C0 sequences, reverses text, and adds DEL and a line.
const FOREIGN: &str = "a\u{1b}]0;x\u{7}\u{9b}2J\u{1b}[2J\u{202e}\u{2066}\u{2028}\u{7f}\r\u{61c}\nFORGED";

/// Check that output contains no control characters and no forged line.
fn harmless(bytes: Vec<u8>, context: &str) -> String {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.chars().all(|c| c == '\n' || is_printable(c)), "{context}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{context}: {text}");
    text
}

fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    let context = format!("{command:?}");
    assert!(matches!(output.status.code(), Some(1 | 2)), "{context}: {:?}", output.status);
    harmless(output.stdout, &context);
    harmless(output.stderr, &context)
}

#[test]
fn arguments_are_quoted_escaped() {
    let option = format!("--{FOREIGN}");
    let (below, file) = (format!("/nonexistent/{FOREIGN}/file"), format!("/tmp/{FOREIGN}.txt"));
    let edit = format!("blocks.0.{FOREIGN} = 0");
    let axis = format!("hook_embed[{FOREIGN}=0] = 0");
    let run = ["run", "--model", "demo", "x"];
    for rest in [
        &["--edit", &edit][..],
        &["--edit", &axis],
        &["--edit", FOREIGN],
        &["--edit", &format!("hook_embed = {FOREIGN}")],
        &["--model", FOREIGN],
        &["--model", &below],
        &["--model", "pythia-70m", "--revision", FOREIGN],
        &["--revision", FOREIGN],
        &["--enable", FOREIGN],
        &["--enable", &format!("blocks.0.{FOREIGN}")],
        &["--device", FOREIGN],
        &["--dtype", FOREIGN],
        &["--threads", FOREIGN],
        &["--log", &below],
        &["--save-cache", &file],
        &["--save-cache", &format!("{below}.npz")],
        &["--export-python", &below],
        &["--experiment", &below],
        &["--contrast-tokens", FOREIGN],
        &["--top", FOREIGN],
        &[&option],
        &[FOREIGN],
    ] {
        refusal(program(&[&run[..], rest].concat()));
    }
    for args in [
        &["sweep", "--model", "demo", "x", "--op", FOREIGN][..],
        &["sweep", "--model", "demo", "x", "--patch", FOREIGN],
        &["sweep", "--model", "demo", "x", "--target", FOREIGN],
        &["sweep", "--model", "demo", "x", "--metric", FOREIGN],
        &["completions", FOREIGN],
        &["help", FOREIGN],
        &[&option],
        &["--color", FOREIGN],
    ] {
        refusal(program(args));
    }
    let marked = refusal(program(&["run", "--model", "demo", "x", "--edit", "hook_embed[\u{1b}=0] = \u{7}"]));
    assert!(marked.contains("\n  hook_embed[\\u001b=0] = \\u0007\n             ^"), "{marked}");
    let named = refusal(program(&["run", "--model", "demo", "x", "--edit", "blocks.0.\u{1b}[2J = 0"]));
    assert!(named.contains("there is no hook `blocks.0.\\u001b`"), "{named}");
    assert!(named.contains("\n  blocks.0.\\u001b[2J = 0\n           ^^^^^^\n"), "{named}");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf_8_are_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    for word in [&b"--model=\x1b[2J\xff"[..], b"--\x1b[2J\xff", b"--log=/nonexistent/\x1b[2J\xff"] {
        let mut command = program(&["run"]);
        command.arg(OsStr::from_bytes(word)).arg("x");
        refusal(command);
    }
}

#[test]
fn experiments_are_quoted_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("experiment.toml");
    let text = serde_json::to_string(FOREIGN).unwrap().replace('\u{7f}', "\\u007f");
    let path = file.to_str().unwrap();
    for (line, expected) in [
        (format!("model = {text}"), "is not a model"),
        (format!("model = 'demo'\n{text} = 1"), "unknown field"),
        (format!("model = 'demo'\nprompt = 'x'\nmetric = {text}"), "there is no metric"),
        (format!("model = 'demo'\nprompt = 'x'\nprocessing = {text}"), "there is no processing"),
        (format!("model = 'demo'\nprompt = 'x'\nenable = [{text}]"), "there is no hook"),
        (format!("model = 'demo'\nprompt = 'x'\ntarget = {text}"), "tokens, not one"),
        (format!("model = 'demo'\nprompt = {text}\ntokens = [1]"), "not the tokens"),
        (format!("model = 'demo'\nprompt = 'x'\n[[edit]]\nline = {text}"), "there is no hook"),
        (format!("model = 'demo'\nprompt = 'x'\n[view]\ntab = {text}\nhook = 'hook_embed'"), "there is no view"),
        (format!("model = 'demo'\nprompt = 'x'\n[view]\ntab = 'shape'\nhook = {text}"), "there is no hook"),
        (format!("model = 'demo'\nrevision = {text}"), "has no revisions"),
        (format!("model = 'pythia-70m'\nrevision = {text}"), "is not a revision"),
        ("model = \u{9b}".into(), "experiment.toml, line 2"),
    ] {
        fs::write(&file, format!("version = 1\n{line}\n")).unwrap();
        let message = refusal(program(&["run", "--experiment", path]));
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn checkpoints_are_quoted_escaped() {
    let config = |field: &str, value: Value| {
        copy_of_micro(|dir| {
            let path = dir.join("config.json");
            let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            json[field] = value;
            fs::write(path, json.to_string()).unwrap();
        })
    };
    let mut broken = Vec::new();
    for field in ["model_type", "hidden_act", "hidden_size", "rope_scaling", "use_parallel_residual", "bos_token_id"] {
        broken.push(config(field, FOREIGN.into()));
    }
    broken.push(config("rope_parameters", serde_json::json!({"rope_type": FOREIGN})));
    broken.push(copy_of_micro(|dir| {
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        let index = serde_json::json!({"weight_map": {FOREIGN: FOREIGN}});
        fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }));
    broken.push(copy_of_micro(|dir| {
        // a header with an unknown tensor and an unknown type
        let header = serde_json::json!({FOREIGN: {"dtype": FOREIGN, "shape": [1], "data_offsets": [0, 4]}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
        fs::write(dir.join("model.safetensors"), bytes).unwrap();
    }));
    broken.push(copy_of_micro(|dir| {
        let header = serde_json::json!({FOREIGN: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
        fs::write(dir.join("model.safetensors"), bytes).unwrap();
    }));
    broken.push(copy_of_micro(|dir| fs::write(dir.join("tokenizer.json"), FOREIGN).unwrap()));
    for dir in broken {
        refusal(program(&["run", "--model", dir.path().to_str().unwrap(), "--tokens", "1"]));
    }
}

#[cfg(unix)]
#[test]
fn directory_names_are_printed_escaped_and_unchanged_in_json() {
    let parent = tempfile::tempdir().unwrap();
    let name = FOREIGN.replace('/', "");
    let dir = parent.path().join(&name);
    fs::create_dir(&dir).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture("parallel-25").join(file), dir.join(file)).unwrap();
    }
    let model = dir.to_str().unwrap();
    let plain = stdout(&["run", "--model", model, "--tokens", "1,2"]);
    assert!(harmless(plain.into(), "run").starts_with("a\\u001b]0;x\\u0007\\u009b2J"));
    let json = harmless(stdout(&["run", "--model", model, "--tokens", "1,2", "--json"]).into(), "run --json");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["model"], name.as_str());
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    let message = refusal(program(&["run", "--model", model, "--tokens", "1"]));
    assert!(message.contains("\\nFORGED has no model.safetensors"), "{message}");
}

#[test]
fn tokens_are_printed_escaped_and_unchanged_in_json() {
    let args = ["run", "--model", "demo", "\u{9b}\u{202e}\u{7f}\u{1b}"];
    harmless(stdout(&args).into(), "run");
    let json = harmless(stdout(&[&args[..], &["--json"]].concat()).into(), "run --json");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert!(!report["tokens"].as_array().unwrap().is_empty());
    for format in [&[][..], &["--csv"], &["--json"]] {
        harmless(stdout(&[&["sweep", "--model", &micro(), "--tokens", "1,2"], format].concat()).into(), "sweep");
    }
}

#[cfg(unix)]
#[test]
fn names_in_the_cache_are_printed_escaped() {
    let parent = tempfile::tempdir().unwrap();
    let name = FOREIGN.replace('/', "");
    let cache = parent.path().join(&name);
    for (repository, reference) in [(format!("owner--{name}"), "main"), ("owner--model".into(), name.as_str())] {
        let folder = cache.join(format!("models--{repository}"));
        let snapshot = folder.join("snapshots/0123");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(folder.join("refs")).unwrap();
        fs::write(folder.join("refs").join(reference), "0123").unwrap();
        fs::write(folder.join("refs/step1"), "0123").unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(fixture("parallel-25").join(file), snapshot.join(file)).unwrap();
        }
    }
    let list = |args: &[&str]| program(args).env("HF_HUB_CACHE", &cache).output().unwrap().stdout;
    let plain = harmless(list(&["models"]), "models");
    assert!(plain.contains("\nowner/model ") && plain.contains("/a\\u001b]0;x\\u0007"), "{plain}");
    let json: Value = serde_json::from_str(&harmless(list(&["models", "--json"]), "models --json")).unwrap();
    assert!(json.as_array().unwrap().iter().any(|model| model["name"] == "owner/model"));
    let message = refusal({
        let mut command = program(&["run", "--model", "owner/none", "--tokens", "1"]);
        command.env("HF_HUB_CACHE", &cache);
        command
    });
    assert!(message.contains("\\nFORGED"), "{message}");
}

#[test]
fn answers_of_a_hub_are_quoted_escaped() {
    let server = FakeHub::start();
    server.publish("EleutherAI/pythia-14m", "main", &fixture("parallel-25"));
    server.rename_commits(FOREIGN);
    let cache = tempfile::tempdir().unwrap();
    let mut command = program(&["run", "--model", "pythia-14m", "--tokens", "1"]);
    command.env("HF_ENDPOINT", server.url()).env("HF_HUB_OFFLINE", "0").env("HF_HUB_CACHE", cache.path());
    let message = refusal(command);
    assert!(message.contains("its commit is `a\\u001b]0;x"), "{message}");
}
