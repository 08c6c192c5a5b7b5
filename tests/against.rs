//! Two models with the same prompt and edits, on the command line and in the explorer.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs};

use common::{
    explorer::Explorer,
    fixture,
    program::{call, copy_of_micro, micro, refused, stdout},
    two_models::{EDIT, IDS, other, start, table},
};
use crossterm::event::{KeyCode, KeyEvent};
use pythia_tui::{
    engine::Compare,
    explorer::Event,
    views::{Phase, Tab, Table, keymap},
};
use safetensors::SafeTensors;
use serde_json::Value;

fn bits(table: &Table) -> Vec<Vec<u32>> {
    table.arrays.iter().map(|(_, _, values)| values.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The difference of two tables' numbers, as a comparison shows it.
fn less(this: &Table, that: &Table) -> Vec<Vec<u32>> {
    let row = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| Compare::Difference.of(*a, *b).to_bits()).collect();
    this.arrays.iter().zip(&that.arrays).map(|(a, b)| row(&a.2, &b.2)).collect()
}

#[test]
fn views_show_this_that_or_the_difference_to_the_bit() {
    for edits in [&[][..], &[EDIT]] {
        let mut both = start(&micro(), Some(&other()), edits, (160, 45));
        let mut this = start(&micro(), None, edits, (160, 45));
        let mut that = start(&other(), None, edits, (160, 45));
        let points: Vec<String> = this.state.scene.schema.points().iter().map(ToString::to_string).collect();
        assert_eq!(points.len(), 39);
        for tab in [Tab::Values, Tab::Attention] {
            for point in &points {
                let own = table(&mut this, tab, point, Compare::Edited);
                let other = table(&mut that, tab, point, Compare::Edited);
                for (compare, expected) in [
                    (Compare::Edited, bits(&own)),
                    (Compare::Baseline, bits(&other)),
                    (Compare::Difference, less(&own, &other)),
                ] {
                    assert_eq!(bits(&table(&mut both, tab, point, compare)), expected, "{tab:?} {point} {compare}");
                }
            }
        }
        for tab in [Tab::Heads, Tab::Attribution, Tab::Why, Tab::Sweep] {
            let point = "blocks.1.attn.hook_attn_scores";
            let own = table(&mut this, tab, point, Compare::Edited);
            let other = table(&mut that, tab, point, Compare::Edited);
            // the tokens that these are about are this model's unless both agree, so only this side is held to a run alone
            assert_eq!(bits(&table(&mut both, tab, point, Compare::Edited)).len(), bits(&own).len(), "{tab:?}");
            if tab == Tab::Heads {
                assert_eq!(bits(&table(&mut both, tab, point, Compare::Edited)), bits(&own), "{tab:?}");
                assert_eq!(bits(&table(&mut both, tab, point, Compare::Baseline)), bits(&other), "{tab:?}");
            }
            let shown = |both: &mut Explorer, compare| bits(&table(both, tab, point, compare));
            let (a, b) = (shown(&mut both, Compare::Edited), shown(&mut both, Compare::Baseline));
            assert_ne!(a, b, "{tab:?}");
            assert_ne!(shown(&mut both, Compare::Difference), a, "{tab:?}");
        }
    }
}

#[test]
fn a_model_against_itself_differs_nowhere() {
    for edits in [&[][..], &[EDIT]] {
        let mut both = start(&micro(), Some(&micro()), edits, (160, 45));
        let summary = both.state.scene.runs.shown.as_ref().unwrap().summary.clone();
        assert_eq!((summary.changes.len(), summary.kl.as_slice()), (39, &[0.0][..]));
        assert!(summary.changes.iter().all(|change| change.relative == 0.0));
        assert!(summary.top[0].iter().all(|p| p.prob == p.baseline_prob));
        let points: Vec<String> = both.state.scene.schema.points().iter().map(ToString::to_string).collect();
        for tab in [Tab::Values, Tab::Attention, Tab::Heads] {
            for point in &points {
                let table = table(&mut both, tab, point, Compare::Difference);
                assert!(table.arrays.iter().all(|(_, _, values)| values.iter().all(|x| *x == 0.0)), "{tab:?} {point}");
            }
        }
    }
}

#[test]
fn no_view_and_no_key_upsets_it() {
    let keys: Vec<KeyEvent> = keymap().bindings().flat_map(|bound| bound.keys.iter().map(|key| key.event())).collect();
    for size in [(80, 24), (160, 45)] {
        for edits in [&[][..], &[EDIT]] {
            let mut explorer = start(&micro(), Some(&other()), edits, size);
            for tab in Tab::ALL {
                for key in &keys {
                    explorer.state.tab = *tab;
                    explorer.event(Event::Key(*key));
                    explorer.screen();
                    explorer.press(KeyCode::Esc);
                }
            }
            assert!(!matches!(explorer.state.scene.runs.phase, Phase::Failed(_)));
        }
    }
}

#[test]
fn one_key_cycles_and_the_title_says_which() {
    let mut explorer = start(&micro(), Some(&other()), &[], (160, 45));
    explorer.state.tab = Tab::Values;
    explorer.event(Event::Start);
    let screen = explorer.screen();
    assert!(screen.contains("parallel-25 against parallel-100"), "{screen}");
    assert!(screen.contains("this") && screen.contains("difference") && screen.contains("that"), "{screen}");
    for compare in [Compare::Difference, Compare::Baseline, Compare::Edited] {
        explorer.press(KeyCode::Char('d'));
        assert_eq!(explorer.state.scene.compare(), compare);
    }
    explorer.state.tab = Tab::Shape;
    explorer.event(Event::Start);
    let screen = explorer.screen();
    assert!(screen.contains("this") && screen.contains("that at"), "{screen}");
}

/// The tensors of a cache that `run` saves, with its options.
fn saved(model: &str, rest: &[&str]) -> BTreeMap<String, Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache.safetensors").display().to_string();
    stdout(&[&["run", "--model", model, "--tokens", IDS, "--save-cache", &file], rest].concat());
    let bytes = fs::read(file).unwrap();
    let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, floats(view.data())))
        .collect()
}

