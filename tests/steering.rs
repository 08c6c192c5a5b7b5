//! Edits with vectors: against TransformerLens, and by what defines them.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, sync::Arc};

use common::{
    activations, engine, fixture,
    golden::{Golden, TOLERANCE, error, error_of, ids, strings},
    program::{call, micro, refused, stdout},
    run, spec,
};
use pythia_tui::{
    engine::Spec,
    hooks::{Edit, VectorDefinition, VectorDefinitions, VectorSource},
    model::Processing,
};
use serde_json::{Value, json};

const TOKENS: [u32; 7] = [3, 14, 15, 92, 65, 35, 89];

fn defined(vectors: &[(&str, VectorSource)]) -> VectorDefinitions {
    let define = |(name, source): &(&str, VectorSource)| {
        let definition = VectorDefinition { source: Arc::new(source.clone()), text: String::new() };
        (name.parse().unwrap(), definition)
    };
    vectors.iter().map(define).collect()
}

fn fixed(values: &[f32]) -> VectorSource {
    VectorSource::Fixed(values.to_vec().into())
}

/// 32 numbers away from 0.
fn direction() -> Vec<f32> {
    (0..32).map(|i| ((i * 13 % 32) as f32 - 15.5) / 10.0).collect()
}

#[test]
fn vectors_are_those_of_transformer_lens() {
    let golden = Golden::open("steering");
    let prompts = |name: &str| golden.json(name).as_array().unwrap().iter().map(ids).collect::<Vec<_>>();
    let token = |name: &str| u32::try_from(golden.json(name).as_u64().unwrap()).unwrap();
    let vectors = defined(&[
        ("diff", VectorSource::Prompts { positive: prompts("positive"), negative: prompts("negative") }),
        ("out", VectorSource::Unembedding(token("out"))),
        ("in", VectorSource::Embedding(token("in"))),
    ]);
    let (tokens, lines) = (ids(&golden.json("tokens")), strings(&golden.json("edits")));
    assert_eq!(lines.len(), 11);
    let mut worst = 0f64;
    for checkpoint in ["parallel-25", "sequential-25"] {
        for processing in [Processing::Folded, Processing::None] {
            let mut engine = engine(checkpoint, processing, &[]);
            let kind = if processing.is_folded() { "processed" } else { "unprocessed" };
            for line in &lines {
                let spec = Spec { vectors: vectors.clone(), ..spec(&tokens, &[line]) };
                let outcome = run(&mut engine, &spec).unwrap();
                let expected = &golden.tensors[&format!("{checkpoint}/{kind}/{line}")];
                worst = worst.max(error(expected, &activations(&engine, &outcome)["logits"]));
                if line.ends_with("diff") {
                    let hook = line.split(['[', ' ']).next().unwrap();
                    let found = engine.schema.vectors().at("diff".parse().unwrap(), hook.parse().unwrap()).unwrap();
                    worst =
                        worst.max(error(&golden.tensors[&format!("{checkpoint}/{kind}/vector/{hook}")], found.get()));
                }
                assert!(worst <= TOLERANCE, "{checkpoint} {kind} {line}: {worst}");
            }
        }
    }
    println!("the largest error is {worst:.1e}");
}

#[test]
fn an_edit_with_a_vector_equals_one_edit_for_each_number() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let v = direction();
    let vectors = defined(&[("v", fixed(&v))]);
    let by_number: Vec<Edit> = (0..32)
        .map(|i| format!("blocks.0.hook_resid_post[pos=2:5 d_model={i}] += {}", v[i] * 0.5).parse().unwrap())
        .collect();
    let one = Spec { vectors, ..spec(&TOKENS, &["blocks.0.hook_resid_post[pos=2:5] += 0.5 * v"]) };
    let (one, each) = (run(&mut engine, &one).unwrap(), Spec { edits: by_number, ..spec(&TOKENS, &[]) });
    let each = run(&mut engine, &each).unwrap();
    let (one, each) = (activations(&engine, &one), activations(&engine, &each));
    assert!(error_of(usize::MAX, &each["logits"], &one["logits"]) < 1e-6);
    assert_eq!(each["blocks.0.hook_resid_post"], one["blocks.0.hook_resid_post"]);
}

