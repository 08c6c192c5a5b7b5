//! Edits of a dictionary's features, against SAELens's `HookedSAETransformer` with the error term.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{
    activations, engine, fixture,
    golden::{Golden, TOLERANCE, error_of, ids},
    program::{call, micro, refused, stdout},
    run, spec,
};
use pythia_tui::{
    analysis::log_normaliser,
    engine::{Engine, Spec},
    hooks::{Edit, HookPoint},
    model::{Dictionary, Processing},
};
use serde_json::Value;

const PROCESSINGS: [Processing; 2] = [Processing::Folded, Processing::None];
const HOOK: &str = "blocks.0.hook_resid_post";

fn with_dictionary(name: &str, hook: &str, processing: Processing) -> Engine {
    let mut engine = engine("parallel-25", processing, &[]);
    let dictionary = Dictionary::open(&fixture("dictionaries").join(name), &common::placement()).unwrap();
    engine.use_dictionary(hook.parse::<HookPoint>().unwrap(), Arc::new(dictionary));
    engine
}

/// The log-probabilities at every position.
fn log_probs(engine: &mut Engine, spec: &Spec) -> Vec<f32> {
    let rows = run(engine, spec).unwrap().run.logit_rows().unwrap();
    let normalised = |row: Vec<f32>| {
        let norm = log_normaliser(&row);
        row.into_iter().map(move |x| (f64::from(x) - norm) as f32)
    };
    rows.into_iter().flat_map(normalised).collect()
}

