//! Sparse dictionaries, against eai-sparsify 1.3.3, sae-lens 6.54.12 and dictionary-learning 0.1.0.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use candle_core::Tensor;
use common::{
    fixture,
    golden::{Golden, TOLERANCE, error_of, ids},
    hub::FakeHub,
    program::{micro, program, refused, stdout},
};
use pythia_tui::{
    hooks::HookPoint,
    model::{Dictionary, Processing},
};
use serde_json::Value;

const D_IN: usize = 32;
const D_SAE: usize = 40;

fn path(name: &str) -> String {
    fixture("dictionaries").join(name).display().to_string()
}

fn dense(features: &[(u32, f32)]) -> Vec<f32> {
    let mut all = vec![0.0; D_SAE];
    features.iter().for_each(|(id, x)| all[*id as usize] = *x);
    all
}

#[test]
fn every_layout_equals_its_library() {
    let golden = Golden::open("dictionaries");
    let x = Tensor::from_vec(golden.tensors["x"].clone(), (7, D_IN), &common::placement().device).unwrap();
    let names: Vec<&str> = golden.tensors.keys().filter_map(|key| key.strip_suffix("/back")).collect();
    assert_eq!(names.len(), 15);
    let mut worst = 0.0f64;
    for name in names {
        let dictionary = Dictionary::open(&fixture("dictionaries").join(name), &common::placement()).unwrap();
        let encoded = dictionary.encode(&x).unwrap();
        let features: Vec<f32> = encoded.features.iter().flat_map(|features| dense(features)).collect();
        let back = dictionary.decode(&encoded).concat();
        for (what, found) in [("features", features), ("back", back)] {
            let off = error_of(usize::MAX, &golden.tensors[&format!("{name}/{what}")], &found);
            assert!(off <= TOLERANCE, "{name}: {what} are off by {off:.1e}");
            worst = worst.max(off);
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn links_between_dictionaries_are_the_decoder_through_the_next_encoder() {
    let golden = Golden::open("dictionary-links");
    let hooks = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"].map(|hook| hook.parse::<HookPoint>().unwrap());
    let mut worst = 0.0f64;
    for (key, expected) in &golden.tensors {
        let (first, second) = key.split_once('|').unwrap();
        let mut engine = common::engine("parallel-25", Processing::Folded, &[]);
        for (hook, name) in hooks.into_iter().zip([first, second]) {
            let dictionary = Dictionary::open(&fixture("dictionaries").join(name), &common::placement()).unwrap();
            engine.use_dictionary(hook, Arc::new(dictionary));
        }
        let (mut read_by, mut written_by) = (vec![0.0; D_SAE * D_SAE], vec![0.0; D_SAE * D_SAE]);
        for feature in 0..D_SAE {
            let about = |hook| engine.about_feature(hook, feature as u32, D_SAE).unwrap();
            let (after, before) = (about(hooks[0]), about(hooks[1]));
            assert!(after.written_by.is_none() && before.read_by.is_none());
            let (after, before) = (after.read_by.unwrap(), before.written_by.unwrap());
            assert_eq!((after.hook, before.hook), (hooks[1], hooks[0]));
            for links in [&after, &before] {
                assert!(links.features.is_sorted_by(|a, b| a.weight >= b.weight) && links.features.len() == D_SAE);
            }
            for linked in after.features {
                read_by[feature * D_SAE + linked.feature as usize] = linked.weight;
            }
            for linked in before.features {
                written_by[linked.feature as usize * D_SAE + feature] = linked.weight;
            }
        }
        for found in [read_by, written_by] {
            let off = error_of(usize::MAX, expected, &found);
            assert!(off <= TOLERANCE, "{key}: off by {off:.1e}");
            worst = worst.max(off);
        }
    }
    println!("largest error {worst:.1e}");
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

fn features(tokens: &str, rest: &[&str]) -> Value {
    json(&[&["features", "--model", &micro(), "--tokens", tokens, "--json"], rest].concat())
}

fn prompt(golden: &Golden) -> String {
    ids(&golden.json("prompt")).iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn features_of_a_run_equal_the_librarys_of_the_unprocessed_stream() {
    let golden = Golden::open("dictionaries");
    let tokens = prompt(&golden);
    for processing in [&[][..], &["--no-processing"]] {
        let found = features(&tokens, &[&["--sae", &path("sparsify/layers.0"), "--top", "40"], processing].concat());
        assert_eq!(found["hook"], "blocks.0.hook_resid_post");
        assert_eq!((found["d_sae"].as_u64(), found["architecture"].as_str()), (Some(40), Some("topk")));
        let positions = found["positions"].as_array().unwrap();
        let numbers = |key: &str| positions.iter().map(|at| at[key].as_f64().unwrap() as f32).collect::<Vec<_>>();
        let held = |key: &str, found: &[f32]| {
            let off = error_of(usize::MAX, &golden.tensors[&format!("stream/{key}")], found);
            assert!(off <= TOLERANCE, "{key}, {processing:?}: {off:.1e}");
        };
        held("mse", &numbers("mse"));
        held("explained", &numbers("variance_explained"));
        let mut all = Vec::new();
        for (pos, at) in positions.iter().enumerate() {
            let listed = at["features"].as_array().unwrap();
            assert_eq!((at["pos"].as_u64(), at["l0"].as_u64()), (Some(pos as u64), Some(listed.len() as u64)));
            let value = |feature: &Value| {
                (feature["id"].as_u64().unwrap() as u32, feature["activation"].as_f64().unwrap() as f32)
            };
            let listed: Vec<(u32, f32)> = listed.iter().map(value).collect();
            assert!(listed.is_sorted_by(|a, b| a.1 >= b.1), "the strongest come first");
            all.extend(dense(&listed));
        }
        held("features", &all);
    }
}

#[test]
fn a_dictionary_is_used_at_the_hook_of_its_config_or_at_the_one_given() {
    let hook = |args: &[&str]| features("7,3,9", args)["hook"].as_str().unwrap().to_string();
    for name in ["sae-lens-standard", "sparsify/layers.0", "dl-topk"] {
        assert_eq!(hook(&["--sae", &path(name)]), "blocks.0.hook_resid_post", "{name}");
    }
    assert_eq!(hook(&["--sae", &format!("blocks.1.hook_resid_pre={}", path("mlsae"))]), "blocks.1.hook_resid_pre");
    // the directory of several dictionaries, and the heads of a hook side by side
    assert_eq!(hook(&["--sae", &format!("blocks.0.hook_resid_post={}", path("sparsify"))]), "blocks.0.hook_resid_post");
    assert_eq!(hook(&["--sae", &format!("blocks.0.attn.hook_z={}", path("mlsae"))]), "blocks.0.attn.hook_z");
    let several = features("7,3,9", &["--sae", &path("dl-topk"), "--sae", &path("sae-lens-gated"), "--pos", "-1"]);
    let names: Vec<&str> =
        several.as_array().unwrap().iter().map(|one| one["architecture"].as_str().unwrap()).collect();
    assert_eq!(names, ["AutoEncoderTopK", "gated"]);
    assert_eq!(several[0]["positions"].as_array().unwrap().len(), 1);
    assert_eq!(several[0]["positions"][0]["pos"], 2);
}

#[test]
fn the_text_lists_features_with_their_tokens_and_labels() {
    let (model, dir) = (micro(), tempfile::tempdir().unwrap());
    let id =
        features("7,3,9", &["--sae", &path("dl-topk"), "--pos", "-1"])["positions"][0]["features"][0]["id"].clone();
    let labels = dir.path().join("labels.jsonl");
    fs::write(&labels, format!("{{\"index\": \"{id}\", \"description\": \"names of people\"}}\n")).unwrap();
    let labels = labels.display().to_string();
    let args = ["features", "--model", &model, "--tokens", "7,3,9", "--sae", &path("dl-topk"), "--labels", &labels];
    let text = stdout(&args);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "blocks.0.hook_resid_post: 40 features, AutoEncoderTopK");
    assert!(lines[2].starts_with("at 2 ") && lines[2].contains("5 active, mse "), "{text}");
    assert!(lines[4].trim().starts_with(&id.to_string()) && lines[4].ends_with("  names of people"), "{text}");
    assert_eq!(lines.len(), 9, "{text}");
    let labelled = json(&[&args[..], &["--json"]].concat());
    assert_eq!(labelled["positions"][2]["features"][0]["label"], "names of people");
    assert!(labelled["positions"][2]["features"][1].get("label").is_none());
}

/// A copy of a dictionary, changed.
fn changed(from: &str, config: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fixture("dictionaries").join(from).read_dir().unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let path = dir.path().join(config);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
    dir
}

fn refuse(sae: &str, code: i32, expected: &str) {
    refused(&["features", "--model", &micro(), "--tokens", "1,2", "--sae", sae], code, expected);
}

#[test]
fn unknown_fields_and_architectures_are_refused_by_name() {
    let set = |from: &str, config: &str, key: &'static str, value: Value, expected: &str| {
        let dir = changed(from, config, |json| json[key] = value);
        refuse(&dir.path().display().to_string(), 1, expected);
    };
    set("sparsify/layers.0", "cfg.json", "new_thing", 1.into(), "unknown field \"new_thing\"");
    set("sparsify/layers.0", "cfg.json", "activation", "groupmax".into(), "activation is \"groupmax\"; expected");
    set("sparsify/layers.0", "cfg.json", "transcode", true.into(), "transcode is true, which is not supported");
    set("sparsify/layers.0", "cfg.json", "k", 41.into(), "k is 41; expected 1 to 40");
    set(
        "sae-lens-gated",
        "cfg.json",
        "architecture",
        "temporal".into(),
        "the architecture \"temporal\" is not supported",
    );
    set("sae-lens-gated", "cfg.json", "normalize_activations", "whiten".into(), "normalize_activations is \"whiten\"");
    set("sae-lens-topk", "cfg.json", "k", Value::Null, "it has no k, which topk needs");
    set("mlsae", "config.json", "k", "many".into(), "k is \"many\"; expected a whole number");
    set("dl-topk", "config.json", "extra", 1.into(), "unknown field \"extra\"");
    let dir = changed("dl-topk", "config.json", |json| json["trainer"]["dict_class"] = "IdentityDict".into());
    refuse(
        &dir.path().display().to_string(),
        1,
        "the dict_class \"IdentityDict\" is not supported; expected AutoEncoder,",
    );
}

#[test]
fn what_does_not_fit_or_is_broken_is_refused() {
    refuse("blocks.9.hook_mlp_out=/nonexistent", 1, "/nonexistent: there is no dictionary; expected a directory with");
    refuse(&format!("blocks.9.hook_mlp_out={}", path("mlsae")), 2, "blocks.9");
    refuse(&path("mlsae"), 2, "names no hook of this model; give it: --sae HOOK=NAME");
    refuse(&format!("blocks.0.attn.hook_pattern={}", path("mlsae")), 2, "has no vector at each position");
    refuse(
        &format!("blocks.0.mlp.hook_post={}", path("mlsae")),
        2,
        "reads vectors of 32 numbers; blocks.0.mlp.hook_post has",
    );
    refuse(&format!("blocks.0.hook_mlp_ot={}", path("mlsae")), 2, "did you mean `blocks.0.hook_mlp_out`");
    refused(&["features", "--model", &micro(), "--tokens", "1,2"], 2, "--sae [HOOK=]NAME");
    let cut = |from: &str, config: &str, file: &str| {
        let dir = changed(from, config, |_| ());
        let path = dir.path().join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        dir
    };
    let dir = cut("dl-topk", "config.json", "ae.pt");
    refuse(&dir.path().display().to_string(), 1, "ae.pt: not a readable file of weights: ");
    let dir = cut("sae-lens-gated", "cfg.json", "sae_weights.safetensors");
    refuse(&dir.path().display().to_string(), 1, "sae_weights.safetensors: not a readable file of weights: ");
    let swapped = changed("sae-lens-gated", "cfg.json", |json| json["architecture"] = "jumprelu".into());
    refuse(&swapped.path().display().to_string(), 1, "it has no tensor b_enc of shape [40]");
    let other = changed("sae-lens-standard", "cfg.json", |json| json["d_sae"] = 41.into());
    refuse(&other.path().display().to_string(), 1, "expected [41]");
}

#[test]
fn a_published_dictionary_is_fetched_once_and_then_read_from_the_cache() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let read = |file: &str| fs::read(Path::new(&path("sparsify/layers.0")).join(file)).unwrap();
    let files = ["cfg.json", "sae.safetensors"];
    let folders =
        ["layers.0", "layers.1"].iter().flat_map(|folder| files.map(|file| (format!("{folder}/{file}"), read(file))));
    hub.publish_files("EleutherAI/sae-pythia-70m-deduped-32k", "main", folders.collect::<BTreeMap<_, _>>());
    let model = micro();
    let call = |sae: &str, offline: &str| {
        let mut command = program(&["features", "--model", &model, "--tokens", "7,3,9", "--json", "--sae", sae]);
        command.env("HF_ENDPOINT", hub.url()).env("HF_HUB_OFFLINE", offline).env("HF_HUB_CACHE", cache.path());
        command.output().unwrap()
    };
    let name = "EleutherAI/sae-pythia-70m-deduped-32k/layers.0";
    let fetched = call(name, "0");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let local = features("7,3,9", &["--sae", &path("sparsify/layers.0")]);
    assert_eq!(serde_json::from_slice::<Value>(&fetched.stdout).unwrap(), local);
    hub.requests();
    // the short name, with the hook in place of the folder
    assert_eq!(call("blocks.0.hook_resid_post=sae-pythia-70m-deduped-32k", "1").stdout, fetched.stdout);
    assert!(hub.requests().is_empty(), "what is cached is not asked for");
    let other = call("EleutherAI/sae-pythia-70m-deduped-32k/layers.7", "0");
    let stderr = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr.contains("has no layers.7/cfg.json"), "{stderr}");
}