#[test]
fn a_projection_leaves_nothing_along_the_vector_and_all_across_it() {
    let mut engine = engine("sequential-25", Processing::None, &[]);
    let (v, head) = (direction(), vec![1.0f32, -2.0, 0.5, 3.0, 0.0, -1.0, 2.0, 0.25]);
    let vectors = defined(&[("v", fixed(&v)), ("h", fixed(&head)), ("zero", fixed(&[0.0; 32]))]);
    let before = run(&mut engine, &spec(&TOKENS, &[])).unwrap();
    let before = activations(&engine, &before);
    for (hook, vector, name) in [("blocks.0.hook_mlp_out", &v, "v"), ("blocks.1.attn.hook_z", &head, "h")] {
        let spec = Spec { vectors: vectors.clone(), ..spec(&TOKENS, &[&format!("{hook} -= proj {name}")]) };
        let outcome = run(&mut engine, &spec).unwrap();
        let after = activations(&engine, &outcome);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let norm = dot(vector, vector).sqrt();
        for (x, y) in before[hook].chunks(vector.len()).zip(after[hook].chunks(vector.len())) {
            assert!(dot(y, vector).abs() / norm < 1e-5, "{hook}");
            let along = dot(x, vector) / norm;
            let (kept, was) = (dot(y, y), dot(x, x) - along * along);
            assert!((kept - was).abs() < 1e-4 * dot(x, x), "{hook}");
        }
    }
    // a vector of zeros has no direction
    let spec = Spec { vectors, ..spec(&TOKENS, &["blocks.0.hook_mlp_out -= proj zero"]) };
    let outcome = run(&mut engine, &spec).unwrap();
    assert_eq!(outcome.effects[0].effect.changed, 0);
    assert!(outcome.effects[0].no_effect.as_ref().unwrap().to_string().contains("no part along"));
}

#[test]
fn gradients_go_through_vectors_as_finite_differences_do() {
    use pythia_tui::{analysis::Objective, engine::Control, hooks::Capture};
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let vectors = defined(&[("v", fixed(&direction()))]);
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let objective = Objective::LogitDiff { pos: 6, target: 5, distractor: Some(9) };
    let lines = ["blocks.0.hook_resid_post -= proj v", "blocks.0.hook_resid_post += 0.7 * v"];
    let of = |push: &str| {
        let lines: Vec<&str> = [push].into_iter().filter(|line| !line.is_empty()).chain(lines).collect();
        Spec { vectors: vectors.clone(), ..spec(&TOKENS, &lines) }
    };
    let gradients = engine.gradients(&of(""), objective, &Capture::All, control).unwrap();
    let point = "blocks.0.hook_mlp_out".parse().unwrap();
    let slope = gradients.cache.get(point).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut value = |push: &str| engine.gradients(&of(push), objective, &Capture::None, control).unwrap().value;
    for i in [1, 8, 30] {
        let step = 0.02;
        let mut at = |by: f64| value(&format!("blocks.0.hook_mlp_out[pos=3 d_model={i}] += {by}"));
        let numeric = (at(step) - at(-step)) / (2.0 * step);
        let exact = f64::from(slope[3 * 32 + i]);
        assert!((numeric - exact).abs() < 2e-3 * exact.abs().max(0.05), "{numeric} and {exact}");
    }
}

#[test]
fn a_vector_that_does_not_fit_is_refused_with_what_was_expected() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let vectors = defined(&[("happy", fixed(&[1.0; 32])), ("h", fixed(&[1.0; 8])), ("odd", fixed(&[1.0; 5]))]);
    for (line, expected) in [
        ("blocks.0.hook_mlp_out += 2 * hapy", "there is no vector `hapy`; did you mean `happy`?"),
        ("blocks.0.hook_mlp_out += 2 * odd", "`odd` has 5 numbers; `blocks.0.hook_mlp_out` takes 32"),
        ("blocks.0.attn.hook_z += 2 * odd", "takes 8 (for each head) or 32"),
        ("blocks.0.attn.hook_pattern += 2 * h", "has no directions"),
        ("blocks.0.ln1.hook_scale -= proj h", "has no directions"),
        ("blocks.0.attn.hook_z[d_head=2] -= proj h", "the whole of d_head"),
    ] {
        let spec = Spec { vectors: vectors.clone(), ..spec(&TOKENS, &[line]) };
        let message = run(&mut engine, &spec).err().unwrap().to_string();
        assert!(message.contains(expected) && message.contains(line), "{message}");
    }
    for line in [
        "blocks.0.attn.hook_z += 2 * happy",
        "blocks.0.attn.hook_z[head=1] += 2 * h",
        "hook_embed[pos=0] -= proj happy",
    ] {
        assert!(run(&mut engine, &Spec { vectors: vectors.clone(), ..spec(&TOKENS, &[line]) }).is_ok(), "{line}");
    }
}

