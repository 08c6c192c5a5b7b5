//! The tuned and the Jacobian lens, against tuned-lens 0.2.0 and TransformerLens 4.3.0.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use common::{
    engine, fixture,
    golden::{Golden, TOLERANCE, ids},
    hub::FakeHub,
    program::{call, micro, program, refused, stdout},
    run, spec,
};
use pythia_tui::{
    engine::LensQuestion,
    hooks::BlockHook,
    model::{Lens, LensKind, Processing},
};
use serde_json::Value;

const NAMES: [&str; 2] = ["parallel-25", "sequential-100"];
const KINDS: [LensKind; 2] = [LensKind::Tuned, LensKind::Jacobian];

fn place() -> (String, String) {
    let path = |name: &str| fixture("lens").join(name).display().to_string();
    (format!("tuned={}", path("tuned")), format!("jacobian={}", path("jacobian.pt")))
}

/// The logits of each layer of a lens, `[pos][vocab]`, by the layer's number.
fn logits(name: &str, processing: Processing, kind: LensKind, tokens: &[u32]) -> BTreeMap<usize, Vec<Vec<f32>>> {
    let mut engine = engine(name, processing, &[]);
    let config = &engine.loaded.model.config;
    let lens = match kind {
        LensKind::Logit => Lens::logit(config.n_layers),
        LensKind::Tuned => Lens::tuned(&fixture("lens/tuned"), config, name, &common::placement()).unwrap(),
        LensKind::Jacobian => Lens::jacobian(&fixture("lens/jacobian.pt"), config, &common::placement()).unwrap(),
    };
    let outcome = run(&mut engine, &spec(tokens, &[])).unwrap();
    let question = LensQuestion { positions: 0..tokens.len(), top: 96, target: Some(7) };
    let columns = engine.lens(&lens, &outcome, &question, &AtomicBool::new(false)).unwrap();
    let mut layers: BTreeMap<usize, Vec<Vec<f32>>> = BTreeMap::new();
    for column in &columns {
        assert_eq!(column.cells.len(), lens.rows.len());
        for (cell, row) in column.cells.iter().zip(&lens.rows) {
            let mut all = vec![f32::NAN; 96];
            cell.top.iter().for_each(|p| all[p.id as usize] = p.logit + cell.shift);
            let target = cell.target.unwrap();
            assert_eq!(target.logit + cell.shift, all[7]);
            assert_eq!(cell.top[target.rank].id, 7, "the rank counts what is likelier");
            layers.entry(row.layer).or_default().push(all);
        }
    }
    layers
}

fn error(expected: &[f32], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let scale = expected.iter().fold(1e-30f32, |m, x| m.max(x.abs()));
    expected.iter().zip(found).fold(0.0, |m, (a, b)| f64::max(m, f64::from((a - b).abs() / scale)))
}

