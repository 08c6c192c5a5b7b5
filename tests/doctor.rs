//! `doctor`: checkpoints with the same weights, on the hub, in its cache and in directories.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use common::{
    fixture,
    hub::{FakeHub, Fault, sha256},
    program::program,
};
use serde_json::{Value, json};

/// The files of a checkpoint whose weights are these bytes in these files.
fn files(weights: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let config = fs::read(fixture("parallel-25").join("config.json")).unwrap();
    let weights = weights.iter().map(|(name, bytes)| ((*name).to_string(), bytes.as_bytes().to_vec()));
    weights.chain([("config.json".to_string(), config)]).collect()
}

fn doctor(hub: &str, cache: &Path, args: &[&str]) -> Output {
    let mut command = program(&[&["doctor"], args].concat());
    command
        .env("HF_ENDPOINT", hub)
        .env("HF_HUB_CACHE", cache)
        .env("HF_HUB_OFFLINE", "0")
        .env("HF_HOME", "/nonexistent");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn revisions_of_a_repository_are_grouped_by_their_weights() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let name = "EleutherAI/pythia-14m";
    let both = [("model.safetensors", "last"), ("pytorch_model.bin", "last, as a pickle")];
    hub.publish_files(name, "main", files(&both));
    hub.publish_files(name, "step143000", files(&both));
    // published in one format alone
    hub.publish_files(name, "step1000", files(&both[1..]));
    hub.publish_files(name, "step2000", files(&[("model.safetensors", "two thousand")]));
    let shards = [("model-00001-of-00002.safetensors", "a"), ("model-00002-of-00002.safetensors", "b")];
    hub.publish_files(name, "step512", files(&shards));
    hub.publish_files(name, "step0", files(&shards));
    let found = doctor(&hub.url(), cache.path(), &["--model", "pythia-14m", "--json"]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["same_weights"], json!([["main", "step1000", "step143000"], ["step0", "step512"]]));
    let main = &report["revisions"][0];
    assert_eq!((main["revision"].as_str(), main["step"].as_u64()), (Some("main"), None));
    assert_eq!(main["files"]["model.safetensors"], sha256(b"last"));
    assert_eq!(main["commit"].as_str().unwrap().len(), 40);
    assert_eq!(report["revisions"][1]["step"], 0);
    let said = text(&doctor(&hub.url(), cache.path(), &["--model", "pythia-14m"]).stdout);
    let expected = "pythia-14m: 6 revisions, 3 different sets of weights\n\
                    the same weights: main step1000 step143000\n\
                    the same weights: step0 step512\n";
    assert_eq!(said, expected);
    assert!(hub.requests().iter().all(|request| request.starts_with("/api/")), "no weights are downloaded");
    // a revision that can't be read is named, and the others are there
    hub.plan("/revision/step512", Fault::Status(403), usize::MAX);
    let partly = doctor(&hub.url(), cache.path(), &["--model", "pythia-14m"]);
    assert_eq!(partly.status.code(), Some(1));
    assert!(text(&partly.stdout).contains("5 revisions, 3 different"), "{}", text(&partly.stdout));
    let why = text(&partly.stderr);
    assert!(why.contains("step512: ") && why.contains("1 of 6 revisions could not be read"), "{why}");
}

#[test]
fn directories_and_the_cache_are_read_without_the_hub() {
    let training = tempfile::tempdir().unwrap();
    for (step, weights) in [("step1", "a"), ("step2", "b"), ("step4", "a")] {
        let directory = training.path().join(step);
        fs::create_dir(&directory).unwrap();
        for (name, bytes) in files(&[("model.safetensors", weights)]) {
            fs::write(directory.join(name), bytes).unwrap();
        }
    }
    let one = training.path().join("step2");
    let nowhere = Path::new("/nonexistent");
    let said = doctor("http://127.0.0.1:1", nowhere, &["--model", one.to_str().unwrap()]);
    assert!(text(&said.stdout).ends_with("3 revisions, 2 different sets of weights\nthe same weights: step1 step4\n"));

    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--a--b");
    for (revision, commit, weights) in [("main", "1".repeat(40), "a"), ("step1", "2".repeat(40), "a")] {
        let snapshot = repository.join("snapshots").join(&commit);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::write(repository.join("refs").join(revision), commit).unwrap();
        for (name, bytes) in files(&[("model.safetensors", weights)]) {
            fs::write(snapshot.join(name), bytes).unwrap();
        }
    }
    let said = doctor("http://127.0.0.1:1", cache.path(), &["--model", "a/b", "--offline"]);
    assert_eq!(text(&said.stdout), "a/b: 2 revisions, 1 set of weights\nthe same weights: main step1\n");
}

#[test]
fn what_has_no_revisions_is_refused() {
    let nowhere = Path::new("/nonexistent");
    for (args, code, expected) in [
        (&["--model", "demo"][..], 1, "`demo` has no revisions"),
        (&["--model", "/nonexistent/step1"], 1, "no model directory"),
        (&["--model", "a/b", "--offline"], 1, "cache"),
        (&["--model", "a b"], 1, "a b"),
    ] {
        let refused = doctor("http://127.0.0.1:1", nowhere, args);
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {why}");
        assert!(refused.stdout.is_empty() && why.contains(expected), "{args:?}: {why}");
    }
}
