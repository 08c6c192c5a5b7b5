//! Gradients through edits of features, features as nodes, and edits of features in circuits and continuations, against
//! autograd and SAELens (`tests/golden/dictionary_gradients.py`).
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, atomic::AtomicBool};

use common::{
    engine, fixture,
    golden::{Golden, error_of, ids},
    program::{micro, refused, stdout},
    run, spec,
};
use pythia_tui::{
    analysis::{Edge, GraphShape, Node, Objective, log_normaliser},
    engine::{AttributionError, Control, Engine, FeatureNode, Method, Sampling, Spec},
    hooks::{Capture, HookPoint},
    model::{Dictionary, Processing},
};
use serde_json::Value;

const PROCESSINGS: [Processing; 2] = [Processing::Folded, Processing::None];

/// Relative to a tensor's largest value.
const TOLERANCE: f64 = 2e-5;

static NEVER: AtomicBool = AtomicBool::new(false);

fn control() -> Control<'static> {
    Control { cancel: &NEVER, progress: &|_, _| {} }
}

fn with_dictionary(checkpoint: &str, name: &str, hook: &str, processing: Processing) -> Engine {
    let mut engine = engine(checkpoint, processing, &[]);
    let dictionary = Dictionary::open(&fixture("dictionaries").join(name), &common::placement()).unwrap();
    engine.use_dictionary(hook.parse::<HookPoint>().unwrap(), Arc::new(dictionary));
    engine
}

fn objective(n_pos: usize) -> Objective {
    Objective::LogitDiff { pos: n_pos - 1, target: 5, distractor: Some(9) }
}

fn prompts(golden: &Golden) -> (Vec<u32>, Vec<u32>) {
    (ids(&golden.json("prompt")), ids(&golden.json("contrast")))
}

