//! Gradients, attribution, circuits and explanations on the command line.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::program::{micro, refused, stdout};
use serde_json::Value;

const PROMPTS: [&str; 4] = ["--tokens", "7,3,9,22,41", "--contrast-tokens", "8,60,9,12,41"];

/// A command on the micro checkpoint and both prompts.
fn on_both<'a>(command: &'a str, model: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--model", model], &PROMPTS[..], rest].concat()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn gradients_are_written_under_the_hooks_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (tensors, npz) = (file("g.safetensors"), file("g.npz"));
    let edit = "blocks.1.hook_mlp_out = 7";
    for out in [&tensors, &npz] {
        let report = json(&[
            "run",
            "--model",
            &micro(),
            "--tokens",
            "1,2,3",
            "--edit",
            edit,
            "--target",
            "#5",
            "--distractor",
            "#9",
            "--metric",
            "logit-diff",
            "--save-gradients",
            out,
            "--json",
        ]);
        assert_eq!(report["metric"]["name"], "logit-diff");
        assert!(report["metric"]["value"].is_number());
    }
    let bytes = fs::read(&tensors).unwrap();
    let gradients = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(gradients.len(), 1 + 18 * 2 + 2);
    assert_eq!(gradients.tensor("blocks.0.attn.hook_pattern").unwrap().shape(), [4, 3, 3]);
    // values that were overwritten depend on nothing before them
    let zero = |name: &str| gradients.tensor(name).unwrap().data().iter().all(|b| b & 0x7f == 0);
    assert!(zero("blocks.1.mlp.hook_post") && !zero("blocks.1.hook_mlp_out") && !zero("blocks.0.mlp.hook_post"));
    let in_npz = candle_core::npy::NpzTensors::new(&npz).unwrap();
    assert_eq!(in_npz.names().len(), gradients.len());

    let run = |rest: &[&'static str]| [&["run", "--model", "demo", "Two tokens"][..], rest].concat();
    refused(&run(&["--save-gradients", "g.npz"]), 2, "--metric logit-diff needs --target TOKEN");
    refused(&run(&["--metric", "prob"]), 2, "--metric prob needs --target TOKEN");
    refused(&run(&["--metric", "loss", "--save-gradients", "g.txt"]), 2, ".safetensors or .npz");
    refused(&run(&["--metric", "kl", "--pos", "2"]), 2, "expected 0 to 1, or -2 to -1");
    refused(&["run", "--model", &micro(), "--tokens", "1", "--metric", "loss"], 2, "two tokens or more");
    let loss = json(&run(&["--metric", "loss", "--json"]));
    assert!(loss["metric"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn nodes_and_edges_have_the_documented_fields() {
    let model = micro();
    let nodes = json(&on_both("attribute", &model, &["--target", "#5", "--distractor", "#9", "--json"]));
    assert_eq!(keys(&nodes), ["contrast_value", "method", "metric", "nodes", "value"]);
    assert_eq!((&nodes["metric"], &nodes["method"]), (&"logit-diff".into(), &"eap".into()));
    let all = nodes["nodes"].as_array().unwrap();
    assert_eq!((all.len(), keys(&all[0])), (11, vec!["node", "score"]));
    let sizes: Vec<f64> = all.iter().map(|node| node["score"].as_f64().unwrap().abs()).collect();
    assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]), "the strongest first");

    let by_edge = ["--by", "edge", "--target", "#5", "--distractor", "#9", "--json"];
    let edges = json(&on_both("attribute", &model, &by_edge));
    let all = edges["edges"].as_array().unwrap();
    assert_eq!((all.len(), keys(&all[0])), (102, vec!["from", "input", "score", "to"]));
    for edge in all {
        let is_head = edge["to"].as_str().unwrap().starts_with('a');
        assert_eq!(edge["input"].is_null(), !is_head, "{edge}");
    }
    for node in nodes["nodes"].as_array().unwrap() {
        let own = all.iter().filter(|edge| edge["from"] == node["node"]);
        let sum: f64 = own.map(|edge| edge["score"].as_f64().unwrap()).sum();
        assert!((sum - node["score"].as_f64().unwrap()).abs() < 1e-5, "{node}: its edges sum to {sum}");
    }
    let top = json(&on_both("attribute", &model, &[&by_edge[..], &["--top", "4", "--method", "exact"]].concat()));
    assert_eq!((top["edges"].as_array().unwrap().len(), &top["method"]), (4, &"exact".into()));
    let text = stdout(&on_both("attribute", &model, &["--metric", "loss", "--method", "eap-ig", "--steps", "2"]));
    assert!(text.starts_with("loss: ") && text.contains("score by eap-ig") && text.contains("a0.h1"), "{text}");
}