/// A file of 32 numbers in numpy's format.
fn npy(values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let data = values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &data].concat()
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[test]
fn run_reports_each_vector_beside_the_values_it_meets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v.npy");
    fs::write(&path, npy(&direction())).unwrap();
    let (micro, vector) = (micro(), format!("v={}", path.display()));
    let args = ["run", "--model", &micro, "--tokens", "3,14,15", "--vector", &vector];
    let edits = ["--edit", "blocks.*.hook_resid_post += 2 * v", "--edit", "blocks.1.hook_resid_pre -= proj v"];
    let report = json_of(&[&args[..], &edits, &["--json"]].concat());
    let vectors = report["vectors"].as_array().unwrap();
    let hooks: Vec<&str> = vectors.iter().map(|vector| vector["hook"].as_str().unwrap()).collect();
    assert_eq!(hooks, ["blocks.0.hook_resid_post", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]);
    let norm = direction().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    // the unedited values
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let outcome = run(&mut engine, &spec(&[3, 14, 15], &[])).unwrap();
    let values = activations(&engine, &outcome);
    for vector in vectors {
        let rows = values[vector["hook"].as_str().unwrap()].chunks(32);
        let mean = rows.map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()).sum::<f64>() / 3.0;
        assert!((vector["norm"].as_f64().unwrap() - norm).abs() < 1e-6);
        assert!((vector["share"].as_f64().unwrap() - norm / mean).abs() < 1e-5);
        assert_eq!(vector["name"], "v");
    }
    let text = stdout(&[&args[..], &edits].concat());
    assert!(text.contains("blocks.1.hook_resid_pre") && text.contains(" % of"), "{text}");
}

#[test]
fn vectors_come_from_files_prompts_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let pairs = directory.path().join("pairs.jsonl");
    let lines = ["{\"positive\": \"I am glad\", \"negative\": \"I am sad\"}", "", "{\"positive\": \"Such joy\"}"];
    fs::write(&pairs, lines.join("\n")).unwrap();
    let run = |vectors: &[&str], edit: &str| {
        let vectors: Vec<&str> = vectors.iter().flat_map(|vector| ["--vector", vector]).collect();
        json_of(&[&["run", "--model", "demo", "I am", "--json", "--edit", edit][..], &vectors].concat())
    };
    let norm = |report: &Value| report["vectors"][0]["norm"].as_f64().unwrap();
    let edit = "blocks.2.hook_resid_pre += 2 * v";
    let two = run(&["v=diff:I am glad|I am sad"], edit);
    let three = run(&[&format!("v=diff@{}", pairs.display())], edit);
    assert!(norm(&two) > 0.0 && (norm(&two) - norm(&three)).abs() > 1e-3);
    assert_eq!(two["vectors"][0]["source"], "diff:I am glad|I am sad");
    let token = [run(&["v=unembed: John"], edit), run(&["v=embed: John"], edit), run(&["v=unembed:#5"], edit)];
    assert!(norm(&token[0]) != norm(&token[1]) && norm(&token[0]) != norm(&token[2]));
    // the difference to the same prompt is nothing
    let report = run(&["v=diff:glad|glad"], edit);
    assert_eq!((norm(&report), &report["edits"][0]["changed"]), (0.0, &json!(0)));
}

#[test]
fn wrong_vectors_are_refused_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let bad = write("bad.jsonl", "{\"positive\": \"a\", \"negative\": \"b\"}\n{\"positve\": \"a\"}");
    let one = write("one.jsonl", "{\"positive\": \"a\"}");
    let model = micro();
    let edit = ["--edit", "blocks.0.hook_mlp_out += 2 * happy"];
    let refused = |rest: &[&str], expected: &str| {
        refused(&[&["run", "--model", &model, "--tokens", "1,2"], rest].concat(), 2, expected);
    };
    refused(&edit, "define it with --vector happy=SOURCE");
    refused(&[&edit[..], &["--vector", "hapy=unembed:#3"]].concat(), "did you mean `hapy`?");
    // the caret is under the name
    refused(&edit, &format!("\n  {}{}", " ".repeat(29), "^^^^^"));
    refused(&["--vector", "happy"], "expected NAME=SOURCE");
    refused(&["--vector", "2=unembed:#3"], "no name of a vector");
    refused(&["--vector", "v=unembed:#300"], "--vector v=unembed:#300");
    refused(&["--vector", "v=/nonexistent/v.npy"], "can't read /nonexistent/v.npy");
    refused(&["--vector", "v=/etc/hostname"], "expected a `.safetensors`, `.npy`, `.npz` or `.pt` file");
    // the micro checkpoint has no tokenizer, the demo has one
    let demo = |vector: &str, expected: &str| {
        common::program::refused(&["run", "--model", "demo", "x", "--vector", vector], 2, expected);
    };
    demo("v=diff:a", "expected diff:POSITIVE|NEGATIVE");
    demo("v=diff:a|b|c", "diff@FILE.jsonl");
    demo("v=diff:a|", "no tokens");
    demo(&format!("v=diff@{bad}"), "bad.jsonl, line 2: unknown field `positve`");
    demo(&format!("v=diff@{one}"), "has no negative prompt");
}