#[test]
fn the_distances_are_those_of_two_separate_runs() {
    for rest in [&[][..], &["--edit", EDIT], &["--no-processing"]] {
        let (own, that) = (micro(), other());
        let args = [&["run", "--model", &own, "--against", &that, "--tokens", IDS, "--json"], rest].concat();
        let report: Value = serde_json::from_str(&stdout(&args)).unwrap();
        let against = &report["against"];
        assert_eq!(against["model"], "parallel-100");
        let (this, that) = (saved(&micro(), rest), saved(&other(), rest));
        let hooks = against["hooks"].as_array().unwrap();
        assert_eq!(hooks.len(), 39);
        for hook in hooks {
            let (name, relative) = (hook["hook"].as_str().unwrap(), hook["relative"].as_f64().unwrap());
            let pairs = || this[name].iter().zip(&that[name]).filter(|(a, b)| a.is_finite() && b.is_finite());
            let moved: f64 = pairs().map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let norm: f64 = pairs().map(|(_, b)| f64::from(*b).powi(2)).sum();
            let expected = (moved / norm).sqrt();
            assert!((relative - expected).abs() <= 1e-6 * expected, "{name}: {relative} {expected}");
        }
        // KL(that || this) by its definition
        let log_probs = |logits: &[f32]| {
            let most = logits.iter().fold(f64::NEG_INFINITY, |most, x| most.max(f64::from(*x)));
            let sum: f64 = logits.iter().map(|x| (f64::from(*x) - most).exp()).sum();
            logits.iter().map(|x| f64::from(*x) - most - sum.ln()).collect::<Vec<f64>>()
        };
        let kl: Vec<f64> = against["kl_by_position"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!((kl.len(), against["kl"].as_f64()), (6, kl.last().copied()));
        for ((this, that), kl) in this["logits"].chunks(96).zip(that["logits"].chunks(96)).zip(kl) {
            let (q, p) = (log_probs(this), log_probs(that));
            let expected: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            assert!((kl - expected).abs() < 1e-9 && kl > 1e-3, "{kl} {expected}");
        }
    }
    let text = stdout(&["run", "--model", &micro(), "--against", &other(), "--tokens", IDS]);
    assert!(text.contains("against parallel-100: KL(parallel-100 || this)"), "{text}");
    let own = stdout(&["run", "--model", &micro(), "--against", &micro(), "--tokens", IDS, "--json"]);
    let own: Value = serde_json::from_str(&own).unwrap();
    assert!(own["against"]["hooks"].as_array().unwrap().iter().all(|hook| hook["relative"] == 0.0));
    assert!(own["against"]["kl_by_position"].as_array().unwrap().iter().all(|kl| kl == 0.0));
}

#[test]
fn models_that_can_t_be_compared_are_refused() {
    let run = |model: &str, against: &str, code, expected: &str| {
        refused(&["run", "--model", model, "--against", against, "--tokens", "1,2"], code, expected);
    };
    run(&micro(), "demo", 2, "it has 4 blocks and this model 2; expected a model of the same sizes");
    run(
        &micro(),
        &fixture("sequential-25").display().to_string(),
        2,
        "its blocks are sequential and this model's parallel",
    );
    run(&micro(), "/nonexistent/model", 1, "no model directory");
    run(&micro(), "demo@step3", 1, "has no revisions");
    // another tokenizer
    let tokenizer = fs::read_to_string("assets/demo/tokenizer.json").unwrap();
    let mut json: Value = serde_json::from_str(&tokenizer).unwrap();
    let with = |json: &Value| copy_of_micro(|dir| fs::write(dir.join("tokenizer.json"), json.to_string()).unwrap());
    let one = with(&json);
    let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
    let swapped: Vec<String> = vocabulary
        .iter()
        .filter(|(_, id)| [60, 61].map(Value::from).contains(id))
        .map(|(token, _)| token.clone())
        .collect();
    let [a, b] = [vocabulary[&swapped[0]].clone(), vocabulary[&swapped[1]].clone()];
    vocabulary.insert(swapped[0].clone(), b);
    vocabulary.insert(swapped[1].clone(), a);
    let other = with(&json);
    let path = |dir: &tempfile::TempDir| dir.path().display().to_string();
    run(&path(&one), &path(&other), 2, "its tokenizer is another: token 60 is");
    assert!(call(&["run", "--model", &path(&one), "--against", &path(&one), "--tokens", "1,2"]).status.success());
}
