//! Dictionaries that experiments name.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{
    fixture,
    program::{micro, refused, stdout},
};
use pythia_tui::{
    experiment::{File, Given, ModelChoice, has_dictionaries_of, prepare},
    explorer::SavedView,
    model::{Dtype, Place, Processing},
};
use serde_json::Value;

const HOOK: &str = "blocks.0.hook_resid_post";

fn sae(name: &str) -> String {
    fixture("dictionaries").join(name).display().to_string()
}

/// An experiment of the micro model with these tables, and what it names beside it: a dictionary and labels.
fn experiment(tables: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("own")).unwrap();
    for entry in fixture("dictionaries/sae-lens-standard").read_dir().unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, dir.path().join("own").join(from.file_name().unwrap())).unwrap();
    }
    let labels: String = (0..40).map(|id| format!("{{\"index\": {id}, \"description\": \"label {id}\"}}\n")).collect();
    fs::write(dir.path().join("labels.jsonl"), labels).unwrap();
    let text = format!("version = 1\nmodel = '{}'\ntokens = [3, 1, 4, 1, 5]\n{tables}", micro());
    let path = dir.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (dir, path)
}

const OWN: &str = "[[dictionary]]\nsource = './own'\nlabels = 'labels.jsonl'\n";

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[test]
fn a_file_names_dictionaries_and_labels_by_paths_relative_to_it() {
    let (dir, path) = experiment(OWN);
    let labels = dir.path().join("labels.jsonl").display().to_string();
    let (model, sae) = (micro(), sae("sae-lens-standard"));
    let by_hand =
        ["features", "--json", "--model", &model, "--tokens", "3,1,4,1,5", "--sae", &sae, "--labels", &labels];
    let found = json(&["features", "--json", "--experiment", &path]);
    assert_eq!(found, json(&by_hand));
    assert!(found["positions"][0]["features"][0]["label"].as_str().unwrap().starts_with("label "));
}

#[test]
fn every_command_with_an_experiment_has_its_dictionaries() {
    let edit = format!("{HOOK}.hook_sae_acts_post[d_sae=0:9] = 0");
    let (_dir, path) = experiment(&format!("{OWN}[[edit]]\nline = '{edit}'\n"));
    let (model, sae) = (micro(), sae("sae-lens-standard"));
    let by_hand = ["--model", &model, "--tokens", "3,1,4,1,5", "--sae", &sae, "--edit", &edit];
    for command in [
        &["run", "--json"][..],
        &["sweep", "--json", "--metric", "prob", "--target", "#5"],
        &["grep", "norm(blocks.1.hook_resid_post) > 0", "--json"],
        &["lens", "--json"],
        &["explain", "--cell", "blocks.1.attn.hook_attn_scores[head=0 query=2 key=1]", "--json"],
    ] {
        let without_times = |mut value: Value| {
            value.as_object_mut().map(|object| object.remove("time_ms"));
            value
        };
        let found = json(&[command, &["--experiment", &path]].concat());
        let expected = json(&[command, &by_hand].concat());
        assert_eq!(without_times(found), without_times(expected), "{command:?}");
    }
}

#[test]
fn arguments_replace_the_dictionary_at_a_hook_and_add_others() {
    let (_dir, path) = experiment(OWN);
    let found = |rest: &[&str]| {
        let found = json(&[&["features", "--json", "--experiment", &path], rest].concat());
        let name = |one: &Value| format!("{} {}", one["hook"].as_str().unwrap(), one["architecture"].as_str().unwrap());
        found.as_array().map_or_else(|| vec![name(&found)], |all| all.iter().map(name).collect::<Vec<_>>())
    };
    assert_eq!(found(&[]), [format!("{HOOK} standard")]);
    assert_eq!(found(&["--sae", &sae("sae-lens-topk")]), [format!("{HOOK} topk")]);
    let elsewhere = format!("blocks.1.hook_resid_pre={}", sae("mlsae"));
    assert_eq!(found(&["--sae", &elsewhere]), ["blocks.1.hook_resid_pre mlsae".into(), format!("{HOOK} standard")]);
}