#[test]
fn an_experiment_holds_vectors() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("v.npy"), npy(&direction())).unwrap();
    let path = directory.path().join("steer.toml");
    let write = |vectors: &str| {
        let text = format!(
            "version = 1\nmodel = {:?}\ntokens = [3, 14, 15]\n{vectors}[[edit]]\nline = \"blocks.0.hook_resid_post += 2 * v\"\n",
            fixture("parallel-25")
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // a path is relative to the file
    let file = write("[[vector]]\nname = \"v\"\nsource = \"v.npy\"\n");
    let found = json_of(&["run", "--experiment", &file, "--json"]);
    let norm = direction().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    assert!((found["vectors"][0]["norm"].as_f64().unwrap() - norm).abs() < 1e-6);
    // the command line goes first
    let other = json_of(&["run", "--experiment", &file, "--json", "--vector", "v=embed:#4"]);
    assert_ne!(other["vectors"][0]["norm"], found["vectors"][0]["norm"]);
    let file = write("");
    refused(&["run", "--experiment", &file], 2, "line 5");
    let file = write("[[vector]]\nname = \"v\"\nsource = \"w.npy\"\n");
    refused(&["run", "--experiment", &file], 2, "line 6, column 10: can't read");
    let file = write("[[vector]]\nname = \"v\"\nfrom = \"w.npy\"\n");
    refused(&["run", "--experiment", &file], 2, "unknown field `from`");
}

#[test]
fn generation_and_sweeps_go_on_with_vectors() {
    let model = micro();
    let args = ["--model", &model, "--tokens", "3,14,15", "--vector", "v=unembed:#7", "--json"];
    let edit = ["--edit", "blocks.1.hook_resid_post += 40 * v"];
    let report = json_of(&[&["generate", "--max-new-tokens", "4"], &args[..], &edit].concat());
    let ids: Vec<&Value> = report["new_tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert_eq!(ids, [&json!(7); 4]);
    let swept = call(&[&["sweep"], &args[..], &edit].concat());
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
    let _: BTreeMap<String, Value> = serde_json::from_slice(&swept.stdout).unwrap();
}

#[test]
fn a_feature_s_vector_raises_the_feature() {
    let dictionary = fixture("dictionaries/sae-lens-standard").display().to_string();
    let hook = "blocks.0.hook_resid_post";
    let model = micro();
    let base = ["run", "--model", &model, "--tokens", "3,14,15", "--sae", &dictionary, "--json", "--top", "96"];
    let of = |rest: &[&str]| json_of(&[&base[..], rest].concat());
    let top = |report: &Value| {
        let mut top = report["positions"].as_array().unwrap().last().unwrap()["top"].as_array().unwrap().clone();
        top.sort_by_key(|one| one["id"].as_u64());
        top.iter().map(|one| one["prob"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let vector = format!("v=sae:{hook}#3");
    let added = of(&["--vector", &vector, "--edit", &format!("{hook} += 2 * v")]);
    let raised = of(&["--edit", &format!("{hook}.hook_sae_acts_post[d_sae=3] += 2")]);
    let plain = of(&[]);
    let worst = top(&added).iter().zip(top(&raised)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6, "{worst}");
    assert_ne!(top(&added), top(&plain));
    assert_eq!(added["vectors"][0]["source"], format!("sae:{hook}#3"));
    let refused = |vector: &str, expected: &str| {
        refused(&[&base[..], &["--vector", vector]].concat(), 2, expected);
    };
    refused("v=sae:blocks.0.hook_resid_post", "expected sae:HOOK#ID");
    refused("v=sae:blocks.0.hook_resid_pst#3", "did you mean `blocks.0.hook_resid_post`");
    refused(
        "v=sae:blocks.1.hook_resid_post#3",
        "no dictionary at blocks.1.hook_resid_post, but at blocks.0.hook_resid_post",
    );
    refused("v=sae:blocks.0.hook_resid_post#999", "is no feature of the dictionary");
    let none = ["run", "--model", &model, "--tokens", "3", "--vector", &vector];
    common::program::refused(&none, 2, "there is no dictionary at blocks.0.hook_resid_post: give --sae");
}