#[test]
fn impossible_attributions_are_refused() {
    let model = micro();
    let target = ["--target", "#5"];
    let with =
        |rest: &[&'static str]| on_both("attribute", &model, rest).into_iter().map(String::from).collect::<Vec<_>>();
    let check = |rest: &[&'static str], expected: &str| {
        let args = with(rest);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2, expected);
    };
    check(&[], "--metric logit-diff needs --target TOKEN");
    check(&["--metric", "kl"], "eap-ig or exact");
    check(&["--target", "#5", "--graph", "g.json"], "--by edge");
    check(&["--target", "#5", "--method", "eap-ig", "--steps", "0"], "steps");
    check(&["--target", "#500"], "500");
    let short = ["attribute", "--model", &model, "--tokens", "1,2,3", "--contrast-tokens", "4,5", target[0], target[1]];
    refused(&short, 2, "the contrast prompt has 2 tokens and the prompt 3; expected the same number");
    refused(&["attribute", "--model", &model, "--tokens", "1,2,3", target[0], target[1]], 2, "give --contrast");
}

#[test]
fn a_circuit_is_written_to_a_file_and_read_back() {
    let model = micro();
    let dir = tempfile::tempdir().unwrap();
    let graph = dir.path().join("graph.json").display().to_string();
    let target = ["--target", "#5", "--distractor", "#9"];
    let with = |command, rest: &[&'static str]| [on_both(command, &model, &target), rest.to_vec()].concat();
    let mut write = with("attribute", &["--by", "edge", "--top", "30"]);
    write.extend(["--graph", &graph]);
    stdout(&write);
    let top = json(&with("circuit", &["--top", "30", "--json"]));
    let mut read = with("circuit", &["--json"]);
    read.extend(["--edges", &graph]);
    let read = json(&read);
    assert_eq!(top["edges"].as_array().unwrap().len(), 30);
    let value = |json: &Value| json["circuit_value"].as_f64().unwrap();
    assert!((value(&top) - value(&read)).abs() < 1e-9);
    let [m, contrast] = ["value", "contrast_value"].map(|key| top[key].as_f64().unwrap());
    let expected = (value(&top) - contrast) / (m - contrast);
    assert!((top["faithfulness"].as_f64().unwrap() - expected).abs() < 1e-9);

    let curve = json(&with("circuit", &["--json", "--method", "eap-ig"]));
    let points = curve["curve"].as_array().unwrap();
    let ends = [&points[0], points.last().unwrap()].map(|point| point["faithfulness"].as_f64().unwrap());
    assert!(ends[0].abs() < 1e-4 && (ends[1] - 1.0).abs() < 1e-4, "{ends:?}");
    assert_eq!(points.last().unwrap()["edges"], curve["total_edges"]);

    let mut told = with("circuit", &["--json", "--edit", "blocks.0.attn.hook_z[head=1] = 0"]);
    told.extend(["--edges", &graph]);
    assert!((value(&json(&told)) - value(&read)).abs() > 1e-4, "a circuit runs with edits");

    // the file does not fit another model
    let other = common::fixture("sequential-25").display().to_string();
    let mut wrong = [on_both("circuit", &other, &target), vec!["--edges"]].concat();
    wrong.push(&graph);
    refused(&wrong, 2, "parallel; expected 2 layers of 4 heads, d_model 32, sequential, as this model has");
    let missing = dir.path().join("none.json").display().to_string();
    let mut wrong = with("circuit", &["--edges"]);
    wrong.push(&missing);
    refused(&wrong, 2, "can't read");
    let mut edited = with("circuit", &["--top", "3", "--edit", "blocks.0.ln1.hook_scale *= 2"]);
    edited.push("--json");
    refused(&edited, 2, "a circuit can't run with `blocks.0.ln1.hook_scale *= 2`");
}

#[test]
fn a_score_and_a_logit_are_explained() {
    let model = micro();
    let explain = |rest: &[&str]| -> Vec<String> {
        [&["explain", "--model", &model, "--tokens", "7,3,9,22,41"], rest]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let run = |rest: &[&str]| {
        let args = explain(rest);
        json(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let cell = "blocks.1.attn.hook_attn_scores[head=2 query=-1 key=1]";
    let score = run(&["--cell", cell, "--json"]);
    assert_eq!(keys(&score), ["cell", "key_parts", "matrix", "query_parts", "score", "sum"]);
    assert_eq!(score["cell"], "blocks.1.attn.hook_attn_scores[head=2 query=4 key=1]");
    let parts: Vec<&str> = score["query_parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    assert_eq!(parts, ["embed", "L0H0", "L0H1", "L0H2", "L0H3", "0_mlp_out", "bias"]);
    let sum: f64 = score["matrix"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|x| x.as_f64().unwrap())
        .sum();
    assert!(
        (sum - score["score"].as_f64().unwrap()).abs() < 1e-5 && (sum - score["sum"].as_f64().unwrap()).abs() < 1e-9
    );

    let logit = run(&["--cell", "logits[pos=-1]", "--target", "#5", "--json"]);
    assert_eq!(keys(&logit), ["cell", "matrix", "parts", "score", "sources", "sum", "target"]);
    assert_eq!((logit["matrix"].as_array().unwrap().len(), logit["sources"].as_array().unwrap().len()), (12, 5));
    assert!((logit["score"].as_f64().unwrap() - logit["sum"].as_f64().unwrap()).abs() < 1e-5);

    let no = |rest: &[&str], expected: &str| {
        let args = explain(rest);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2, expected);
    };
    no(&["--cell", "blocks.1.attn.hook_attn_scores[head=2 query=1 key=3]"], "key 3 comes after query 1");
    no(&["--cell", "blocks.1.attn.hook_attn_scores[head=2 query=1]"], "5 indices of key are selected");
    no(&["--cell", "blocks.*.attn.hook_attn_scores[head=2 query=1 key=0]"], "one block's scores");
    no(&["--cell", "blocks.1.attn.hook_patern[head=2]"], "did you mean");
    no(&["--cell", "blocks.1.attn.hook_attn_scores[head=9 query=1 key=0]"], "0 to 3");
    no(&["--cell", "logits"], "--target");
    no(&["--cell", "logits[head=1]", "--target", "#5"], "logits[pos=-1]");
    no(&["--cell", "logits[pos=7]", "--target", "#5"], "expected 0 to 4");
}

#[test]
fn paths_work_like_other_edits() {
    let model = micro();
    let line = "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] = patch";
    let report = json(&on_both("run", &model, &["--edit", line, "--json"]));
    let edit = &report["edits"][0];
    assert_eq!((&edit["edit"], &edit["touched"], &edit["no_effect"]), (&line.into(), &(5 * 32).into(), &Value::Null));
    assert!(edit["delta_l2"].as_f64().unwrap() > 0.0 && edit["kl"].as_f64().unwrap() > 0.0);
    let same = "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] *= 1";
    let report = json(&on_both("run", &model, &["--edit", same, "--json"]));
    assert_eq!(report["edits"][0]["no_effect"], "a factor of 1");
    refused(
        &on_both("run", &model, &["--edit", "blocks.1.hook_mlp_out -> blocks.1.hook_mlp_in = 0"]),
        2,
        "parallel block",
    );
    let later = "blocks.1.hook_mlp_out -> blocks.0.hook_mlp_in = 0";
    refused(&on_both("run", &model, &["--edit", later]), 2, "block 1 comes after block 0");
    refused(&on_both("run", &model, &["--edit", "hook_embed -> hook_embed = 0"]), 2, "a reader's own input");

    // in an experiment file
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("path.toml");
    fs::write(
        &file,
        format!(
            "version = 1\nmodel = '{model}'\ntokens = [7, 3]\ncontrast-tokens = [8, 60]\n[[edit]]\nline = '{line}'\n"
        ),
    )
    .unwrap();
    let report = json(&["run", "--experiment", file.to_str().unwrap(), "--json"]);
    assert_eq!(report["edits"][0]["edit"], line);
}

#[test]
fn a_map_is_estimated() {
    let model = micro();
    let with = |rest: &[&'static str]| on_both("sweep", &model, rest);
    let target = ["--target", "#5", "--distractor", "#9"];
    let exact = json(&with(&[&target[..], &["--patch", "resid_pre", "--json"]].concat()));
    let estimate = json(&with(&[&target[..], &["--patch", "resid_pre", "--estimate", "--json"]].concat()));
    assert_eq!((&exact["estimate"], &estimate["estimate"]), (&false.into(), &true.into()));
    for key in ["metric", "patch", "rows", "columns", "contrast"] {
        assert_eq!(exact[key], estimate[key], "{key}");
    }
    assert_ne!(exact["effect"], estimate["effect"]);
    let every = json(&with(&[&target[..], &["--patch", "block_every", "--estimate", "--json"]].concat()));
    assert_eq!(every.as_array().unwrap().len(), 3);
    refused(&with(&["--estimate", "--metric", "kl"]), 2, "the gradient of kl is 0");
    let csv = stdout(&with(&[&target[..], &["--estimate", "--csv"]].concat()));
    assert_eq!(csv.lines().next(), Some("logit-diff,H0,H1,H2,H3,mlp"));
}

#[test]
fn an_experiment_keeps_a_circuit() {
    let model = micro();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("circuit.toml").display().to_string();
    let write = |circuit: &str| {
        let head = format!(
            "version = 1\nmodel = '{model}'\ntokens = [7, 3, 9, 22, 41]\ncontrast-tokens = [8, 60, 9, 12, 41]\n\
             target = '#5'\ndistractor = '#9'\n"
        );
        fs::write(&file, format!("{head}[circuit]\n{circuit}")).unwrap();
    };
    let run = |rest: &[&str]| json(&[&["circuit", "--experiment", &file, "--json"][..], rest].concat());
    let given = |rest: &[&'static str]| {
        json(&[&on_both("circuit", &model, &["--target", "#5", "--distractor", "#9", "--json"])[..], rest].concat())
    };
    write("method = 'eap-ig'\nsteps = 2\ntop = 9\n");
    assert_eq!(run(&[]), given(&["--method", "eap-ig", "--steps", "2", "--top", "9"]));
    assert_eq!(run(&["--top", "4"]), given(&["--method", "eap-ig", "--steps", "2", "--top", "4"]));
    assert_eq!(run(&["--method", "exact"]), given(&["--method", "exact", "--top", "9"]));
    assert_eq!(run(&["--steps", "3"]), given(&["--method", "eap-ig", "--steps", "3", "--top", "9"]));
    write("metric = 'loss'\n");
    assert_eq!(run(&[]), given(&["--metric", "loss"]));
    let metric = run(&["--metric", "prob", "--top", "3"]);
    assert_eq!((&metric["metric"], metric["edges"].as_array().unwrap().len()), (&"prob".into(), 3));
    write("pos = -2\nedges = ['m0->logits', 'input->a1.h3<v>']\n");
    let listed = run(&[]);
    assert_eq!(listed["edges"], serde_json::json!(["input->a1.h3<v>", "m0->logits"]));
    assert_eq!((&listed["method"], &listed["value"]), (&Value::Null, &given(&["--pos", "3", "--top", "0"])["value"]));
    // other commands check it too, but do not use it
    stdout(&["run", "--experiment", &file]);
    let no = |circuit: &str, rest: &[&str], expected: &str| {
        write(circuit);
        refused(&[&["circuit", "--experiment", &file][..], rest].concat(), 2, expected);
    };
    no("edges = ['m1->m0']", &[], "line 8, column 10");
    no("edges = ['m1->m0']", &[], "earlier component to a later one");
    no("top = 3\nedges = []", &[], "either `top`");
    no("pos = 9", &[], "expected -5 to 4");
    no("method = 'eap'", &["--export-python", "never.py"], "give --top N, --edges FILE");
    no("top = 2", &["--export-python", "never.py", "--dtype", "f16"], "run it with --dtype f32");
}

#[test]
fn a_loss_is_measured_on_the_prompts_tokens_in_both_runs() {
    let model = micro();
    let report = json(&on_both("circuit", &model, &["--metric", "loss", "--json"]));
    let points = report["curve"].as_array().unwrap();
    let ends = [&points[0], points.last().unwrap()].map(|point| point["faithfulness"].as_f64().unwrap());
    assert!(ends[0].abs() < 1e-4 && (ends[1] - 1.0).abs() < 1e-4, "{ends:?}");
}
