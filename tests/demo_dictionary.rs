//! The facts that the demo's README states of its dictionary.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{engine, fixture, program::stdout, run, spec};
use pythia_tui::{
    engine::{Engine, FeaturesAt},
    model::{Dictionary, Processing},
};
use serde_json::Value;

/// Rows of tokens that training did not see, text or random tokens repeated, and the words of the corpus by kind.
struct Facts {
    rows: Vec<Vec<u32>>,
    text: Vec<bool>,
    names: Vec<String>,
    places: Vec<String>,
}

fn facts() -> Facts {
    let facts: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("demo-dictionary.json")).unwrap()).unwrap();
    let of = |key: &str| facts[key].as_array().unwrap().clone();
    let words = |key: &str| of(key).iter().map(|word| word.as_str().unwrap().to_string()).collect();
    let row = |row: &Value| row.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    Facts {
        rows: of("rows").iter().map(row).collect(),
        text: of("text").iter().map(|text| text.as_bool().unwrap()).collect(),
        names: words("names"),
        places: words("places"),
    }
}

/// The features of every row, but for the first position.
fn features(engine: &mut Engine, facts: &Facts) -> Vec<Vec<FeaturesAt>> {
    let dictionary = Arc::new(Dictionary::demo(&common::placement()).unwrap());
    let hook = dictionary.hook.unwrap();
    let of = |row: &Vec<u32>| {
        let outcome = run(engine, &spec(row, &[])).unwrap();
        engine.features(&outcome.run, hook, &dictionary).unwrap().split_off(1)
    };
    facts.rows.iter().map(of).collect()
}

#[test]
fn it_reconstructs_the_stream_from_few_features() {
    let facts = facts();
    let mut engine = engine("demo", Processing::Folded, &[]);
    let all = features(&mut engine, &facts).concat();
    let mean = |of: &dyn Fn(&FeaturesAt) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
    let l0 = mean(&|at| at.l0 as f64);
    let varied = |at: &FeaturesAt| at.mse / (1.0 - at.variance_explained);
    let explained = 1.0 - mean(&|at| at.mse) / mean(&varied);
    println!("L0 {l0:.2}, variance explained {explained:.3}");
    assert!((15.9..=16.0).contains(&l0), "L0 {l0}");
    assert!(explained > 0.88, "variance explained {explained:.3}");
}

#[test]
fn named_features_fire_on_names_on_places_and_on_repeated_tokens() {
    let facts = facts();
    let mut engine = engine("demo", Processing::Folded, &[]);
    let all = features(&mut engine, &facts);
    // by feature: the activation in all, that at places of the kind, and how many of those places it fires on
    let mut found: BTreeMap<u32, (f64, f64, usize)> = BTreeMap::new();
    let mut places: BTreeMap<u32, usize> = BTreeMap::new();
    let kinds = [856, 181, 534];
    for (number, row) in all.iter().enumerate() {
        for at in row {
            let (tokens, text) = (&facts.rows[number], facts.text[number]);
            let word = engine.loaded.tokenizer.token(tokens[at.pos]);
            let is = |words: &[String]| text && words.iter().any(|known| word.trim_start() == known);
            let repeated = !text && tokens[..at.pos].contains(&tokens[at.pos]);
            for (feature, fits) in kinds.into_iter().zip([is(&facts.names), is(&facts.places), repeated]) {
                *places.entry(feature).or_default() += usize::from(fits);
                let Some((_, x)) = at.features.iter().find(|(id, _)| *id == feature) else { continue };
                let entry = found.entry(feature).or_default();
                entry.0 += f64::from(*x);
                entry.1 += if fits { f64::from(*x) } else { 0.0 };
                entry.2 += usize::from(fits);
            }
        }
    }
    let share =
        |feature: u32| (found[&feature].1 / found[&feature].0, found[&feature].2 as f64 / places[&feature] as f64);
    for (feature, (least_share, least_places)) in kinds.into_iter().zip([(0.9, 0.6), (0.9, 0.95), (0.88, 0.08)]) {
        let (of_activation, of_places) = share(feature);
        println!("feature {feature}: {of_activation:.3} of its activation, {of_places:.3} of the places");
        assert!(
            of_activation > least_share && of_places > least_places,
            "{feature}: {of_activation:.3}, {of_places:.3}"
        );
    }
}

#[test]
fn the_demo_brings_its_dictionary_with_labels() {
    let text = stdout(&["features", "--model", "demo", "When Mary and John went to the store, John", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["hook"].as_str(), json["d_sae"].as_u64()), (Some("blocks.1.hook_resid_post"), Some(1024)));
    let last = json["positions"].as_array().unwrap().last().unwrap();
    let labels: Vec<&str> =
        last["features"].as_array().unwrap().iter().filter_map(|one| one["label"].as_str()).collect();
    assert!(labels.contains(&"names of people"), "{labels:?}");
    let size = |path: &str| {
        std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/dictionary/layers.1/").to_string() + path)
            .unwrap()
            .len()
    };
    assert!(size("sae.safetensors") + size("labels.jsonl") + size("cfg.json") <= 1 << 20);
}