#[test]
fn what_is_wrong_with_a_dictionary_has_a_line_and_a_column() {
    for (tables, expected) in [
        ("[[dictionary]]\nsource = ''\n", "line 5, column 10: expected [HOOK=]NAME"),
        ("[[dictionary]]\nsource = './none'\n", "line 5, column 10: "),
        ("[[dictionary]]\nsource = 'blocks.0.hook_mlp_ot=./own'\n", "did you mean `blocks.0.hook_mlp_out`"),
        ("[[dictionary]]\nsource = './own'\nlabels = 'no.jsonl'\n", "line 6, column 10: can't read"),
        ("[[dictionary]]\nsorce = './own'\n", "line 5, column 1: unknown field `sorce`"),
        ("[[dictionary]]\nlabels = 'labels.jsonl'\n", "missing field `source`"),
    ] {
        let (_dir, path) = experiment(tables);
        refused(&["features", "--experiment", &path], 2, expected);
    }
}

fn choice() -> ModelChoice {
    ModelChoice {
        name: None,
        revision: None,
        processing: Processing::Folded,
        device: "cpu".parse::<Place>().unwrap(),
        dtype: "f32".parse::<Dtype>().unwrap(),
        offline: true,
    }
}

#[test]
fn what_a_session_records_is_what_its_file_named() {
    let (dir, path) = experiment(OWN);
    let file: File<SavedView> = File::read(Path::new(&path)).unwrap();
    let prepared = |given: &Given, file: Option<&File<SavedView>>| {
        prepare(&choice(), given, file, None, &mut |_| true, &|| true).unwrap().setup.dictionaries
    };
    let recorded = prepared(&Given::default(), Some(&file));
    let text = |at: usize| recorded[at].source.get_ref().clone();
    assert_eq!(text(0), format!("{HOOK}={}", dir.path().join("own").display()));
    let labels = recorded[0].labels.as_ref().unwrap().get_ref().clone();
    assert_eq!(labels, dir.path().join("labels.jsonl").display().to_string());
    // another directory's file with what was recorded finds the same
    let (_other, again) = experiment(&format!("[[dictionary]]\nsource = '{}'\nlabels = '{labels}'\n", text(0)));
    let again: File<SavedView> = File::read(Path::new(&again)).unwrap();
    let texts = |lines: Vec<pythia_tui::experiment::DictionaryLine>| {
        lines
            .into_iter()
            .map(|line| (line.source.into_inner(), line.labels.map(|l| l.into_inner())))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(prepared(&Given::default(), Some(&again))), texts(recorded.clone()));
    for (tables, same) in [
        (OWN, false),
        ("", true),
        (&format!("[[dictionary]]\nsource = '{}'\nlabels = '{labels}'\n", text(0)), true),
        (&format!("[[dictionary]]\nsource = '{}'\n", text(0)), false),
        (&format!("[[dictionary]]\nsource = '{}'\nlabels = '{labels}'\n", sae("sae-lens-topk")), false),
    ] {
        let (_dir, path) = experiment(tables);
        let file: File<SavedView> = File::read(Path::new(&path)).unwrap();
        assert_eq!(has_dictionaries_of(&file, &recorded).unwrap(), same, "{tables}");
    }
    assert!(has_dictionaries_of(&file, &recorded).unwrap(), "by a relative path, without its hook");
}

#[test]
fn the_demos_own_dictionary_is_recorded_only_where_it_was_named() {
    let demo = ModelChoice { name: Some("demo".into()), ..choice() };
    let recorded = |given: Given| {
        let given = Given { prompt: Some("Mary".into()), ..given };
        let prepared = prepare::<SavedView>(&demo, &given, None, None, &mut |_| true, &|| true).unwrap();
        assert_eq!(prepared.dictionaries.len(), 1);
        prepared.setup.dictionaries
    };
    assert_eq!(recorded(Given::default()), []);
    let named = recorded(Given { dictionaries: vec!["demo".parse().unwrap()], ..Given::default() });
    assert_eq!(named[0].source.get_ref(), "blocks.1.hook_resid_post=demo");
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("l.jsonl");
    fs::write(&labels, "{\"index\": 0, \"description\": \"x\"}").unwrap();
    let labelled = recorded(Given { labels: vec![labels.clone()], ..Given::default() });
    assert_eq!(labelled[0].labels.as_ref().unwrap().get_ref(), &labels.display().to_string());
}