fn parts(key: &str) -> [&str; 4] {
    key.split('|').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn gradients_pass_through_edits_of_features_as_in_autograd() {
    let golden = Golden::open("dictionary-gradients");
    let (tokens, contrast) = prompts(&golden);
    let (mut worst, mut compared) = (0.0f64, 0);
    for (key, expected) in &golden.tensors {
        let [checkpoint, name, line, point] = parts(key);
        let Some((hook, _)) = line.split_once(".hook_sae") else { continue };
        let point: HookPoint = point.parse().unwrap();
        for processing in PROCESSINGS {
            let mut engine = with_dictionary(checkpoint, name, hook, processing);
            let spec = Spec { contrast: Some(contrast.clone()), ..spec(&tokens, &[line]) };
            let found = engine.gradients(&spec, objective(tokens.len()), &Capture::All, control()).unwrap();
            let found = found.cache.get(point).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let off = error_of(usize::MAX, expected, &found);
            assert!(off <= TOLERANCE, "{key}, {processing}: off by {off:.1e}");
            (worst, compared) = (worst.max(off), compared + 1);
        }
    }
    assert_eq!(compared, 2 * 10 * 6);
    println!("largest error {worst:.1e}");
}

#[test]
fn features_and_error_terms_as_nodes_equal_saelens() {
    let golden = Golden::open("dictionary-gradients");
    let (tokens, contrast) = prompts(&golden);
    let (mut worst, mut compared) = (0.0f64, 0);
    for (key, expected) in golden.tensors.iter().filter(|(key, _)| key.ends_with("|features")) {
        let [checkpoint, name, hook, _] = parts(key);
        let error = golden.tensors[&format!("{checkpoint}|{name}|{hook}|error")][0];
        for processing in PROCESSINGS {
            let mut engine = with_dictionary(checkpoint, name, hook, processing);
            let spec = Spec { contrast: Some(contrast.clone()), ..spec(&tokens, &[]) };
            let found = engine.attribute_features(&spec, objective(tokens.len()), Method::Eap, control()).unwrap();
            let mut scores = vec![0.0f32; expected.len() + 1];
            for (FeatureNode { hook: at, feature }, score) in found.scores {
                assert_eq!(at.to_string(), hook);
                scores[feature.map_or(expected.len(), |feature| feature as usize)] = score as f32;
            }
            let expected: Vec<f32> = expected.iter().copied().chain([error]).collect();
            let off = error_of(usize::MAX, &expected, &scores);
            assert!(off <= TOLERANCE, "{key}, {processing}: off by {off:.1e}");
            (worst, compared) = (worst.max(off), compared + 1);
        }
    }
    assert_eq!(compared, 10);
    println!("largest error {worst:.1e}");
}

#[test]
fn features_and_the_error_term_add_up_to_the_component_that_they_are_of() {
    let golden = Golden::open("dictionary-gradients");
    let (tokens, contrast) = prompts(&golden);
    // beside an edit of the features of a later dictionary, which reads the mean that processing takes out of components
    let line = "blocks.1.hook_resid_pre.hook_sae_acts_post[d_sae=0:20] *= 2";
    for (hook, node) in [("hook_embed", Node::Input), ("blocks.0.hook_mlp_out", Node::Mlp(0))] {
        for method in [Method::Eap, Method::EapIg { steps: 3 }] {
            let mut sums = vec![];
            for (processing, edits) in
                [(Processing::Folded, &[][..]), (Processing::Folded, &[line]), (Processing::None, &[line])]
            {
                let mut engine = with_dictionary("parallel-25", "sae-lens-standard", hook, processing);
                let later = engine.dictionaries.values().next().unwrap().clone();
                engine.use_dictionary("blocks.1.hook_resid_pre".parse().unwrap(), later);
                let spec = Spec { contrast: Some(contrast.clone()), ..spec(&tokens, edits) };
                let objective = objective(tokens.len());
                let nodes = engine.attribute_nodes(&spec, objective, method, control()).unwrap().scores;
                let expected = nodes.into_iter().find(|(at, _)| *at == node).unwrap().1;
                let features = engine.attribute_features(&spec, objective, method, control()).unwrap().scores;
                let at = |node: &FeatureNode| node.hook.to_string() == hook;
                let sum: f64 = features.iter().filter(|(node, _)| at(node)).map(|(_, score)| score).sum();
                let largest = features.iter().map(|(_, score)| score.abs()).fold(0.0, f64::max);
                if processing == Processing::None || edits.is_empty() {
                    let off = (sum - expected).abs() / largest;
                    assert!(off < TOLERANCE, "{hook}, {processing}, {method}: {sum} for {expected}");
                }
                sums.push(sum);
            }
            assert!((sums[1] - sums[2]).abs() < 1e-5 && (sums[0] - sums[1]).abs() > 1e-3, "{hook}, {method}: {sums:?}");
        }
    }
}

#[test]
fn exact_scores_are_those_of_patched_features() {
    let golden = Golden::open("dictionary-gradients");
    let (tokens, contrast) = prompts(&golden);
    let hook = "blocks.1.hook_resid_pre";
    let mut engine = with_dictionary("parallel-25", "sae-lens-topk-rescaled", hook, Processing::Folded);
    let plain = Spec { contrast: Some(contrast), ..spec(&tokens, &[]) };
    for objective in [objective(tokens.len()), Objective::Loss] {
        let found = engine.attribute_features(&plain, objective, Method::Exact, control()).unwrap();
        assert!(found.scores.iter().all(|(node, _)| node.feature.is_some()) && found.scores.len() > 5);
        let mut value = |line: &str| {
            let spec = Spec { edits: vec![line.parse().unwrap()], ..plain.clone() };
            engine.gradients(&spec, objective, &Capture::None, control()).unwrap().value
        };
        for (node, score) in &found.scores[..5] {
            let line = format!("{hook}.hook_sae_acts_post[d_sae={}] = patch", node.feature.unwrap());
            let expected = value(&line) - found.value;
            assert!((score - expected).abs() < 1e-5, "{node}: {score} for {expected}");
        }
    }
}

#[test]
fn circuits_and_edges_go_with_edits_of_the_features_of_a_component() {
    let golden = Golden::open("dictionary-gradients");
    let (tokens, contrast) = prompts(&golden);
    let objective = objective(tokens.len());
    for processing in PROCESSINGS {
        let mut engine = with_dictionary("parallel-25", "sae-lens-standard", "blocks.0.hook_mlp_out", processing);
        let line = "blocks.0.hook_mlp_out.hook_sae_acts_post[d_sae=0:20] = 0";
        let edited = Spec { contrast: Some(contrast.clone()), ..spec(&tokens, &[line]) };
        let shape = GraphShape::from(engine.schema.dims);
        let all: Vec<Edge> = shape.edges().collect();
        let found = engine.circuits(&edited, objective, &[&all], control(), &mut |_| {}).unwrap();
        let value = engine.gradients(&edited, objective, &Capture::None, control()).unwrap().value;
        let plain = Spec { edits: vec![], ..edited.clone() };
        let unedited = engine.gradients(&plain, objective, &Capture::None, control()).unwrap().value;
        assert!((value - unedited).abs() > 1e-3, "the edit does something");
        assert!((found.circuits[0].value - value).abs() < 1e-5, "{processing}: {found:?}, {value}");
        let edges = engine.attribute_edges(&edited, objective, Method::Eap, control()).unwrap().scores;
        let nodes = engine.attribute_nodes(&edited, objective, Method::Eap, control()).unwrap().scores;
        for (node, score) in nodes {
            let sum: f64 = edges.iter().filter(|(edge, _)| edge.from == node).map(|(_, score)| score).sum();
            assert!((sum - score).abs() < 1e-5 * score.abs().max(1.0), "{node}: {sum} for {score}");
        }
        let stream = "blocks.0.hook_resid_post.hook_sae_acts_post = 0";
        let dictionary = engine.dictionaries.values().next().unwrap().clone();
        engine.use_dictionary("blocks.0.hook_resid_post".parse().unwrap(), dictionary);
        let of_stream = Spec { edits: vec![stream.parse().unwrap()], ..edited };
        let refused = engine.circuits(&of_stream, objective, &[&all], control(), &mut |_| {}).unwrap_err();
        assert!(matches!(refused, AttributionError::EditedCircuit(_)), "{refused}");
        let refused = engine.attribute_edges(&of_stream, objective, Method::Eap, control()).unwrap_err();
        assert!(matches!(refused, AttributionError::EditedStream(_)), "{refused}");
    }
}

#[test]
fn continuations_with_edits_of_features_equal_running_the_whole_text_again() {
    let (tokens, contrast) = ([3, 1, 4, 1, 5], [3, 9, 4, 7, 5]);
    let hook = "blocks.0.hook_resid_post";
    for processing in PROCESSINGS {
        for (name, op, goes_on) in [
            ("sae-lens-standard", " *= 3", true),
            ("sae-lens-topk", "[d_sae=0:20] = 0", true),
            ("sae-lens-gated", "[pos=-1] *= -1", false),
            ("dl-standard", "[d_sae=0:9] = freeze", true),
            ("dl-batch-topk", " = patch", false),
            ("mlsae", " += noise 0.5 seed 3", true),
            ("sae-lens-jumprelu", "[d_sae=5] = mean", true),
        ] {
            let mut engine = with_dictionary("parallel-25", name, hook, processing);
            let line = format!("{hook}.hook_sae_acts_post{op}");
            let before = "blocks.0.attn.hook_z *= 0.5";
            let spec = Spec { contrast: Some(contrast.to_vec()), ..spec(&tokens, &[before, &line]) };
            let generation = engine.generation(&spec, control()).unwrap();
            let made = generation.sample(&engine, 6, &Sampling::GREEDY, 0, &NEVER, &mut |_| {}).unwrap();
            let made = made.edited.unwrap().tokens;
            assert_eq!(made.len(), 6);
            let mut text = tokens.to_vec();
            for token in made {
                // places of the prompt, written out for the longer text
                let line = match goes_on {
                    true => line.clone(),
                    false => line.replace("[pos=-1]", "[pos=4]").replace("_post = patch", "_post[pos=0:5] = patch"),
                };
                let edits = [before, &line].iter().map(|line| line.parse().unwrap()).collect();
                let outcome = run(&mut engine, &Spec { tokens: text.clone(), edits, ..spec.clone() }).unwrap();
                let row = outcome.run.logit_rows().unwrap().pop().unwrap();
                let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                let prob = (f64::from(row[best]) - log_normaliser(&row)).exp();
                assert_eq!(token.id as usize, best, "{line}, {processing}, after {text:?}");
                assert!((token.prob - prob).abs() < 1e-5, "{line}: {} for {prob}", token.prob);
                text.push(token.id);
            }
        }
    }
}

#[test]
fn the_command_lists_features_by_strength_with_hook_and_label() {
    let (model, dir) = (micro(), tempfile::tempdir().unwrap());
    let sae = |name: &str| fixture("dictionaries").join(name).display().to_string();
    let labels = dir.path().join("labels.jsonl");
    let lines: String = (0..40).map(|id| format!("{{\"index\": {id}, \"description\": \"label {id}\"}}\n")).collect();
    std::fs::write(&labels, lines).unwrap();
    let labels = labels.display().to_string();
    let common = ["--model", &model, "--tokens", "3,1,4,1,5", "--contrast-tokens", "3,9,4,7,5", "--target", "#5"];
    fn joined<'a>(common: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
        [&["attribute", "--by", "feature"], common, rest].concat()
    }
    let (one, two) = (sae("sae-lens-standard"), format!("blocks.1.hook_mlp_out={}", sae("mlsae")));
    let both = joined(&common, &["--sae", &one, "--labels", &labels, "--sae", &two]);
    let found: Value = serde_json::from_str(&stdout(&joined(&both, &["--json"])[3..])).unwrap();
    assert_eq!((found["metric"].as_str(), found["method"].as_str()), (Some("logit-diff"), Some("eap")));
    let features = found["features"].as_array().unwrap();
    let score = |one: &Value| one["score"].as_f64().unwrap().abs();
    assert!(features.is_sorted_by(|a, b| score(a) >= score(b)));
    let named = |name: &str| features.iter().find(|one| one["node"] == name).unwrap();
    assert_eq!((&named("e0")["hook"], &named("e0")["feature"]), (&"blocks.0.hook_resid_post".into(), &Value::Null));
    assert_eq!(named("e1")["hook"], "blocks.1.hook_mlp_out");
    let first = features.iter().find(|one| one["node"].as_str().unwrap().starts_with("f0.")).unwrap();
    assert_eq!(first["node"], format!("f0.{}", first["feature"]));
    assert_eq!(first["label"], format!("label {}", first["feature"]));
    let text = stdout(&joined(&both, &["--top", "3"])[3..]);
    let row = text.lines().rev().find(|line| line.starts_with("f0.")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains("  blocks.0.hook_resid_post  label "), "{text}");
    refused(&joined(&common, &[]), 2, "there is no dictionary whose features could be scored: give one with --sae");
    refused(&joined(&common, &["--sae", &one, "--graph", "x.json"]), 2, "--graph writes a graph of edges");
}