#[test]
fn edits_of_features_equal_saelens_with_the_error_term() {
    let golden = Golden::open("dictionaries");
    let tokens = ids(&golden.json("prompt"));
    let edits: Vec<&str> = golden.tensors.keys().filter_map(|key| key.strip_prefix("edits/")).collect();
    assert_eq!(edits.len(), 7);
    let mut worst = 0.0f64;
    for key in edits.into_iter().filter(|key| !key.is_empty()) {
        let (name, line) = key.split_once('|').unwrap();
        let hook = line.split(".hook_sae").next().unwrap();
        for processing in PROCESSINGS {
            let mut engine = with_dictionary(name, hook, processing);
            let found = log_probs(&mut engine, &spec(&tokens, &[line]));
            let off = error_of(usize::MAX, &golden.tensors[&format!("edits/{key}")], &found);
            assert!(off <= TOLERANCE, "{key}, {processing}: off by {off:.1e}");
            worst = worst.max(off);
        }
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn an_edit_that_leaves_features_as_they_are_changes_nothing() {
    let tokens = [3, 1, 4, 1, 5];
    for processing in PROCESSINGS {
        let mut engine = with_dictionary("sae-lens-jumprelu", HOOK, processing);
        let outcome = run(&mut engine, &spec(&tokens, &[])).unwrap();
        let plain = activations(&engine, &outcome);
        for op in ["*= 1", "= freeze"] {
            let outcome = run(&mut engine, &spec(&tokens, &[&format!("{HOOK}.hook_sae_acts_post {op}")])).unwrap();
            assert_eq!(outcome.effects[0].effect.touched, 5 * 40);
            assert_eq!(outcome.effects[0].effect.changed, 0);
            assert_eq!(activations(&engine, &outcome), plain, "{op}, {processing}: to the bit");
        }
    }
}

#[test]
fn all_features_from_a_contrast_prompt_move_the_stream_by_the_difference_of_the_reconstructions() {
    let (tokens, contrast) = ([3, 1, 4, 1, 5], [3, 9, 4, 7, 5]);
    for processing in PROCESSINGS {
        let mut engine = with_dictionary("dl-standard", HOOK, processing);
        let hook: HookPoint = HOOK.parse().unwrap();
        let dictionary = engine.dictionaries[&hook].clone();
        let mut stream = |spec: &Spec| {
            let outcome = run(&mut engine, spec).unwrap();
            let value = engine.activation(&outcome.run, hook).unwrap().unwrap();
            let raw = engine.loaded.model.unprocessed(&outcome.run.tokens, &outcome.run.cache).unwrap();
            // the mean of the edited stream is that of what writes to it, so the unedited run's is taken here
            (value.get(0).unwrap(), raw.at(hook, &value).unwrap().get(0).unwrap())
        };
        let (here, raw) = stream(&spec(&tokens, &[]));
        let (_, there) = stream(&spec(&contrast, &[]));
        let patched = format!("{HOOK}.hook_sae_acts_post = patch");
        let (after, _) = stream(&Spec { contrast: Some(contrast.to_vec()), ..spec(&tokens, &[&patched]) });
        let back = |x| dictionary.decode(&dictionary.encode(x).unwrap()).concat();
        let (from, to) = (back(&raw), back(&there));
        let flat = |t: candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let moved: Vec<f32> = flat(after).iter().zip(flat(here)).map(|(a, b)| a - b).collect();
        let expected: Vec<f32> = to.iter().zip(&from).map(|(a, b)| a - b).collect();
        let off = error_of(usize::MAX, &expected, &moved);
        assert!(off <= TOLERANCE, "{processing}: {off:.1e}");
    }
}

#[test]
fn edits_of_features_stand_beside_others_and_are_swept() {
    let tokens = [3, 1, 4, 1, 5];
    let lines = ["blocks.0.mlp.hook_post *= 0.5".into(), format!("{HOOK}.hook_sae_acts_post[d_sae=0:9] = 0")];
    let lines: Vec<&str> = lines.iter().map(|line: &String| line.as_str()).collect();
    let both = PROCESSINGS.map(|processing| {
        let mut engine = with_dictionary("sae-lens-standard", HOOK, processing);
        log_probs(&mut engine, &spec(&tokens, &lines))
    });
    let off = error_of(usize::MAX, &both[1], &both[0]);
    assert!(off <= TOLERANCE, "edited means are taken into account: {off:.1e}");
    let (model, sae) = (micro(), fixture("dictionaries/sae-lens-standard").display().to_string());
    let args = ["sweep", "--model", &model, "--tokens", "3,1,4,1,5", "--sae", &sae, "--edit", lines[1], "--json"];
    let swept = stdout(&[&args[..], &["--metric", "prob", "--target", "#5"]].concat());
    let swept: Value = serde_json::from_str(&swept).unwrap();
    let mut engine = with_dictionary("sae-lens-standard", HOOK, Processing::Folded);
    let mut prob = |lines: &[&str]| f64::from(log_probs(&mut engine, &spec(&tokens, lines))[4 * 96 + 5]).exp();
    let (own, ablated) = (prob(&[lines[1]]), prob(&[lines[1], "blocks.1.attn.hook_z[head=1] = 0"]));
    let near = |found: &Value, expected: f64| {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-6, "{found}: {expected}")
    };
    near(&swept["baseline"]["prob"], own);
    near(&swept["effect"][1][1], ablated - own);
}

#[test]
fn edits_of_features_read_back_as_they_are_written() {
    for line in [
        "blocks.0.hook_resid_post.hook_sae_acts_post = 0",
        "blocks.*.hook_mlp_out.hook_sae_acts_post[pos=-1 d_sae=3,5:9] *= 0.5",
        "hook_embed.hook_sae_acts_post += noise 0.1 seed 7",
    ] {
        let edit: Edit = line.parse().unwrap();
        assert!(edit.features);
        assert_eq!(edit.to_string(), line);
    }
    let wrong = |line: &str, expected: &str| {
        let found = line.parse::<Edit>().unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    wrong("blocks.0.hook_resid_post.hook_sae_error = 0", "did you mean `blocks.0.hook_resid_post.hook_sae_acts_post`");
    wrong("blocks.0.hook_resid_pst.hook_sae_acts_post = 0", "did you mean `blocks.0.hook_resid_post`");
    wrong(
        "hook_embed.hook_sae_acts_post -> blocks.1.hook_mlp_in = 0",
        "the features of a dictionary can only be the target of an edit",
    );
}

#[test]
fn edits_of_features_that_can_not_be_made_are_refused() {
    let (model, sae) = (micro(), fixture("dictionaries/sae-lens-standard").display().to_string());
    let refuse = |command: &[&str], line: &str, expected: &str| {
        let args = ["--model", &model, "--tokens", "3,1,4", "--edit", line];
        refused(&[command, &args[..]].concat(), 2, expected);
    };
    let all = format!("{HOOK}.hook_sae_acts_post = 0");
    refuse(&["run"], &all, "there is no dictionary at blocks.0.hook_resid_post: give one with --sae");
    refuse(
        &["run", "--sae", &sae],
        "blocks.1.hook_resid_post.hook_sae_acts_post = 0",
        "there is no dictionary at blocks.1",
    );
    refuse(&["run", "--sae", &sae], &format!("{HOOK}.hook_sae_acts_post[d_sae=40] = 0"), "d_sae 40 is out of range");
    refuse(&["run", "--sae", &sae], &format!("{HOOK}.hook_sae_acts_post[d_model=4] = 0"), "its axes are pos, d_sae");
    refuse(&["run", "--sae", &sae], &format!("{HOOK}[d_sae=4] = 0"), "has no axis `d_sae`");
}

#[test]
fn other_commands_make_edits_of_features_or_refuse_them() {
    let (model, sae) = (micro(), fixture("dictionaries/sae-lens-standard").display().to_string());
    let edit = format!("{HOOK}.hook_sae_acts_post[d_sae=0:9] = 0");
    let with = |command: &[&str]| {
        let rest = ["--model", &model, "--tokens", "3,1,4,1,5", "--sae", &sae, "--edit", &edit, "--json"];
        call(&[command, &rest].concat())
    };
    let found = with(&["grep", "blocks.1.hook_resid_post > -1e30"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let mut engine = with_dictionary("sae-lens-standard", HOOK, Processing::Folded);
    let outcome = run(&mut engine, &spec(&[3, 1, 4, 1, 5], &[&edit])).unwrap();
    let point = "blocks.1.hook_resid_post".parse().unwrap();
    let expected: Vec<f32> = outcome.run.cache.get(point).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let matches = found["matches"].as_array().unwrap();
    assert_eq!(matches.len(), expected.len());
    for (found, expected) in matches.iter().zip(expected) {
        assert!((found["value"].as_f64().unwrap() - f64::from(expected)).abs() < 1e-5, "{found}: {expected}");
    }
}