#[test]
fn lenses_equal_their_references_with_and_without_processing() {
    let golden = Golden::open("lenses");
    let tokens = ids(&golden.json("prompt"));
    let mut worst = 0.0f64;
    for (name, processing) in NAMES.iter().flat_map(|name| [(name, Processing::Folded), (name, Processing::None)]) {
        for kind in KINDS {
            let found = logits(name, processing, kind, &tokens);
            for layer in [0, 1] {
                let expected = &golden.tensors[&format!("{name}/{}/{layer}", kind.name())];
                let off = error(expected, &found[&layer].concat());
                assert!(off <= TOLERANCE, "{name} {processing}, {} lens, layer {layer}: {off:.1e}", kind.name());
                worst = worst.max(off);
            }
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn the_last_layer_is_the_models_own_output() {
    let tokens = [3, 1, 4, 1, 5];
    let mut engine = engine("parallel-25", Processing::None, &[]);
    let expected = run(&mut engine, &spec(&tokens, &[])).unwrap().run.logit_rows().unwrap().concat();
    for kind in LensKind::ALL {
        for processing in [Processing::Folded, Processing::None] {
            let found = logits("parallel-25", processing, kind, &tokens);
            let last = found.values().last().unwrap().concat();
            let off = error(&expected, &last);
            assert!(off <= TOLERANCE, "{} lens, {processing}: {off:.1e}", kind.name());
        }
    }
}

#[test]
fn lenses_read_where_they_were_trained() {
    let engine = engine("parallel-25", Processing::Folded, &[]);
    let config = &engine.loaded.model.config;
    let hooks = |lens: &Lens| lens.rows.iter().map(|row| (row.layer, row.point.to_string())).collect::<Vec<_>>();
    let pre = |block: usize| (block, format!("blocks.{block}.{}", BlockHook::ResidPre.name()));
    let last = |layer: usize| (layer, "blocks.1.hook_resid_post".to_string());
    let tuned = Lens::tuned(&fixture("lens/tuned"), config, "other", &common::placement()).unwrap();
    assert_eq!(hooks(&tuned), [pre(0), pre(1), last(2)]);
    assert!(tuned.notes[0].contains("trained on parallel-25, and this is other"));
    let jacobian = Lens::jacobian(&fixture("lens/jacobian.pt"), config, &common::placement()).unwrap();
    assert_eq!(hooks(&jacobian), [(0, "blocks.0.hook_resid_post".into()), last(1)]);
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[test]
fn json_has_a_lens_its_positions_and_their_layers() {
    let (model, (tuned, jacobian)) = (micro(), place());
    let call = |rest: &[&str]| json(&[&["lens", "--model", &model, "--tokens", "7,3,9", "--json"], rest].concat());
    let one = call(&["--lens", &tuned, "--top", "2"]);
    assert_eq!(one["lens"], "tuned");
    let positions = one["positions"].as_array().unwrap();
    assert_eq!(positions.iter().map(|p| p["pos"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let layers = positions[1]["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|l| l["layer"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let top = layers[0]["top"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert!(top[0]["logit"].as_f64() > top[1]["logit"].as_f64() && top[0]["prob"].is_number());
    assert!(top[0]["id"].is_u64() && top[0]["text"].is_string() && layers[0]["kl"].as_f64().unwrap() > 0.0);
    assert!(layers[2]["kl"].as_f64().unwrap() < 1e-6, "the last layer is the output");
    assert!(layers[0].get("baseline").is_none() && layers[0].get("target").is_none());

    let several = call(&["--lens", "logit", "--lens", &jacobian, "--pos", "-1", "--target", "#5"]);
    let names: Vec<&str> = several.as_array().unwrap().iter().map(|lens| lens["lens"].as_str().unwrap()).collect();
    assert_eq!(names, ["logit", "jacobian"]);
    assert_eq!(several[0]["target"]["id"], 5);
    assert_eq!(several[0]["positions"][0]["pos"], 2);
    assert!(several[1]["positions"][0]["layers"][0]["target"]["rank"].is_u64());

    let edited = call(&["--lens", &tuned, "--edit", "blocks.0.hook_mlp_out = 0"]);
    let layers = edited["positions"][2]["layers"].as_array().unwrap();
    assert_eq!(layers[0]["kl_from_baseline"], 0.0, "the edit comes later");
    assert!(layers[1]["kl_from_baseline"].as_f64().unwrap() > 0.0);
    // the baseline lists five tokens, of which the other call asked for two
    let five = layers[1]["baseline"]["top"].as_array().unwrap();
    assert_eq!(five[..2], one["positions"][2]["layers"][1]["top"].as_array().unwrap()[..]);
}

#[test]
fn processing_changes_no_lens() {
    let (model, (tuned, jacobian)) = (micro(), place());
    for lens in ["logit", &tuned, &jacobian] {
        let args = ["lens", "--model", &model, "--tokens", "7,3,9,22", "--json", "--lens", lens, "--target", "#9"];
        let (with, without) = (json(&args), json(&[&args[..], &["--no-processing"]].concat()));
        alike(&with, &without, lens);
    }
}

fn alike(a: &Value, b: &Value, what: &str) {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() < 2e-4, "{what}: {a} and {b}");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| alike(a, b, what));
        }
        (Value::Object(a), Value::Object(b)) => {
            a.iter().for_each(|(key, a)| alike(a, &b[key], &format!("{what} {key}")))
        }
        (a, b) => assert_eq!(a, b, "{what}"),
    }
}

#[test]
fn the_text_is_a_table_of_layers() {
    let (model, (_, jacobian)) = (micro(), place());
    let text = stdout(&["lens", "--model", &model, "--tokens", "7,3,9", "--lens", &jacobian, "--target", "#5"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("jacobian lens after 2"), "{text}");
    assert!(lines[1].contains("layer") && lines[1].contains("rank"));
    assert_eq!(lines.len(), 4, "{text}");
}

#[test]
fn what_is_no_lens_of_this_model_is_refused() {
    let (model, dir) = (micro(), tempfile::tempdir().unwrap());
    let refuse = |lens: &str, code, expected: &str| {
        refused(&["lens", "--model", &model, "--tokens", "1,2", "--lens", lens], code, expected);
    };
    let at = |name: &str| dir.path().join(name);
    refuse("tunde", 2, "did you mean `tuned`");
    refuse("tuned", 2, "--lens tuned=PATH");
    refuse("tuned=/nonexistent", 1, "/nonexistent/config.json: No such file");
    let copy = |change: &dyn Fn(&Path)| {
        for file in ["config.json", "params.pt"] {
            fs::copy(fixture("lens/tuned").join(file), at(file)).unwrap();
        }
        change(dir.path());
        format!("tuned={}", dir.path().display())
    };
    let config = |text: &'static str| copy(&move |dir| fs::write(dir.join("config.json"), text).unwrap());
    refuse(&config("{\"d_model\": 64, \"num_hidden_layers\": 2}"), 1, "the lens has d_model 64 and 2 layers");
    let other = "{\"d_model\": 32, \"num_hidden_layers\": 2, \"lens_type\": \"mlp\"}";
    refuse(&config(other), 1, "lens_type is \"mlp\"; expected");
    refuse(&config("{\"num_hidden_layers\": 2}"), 1, "missing field `d_model`");
    refuse(&copy(&|dir| fs::write(dir.join("params.pt"), b"PK\x03\x04short").unwrap()), 1, "truncated");
    let swapped = copy(&|dir| fs::copy(fixture("lens/jacobian.pt"), dir.join("params.pt")).map(drop).unwrap());
    refuse(&swapped, 1, "it has no tensor 0.weight of shape [32, 32]");
    let tuned = format!("jacobian={}", fixture("lens/tuned/params.pt").display());
    refuse(&tuned, 1, "expected `J`, a matrix for each layer");
    refused(
        &["lens", "--model", "demo", "Two", "--lens", &format!("jacobian={}", fixture("lens/jacobian.pt").display())],
        1,
        "J.0 has shape [32, 32]; for this model it is",
    );
    refused(&["lens", "--model", &model, "--tokens", "1,2", "--pos", "2"], 2, "the prompt has 2 tokens");
}

#[test]
fn published_lenses_are_fetched_once_and_then_read_from_the_cache() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let repository = "EleutherAI/pythia-14m";
    hub.publish(repository, "main", &fixture("parallel-25"));
    let read = |name: &str| fs::read(fixture("lens").join(name)).unwrap();
    let space = BTreeMap::from([
        (format!("lens/{repository}/config.json"), read("tuned/config.json")),
        (format!("lens/{repository}/params.pt"), read("tuned/params.pt")),
        ("app.py".into(), b"print()".to_vec()),
    ]);
    hub.publish_files("spaces/AlignmentResearch/tuned-lens", "main", space);
    let name = "pythia-14m/jlens/Salesforce-wikitext/pythia-14m_jacobian_lens.pt";
    hub.publish_files("neuronpedia/jacobian-lens", "main", BTreeMap::from([(name.into(), read("jacobian.pt"))]));
    let lens = |lens: &str, offline: &str, model: &str| {
        let mut command = program(&["lens", "--model", model, "--tokens", "7,3,9", "--json", "--lens", lens]);
        command.env("HF_ENDPOINT", hub.url()).env("HF_HUB_OFFLINE", offline).env("HF_HUB_CACHE", cache.path());
        command.output().unwrap()
    };
    let (model, (tuned, jacobian)) = (micro(), place());
    for (published, local) in [("tuned", &tuned), ("jacobian", &jacobian)] {
        let fetched = lens(published, "0", "pythia-14m");
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let expected = call(&["lens", "--model", &model, "--tokens", "7,3,9", "--json", "--lens", local]).stdout;
        assert_eq!(String::from_utf8(fetched.stdout).unwrap(), String::from_utf8(expected).unwrap());
        hub.requests();
        assert!(lens(published, "1", "pythia-14m").status.success());
        assert!(hub.requests().is_empty(), "what is cached is not asked for");
    }
    let snapshots = cache.path().join("spaces--AlignmentResearch--tuned-lens/snapshots");
    let snapshot = snapshots.read_dir().unwrap().next().unwrap().unwrap().path();
    let params = snapshot.join(format!("lens/{repository}/params.pt"));
    assert!(fs::read_link(&params).unwrap().starts_with("../../../../../blobs"), "as the Python library links");
    assert!(!snapshot.join("app.py").exists(), "nothing else is fetched");
    // a model without a published lens
    hub.publish("EleutherAI/pythia-31m", "main", &fixture("parallel-25"));
    let missing = lens("tuned", "0", "pythia-31m");
    let stderr = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr.contains("AlignmentResearch/tuned-lens has no lens/EleutherAI/pythia-31m/config.json and"),
        "{stderr}"
    );
}
