//! The command line: output, bad input, exit codes.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Read, path::Path, process::Stdio};

use common::{
    fixture,
    program::{call, copy_of_micro, micro, program, refused, refused_model, stdout},
};
use serde_json::Value;

#[test]
fn hooks_lists_every_hook_in_execution_order() {
    let listing = stdout(&["hooks", "--model", "demo", "Two tokens"]);
    let lines: Vec<&str> = listing.lines().collect();
    assert_eq!(lines.len(), 1 + 18 * 4 + 2);
    assert_eq!(lines[0], "hook_embed [2, 128]");
    assert_eq!(lines[7], "blocks.0.attn.hook_rot_q [2, 4, 32]");
    assert_eq!(lines[9], "blocks.0.attn.hook_attn_scores [4, 2, 2]");
    assert_eq!(lines[74], "ln_final.hook_normalized [2, 128]");
    let enabled =
        stdout(&["hooks", "--model", "demo", "Two tokens", "--enable", "attn.hook_result", "--enable", "hook_tokens"]);
    assert_eq!(enabled.lines().count(), 75 + 5);
    assert!(enabled.starts_with("hook_tokens [2]\n") && enabled.contains("blocks.3.attn.hook_result [2, 4, 128]\n"));
}

#[test]
fn hooks_json_describes_them() {
    let all: Value = serde_json::from_str(&stdout(&["hooks", "--model", "demo", "--json", "Two tokens"])).unwrap();
    let q = all.as_array().unwrap().iter().find(|h| h["name"] == "blocks.1.attn.hook_q").unwrap();
    assert_eq!(q["shape"], serde_json::json!([2, 4, 32]));
    assert_eq!(q["axes"], serde_json::json!(["pos", "head", "d_head"]));
    assert_eq!(
        (q["dims"].as_str(), q["dtype"].as_str(), q["bytes"].as_u64()),
        (Some("[pos, head, d_head]"), Some("f32"), Some(1024))
    );
    assert_eq!(q["tensors"][0]["name"], "gpt_neox.layers.1.attention.query_key_value.weight");
    assert!(all.as_array().unwrap().iter().all(|h| h["description"].as_str().unwrap().len() > 20));
}

#[test]
fn run_json_has_the_documented_fields() {
    let edit = "blocks.0.attn.hook_z[head=3] = 0";
    let report: Value = serde_json::from_str(&stdout(&[
        "run",
        "--model",
        "demo",
        "--json",
        "--top",
        "3",
        "Two tokens",
        "--edit",
        edit,
    ]))
    .unwrap();
    assert_eq!((report["model"].as_str(), report["processing"].as_str()), (Some("demo"), Some("processed")));
    assert!(report["revision"].is_null());
    assert_eq!(report["tokens"][1]["text"], " tokens");
    assert_eq!(report["positions"].as_array().unwrap().len(), 2);
    let top = &report["positions"][1]["top"];
    assert_eq!(top.as_array().unwrap().len(), 3);
    for field in ["id", "text", "logit", "prob", "baseline_prob"] {
        assert!(!top[0][field].is_null(), "{field}");
    }
    assert!(top[0]["prob"].as_f64() >= top[1]["prob"].as_f64());
    let effect = &report["edits"][0];
    assert_eq!((effect["edit"].as_str(), effect["touched"].as_u64()), (Some(edit), Some(64)));
    assert_eq!(effect["kl"], report["positions"][1]["kl"]);
    assert!(effect["delta_l2"].as_f64().unwrap() > 0.0 && report["time_ms"]["run"].as_f64().unwrap() > 0.0);

    let plain: Value = serde_json::from_str(&stdout(&["run", "--model", "demo", "--json", "Two tokens"])).unwrap();
    let first = &plain["positions"][0]["top"][0];
    assert_eq!((&first["prob"], plain["positions"][0]["kl"].as_f64()), (&first["baseline_prob"], Some(0.0)));
}

#[test]
fn save_cache_writes_the_edited_run_in_both_formats() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (tensors, npz) = (file("cache.safetensors"), file("cache.npz"));
    for out in [&tensors, &npz] {
        stdout(&[
            "run",
            "--model",
            &micro(),
            "--tokens",
            "1,2,3",
            "--edit",
            "blocks.1.hook_mlp_out = 7",
            "--save-cache",
            out,
        ]);
    }
    let bytes = fs::read(&tensors).unwrap();
    let cache = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(cache.len(), 1 + 18 * 2 + 2 + 1);
    assert_eq!(cache.tensor("logits").unwrap().shape(), [3, 96]);
    assert_eq!(cache.tensor("blocks.0.attn.hook_pattern").unwrap().shape(), [4, 3, 3]);
    let edited = cache.tensor("blocks.1.hook_mlp_out").unwrap();
    assert!(edited.data().chunks_exact(4).all(|b| f32::from_le_bytes(b.try_into().unwrap()) == 7.0));
    let in_npz = candle_core::npy::NpzTensors::new(&npz).unwrap();
    assert_eq!(in_npz.names().len(), cache.len());
    assert_eq!(in_npz.get("blocks.1.hook_mlp_out").unwrap().unwrap().dims(), [3, 32]);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing but the two files is left");
}

#[test]
fn a_cache_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/cache.npz").display().to_string();
    refused(&["run", "--model", "demo", "Two tokens", "--save-cache", &missing], 1, "can't write");
    let odd = dir.path().join("cache.txt").display().to_string();
    refused(&["run", "--model", "demo", "Two tokens", "--save-cache", &odd], 2, ".safetensors or .npz");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_failed_save_keeps_the_existing_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("cache.safetensors");
    // a file can't replace a directory
    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "data").unwrap();
    refused(&["run", "--model", "demo", "Two tokens", "--save-cache", target.to_str().unwrap()], 1, "can't write");
    assert_eq!(fs::read_to_string(target.join("precious")).unwrap(), "data");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no partial file is left");
}

#[test]
fn unwritable_output_is_an_error_and_not_a_panic() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full here");
        return;
    }
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program(&["hooks", "--model", "demo", "Two tokens"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
    // an unwritable stderr does not affect the result
    let noted = ["run", "--model", "demo", "Two tokens", "--json", "--edit", "blocks.0.attn.hook_attn_scores = -inf"];
    let output = program(&noted).stderr(full()).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty());
}

#[test]
fn broken_models_are_refused_by_name() {
    refused(&["run", "--model", "./no/such/dir", "x"], 1, "no model directory");
    refused(&["run", "--model", "no-such-model", "x"], 1, "no-such-model at revision `main` is not in the");
    refused(&["run", "--model", "no such model", "x"], 1, "expected `demo`, a directory, or a name on the");
    refused(&["run", "--model", "a/b/c", "x"], 1, "expected `demo`, a directory, or a name on the");
    refused(&["run", "x"], 1, "pythia-70m-deduped");
    refused_model(tempfile::tempdir().unwrap().path(), "has no config.json");
    let config = |text: &str| {
        let text = text.to_string();
        copy_of_micro(move |dir| fs::write(dir.join("config.json"), text).unwrap())
    };
    refused_model(config("{").path(), "not valid JSON");
    refused_model(config(r#"{"model_type": "llama"}"#).path(), "\"llama\"");
    refused_model(config(r#"{"model_type": "gpt_neox"}"#).path(), "is missing");
    let without = copy_of_micro(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
    refused_model(without.path(), "has no model.safetensors");
    for keep in [4, 1000, 50_000] {
        let cut = copy_of_micro(|dir| {
            let bytes = fs::read(dir.join("model.safetensors")).unwrap();
            fs::write(dir.join("model.safetensors"), &bytes[..keep]).unwrap();
        });
        refused_model(cut.path(), "truncated");
    }
    let noise = copy_of_micro(|dir| fs::write(dir.join("model.safetensors"), vec![0x7f; 4096]).unwrap());
    refused_model(noise.path(), "not a readable file of weights");
    let broken_tokenizer = copy_of_micro(|dir| fs::write(dir.join("tokenizer.json"), "[]").unwrap());
    refused_model(broken_tokenizer.path(), "tokenizer.json");
}

#[test]
fn tensors_that_do_not_fit_are_named_with_both_shapes() {
    let dir = copy_of_micro(|dir| {
        let text = fs::read_to_string(dir.join("config.json")).unwrap();
        fs::write(dir.join("config.json"), text.replace("\"intermediate_size\": 96", "\"intermediate_size\": 64"))
            .unwrap();
    });
    refused_model(dir.path(), "layers.0.mlp.dense_h_to_4h.weight: expected shape [64, 32], found [96, 32]");
    let dir = copy_of_micro(|dir| {
        let text = fs::read_to_string(dir.join("config.json")).unwrap();
        fs::write(dir.join("config.json"), text.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"))
            .unwrap();
    });
    let output = call(&["run", "--model", &dir.path().display().to_string(), "--tokens", "1,2"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("note: the checkpoint has 12 tensors"), "{stderr}");
    let dir = copy_of_micro(|dir| {
        let text = fs::read_to_string(dir.join("config.json")).unwrap();
        fs::write(dir.join("config.json"), text.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"))
            .unwrap();
    });
    refused_model(dir.path(), "missing gpt_neox.layers.2.input_layernorm.weight: expected shape [32]");
}

/// Rewrites the micro checkpoint as two f32 shards with the buffers of old checkpoints.
#[test]
fn shards_dtypes_and_buffers_change_nothing() {
    use candle_core::{DType, Device, safetensors};
    use std::collections::HashMap;
    let tensors = safetensors::load(fixture("parallel-25").join("model.safetensors"), &Device::Cpu).unwrap();
    let dir = copy_of_micro(|dir| {
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        let (mut shards, mut map) = ([HashMap::new(), HashMap::new()], HashMap::new());
        for (i, (name, tensor)) in tensors.iter().enumerate() {
            shards[i % 2].insert(name.clone(), tensor.to_dtype(DType::F32).unwrap());
            map.insert(name.clone(), format!("model-0000{}-of-00002.safetensors", i % 2 + 1));
        }
        let buffer = candle_core::Tensor::zeros((1, 1, 4, 4), DType::U8, &Device::Cpu).unwrap();
        shards[0].insert("gpt_neox.layers.0.attention.bias".into(), buffer.clone());
        shards[0].insert("gpt_neox.layers.0.attention.masked_bias".into(), buffer.clone());
        shards[1].insert("gpt_neox.layers.1.attention.rotary_emb.inv_freq".into(), buffer);
        for (i, shard) in shards.iter().enumerate() {
            safetensors::save(shard, dir.join(format!("model-0000{}-of-00002.safetensors", i + 1))).unwrap();
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": map});
        fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    let positions = |model: &str| -> Value {
        let report: Value =
            serde_json::from_str(&stdout(&["run", "--json", "--model", model, "--tokens", "5,6,7"])).unwrap();
        report["positions"].clone()
    };
    assert_eq!(positions(dir.path().to_str().unwrap()), positions(&micro()));
    fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    refused_model(dir.path(), "model-00002-of-00002.safetensors");
}

#[test]
fn a_model_in_the_hub_cache_is_found_by_name() {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--EleutherAI--pythia-tiny");
    let snapshot = repository.join("snapshots/0123456789abcdef");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123456789abcdef").unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture("parallel-25").join(file), snapshot.join(file)).unwrap();
    }
    let output = program(&["run", "--json", "--model", "pythia-tiny", "--tokens", "1"])
        .env("HF_HUB_CACHE", cache.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["model"].as_str(), report["revision"].as_str()),
        (Some("pythia-tiny"), Some("0123456789abcdef"))
    );
}

#[test]
fn bad_prompts_are_refused() {
    refused(&["run", "--model", "demo", ""], 2, "no tokens");
    refused(&["run", "--model", "demo"], 2, "a prompt is needed");
    refused(&["run", "--model", "demo", &"word ".repeat(3000)], 2, "context holds 512");
    refused(&["run", "--model", "demo", "--tokens", "1,99999"], 2, "99999 is out of range");
    refused(&["run", "--model", "demo", "--tokens", "1,x"], 2, "x");
    refused(&["run", "--model", &micro(), "text"], 2, "--tokens");
    refused(&["run", "--model", "demo", "--frobnicate", "x"], 2, "--frobnicate");
}

#[test]
fn bad_edits_are_refused_with_the_mistake_marked() {
    let edit =
        |line: &str, expected: &str| refused(&["run", "--model", "demo", "Two tokens", "--edit", line], 2, expected);
    edit("blocks.0.attn.hook_zz = 0", "did you mean `blocks.0.attn.hook_z`");
    edit("blocks.0.attn.hook_zz = 0", "\n           ^^^^^^^^^^^^");
    edit("blocks.0.attn.hook_z[haed=0] = 0", "did you mean `head`");
    edit("blocks.9.attn.hook_z = 0", "blocks 0 to 3");
    edit("blocks.0.attn.hook_z[head=7] = 0", "head 0 to 3");
    edit("blocks.0.attn.hook_z = zero", "is not a number");
    edit("blocks.0.attn.hook_z = patch", "--contrast");
    edit("blocks.0.attn.hook_z = 1e-60", "too small");
    let both = [
        "run",
        "--model",
        "demo",
        "x",
        "--enable",
        "hook_attn_in",
        "--enable",
        "hook_q_input",
        "--edit",
        "blocks.0.hook_attn_in = 0",
    ];
    refused(&both, 2, "nothing reads");
    refused(&["hooks", "--model", "demo", "x", "--enable", "hook_z"], 2, "--enable");
    refused(&["hooks", "--model", "demo", "x", "--enable", "hook_embed"], 2, "always on");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = program(&["hooks", "--model", "demo", "--json", "Two tokens"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(status.success(), "{stderr}");
    assert!(stderr.is_empty(), "{stderr}");
}

#[test]
fn the_explorer_needs_a_terminal_and_says_so() {
    refused(&["--model", "demo", "Two tokens"], 2, "needs a terminal");
}

#[test]
fn help_and_completions_are_printed() {
    assert!(stdout(&["--help"]).contains("--edit"));
    assert!(stdout(&["completions", "bash"]).contains("pythia-tui"));
    // as the completion script asks
    let ask = |words: &[&str]| {
        let mut asked = program(&[&["--", "pythia-tui"], words].concat());
        asked.env("PYTHIA_TUI_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        String::from_utf8(asked.env("_CLAP_IFS", " ").output().unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&["--model", "pythia-41"]), "pythia-410m pythia-410m-deduped");
    assert_eq!(ask(&["run", "--revision", "step25"]), "step256 step25000");
    assert_eq!(ask(&["mod"]), "models");
}

#[test]
fn device_precision_and_threads_can_be_chosen() {
    let run = |more: &[&str]| -> Value {
        let args = [&["run", "--model", "demo", "--json", "Two tokens"], more].concat();
        serde_json::from_str(&stdout(&args)).unwrap()
    };
    assert_eq!(run(&[])["device"], "cpu f32");
    assert_eq!(run(&["--device", "cpu", "--dtype", "bf16"])["device"], "cpu bf16");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    run(&["--threads", "1", "--log", log.to_str().unwrap()]);
    assert!(fs::read_to_string(&log).unwrap().contains("Demo, processed, cpu f32: loaded"));
    refused(&["run", "--model", "demo", "--device", "gpu", "x"], 2, "expected one of auto, cpu, cuda, metal");
    refused(&["run", "--model", "demo", "--dtype", "f61", "x"], 2, "expected one of f32, f16, bf16");
    refused(&["run", "--model", "demo", "--threads", "0", "x"], 2, "--threads");
    refused(&["run", "--model", "demo", "--log", "/nonexistent/log", "x"], 1, "--log /nonexistent/log");
    if !cfg!(feature = "cuda") {
        refused(&["run", "--model", "demo", "--device", "cuda:1", "x"], 1, "--features cuda` builds it");
    }
    if !cfg!(feature = "metal") {
        refused(&["run", "--model", "demo", "--device", "metal", "x"], 1, "--features metal` builds it");
    }
    let all: Value =
        serde_json::from_str(&stdout(&["hooks", "--model", "demo", "--dtype", "f16", "--json", "x"])).unwrap();
    let of = |name: &str| all.as_array().unwrap().iter().find(|h| h["name"] == name).unwrap()["dtype"].clone();
    assert_eq!((of("blocks.0.attn.hook_q"), of("blocks.0.attn.hook_pattern")), ("f16".into(), "f32".into()));
}

#[test]
fn models_lists_the_known_sizes() {
    let list = stdout(&["models"]);
    assert!(list.lines().any(|line| line.starts_with("pythia-12b-deduped ") && line.contains("47.38 GB")), "{list}");
    let all: Value = serde_json::from_str(&stdout(&["models", "--json"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 19);
    assert_eq!(all[3]["parameters"], 70_426_624);
}

#[test]
fn structure_prints_hooks_and_modules() {
    let hooks = stdout(&["structure", "--hooks", "--model", &micro()]);
    // 2 blocks of 25 hooks, and 4 outside them
    assert_eq!(hooks.lines().count(), 2 * 25 + 4);
    let z = hooks.lines().find(|line| line.starts_with("blocks.1.attn.hook_z ")).unwrap();
    assert!(
        z.contains("[pos, 4 head, 8 d_head]") && z.contains("gpt_neox.layers.1.attention.dense (input, by head)"),
        "{z}"
    );
    assert!(hooks.lines().any(|line| line.contains("hook_resid_mid") && line.contains("derived")));

    // every hook belongs to one module
    let json: Vec<Value> =
        serde_json::from_str(&stdout(&["structure", "--hf", "--json", "--model", &micro()])).unwrap();
    let mut placed: Vec<(String, String)> = json
        .iter()
        .flat_map(|module| {
            let path = module["path"].as_str().unwrap().to_string();
            module["hooks"]
                .as_array()
                .unwrap()
                .iter()
                .map(move |h| (h["name"].as_str().unwrap().to_string(), path.clone()))
        })
        .collect();
    let json: Vec<Value> = serde_json::from_str(&stdout(&["structure", "--json", "--model", &micro()])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let mut named: Vec<(String, String)> =
        json.iter().map(|hook| (text(&hook["name"]), text(&hook["module"]))).collect();
    placed.sort();
    named.sort();
    assert_eq!(placed, named);
    // the weights are not read
    let dir = copy_of_micro(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
    assert_eq!(stdout(&["structure", "--hooks", "--model", dir.path().to_str().unwrap()]), hooks);
    refused(&["structure", "--hf", "--hooks", "--model", "demo"], 2, "cannot be used with");
}

#[test]
fn an_experiment_runs_as_its_arguments_would() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let path = file.to_str().unwrap();
    let text = format!(
        "version = 1\nmodel = {:?}\nprocessing = \"unprocessed\"\ntokens = [5, 6, 7]\ncontrast-tokens = [5, 9, 7]\n\
         enable = [\"blocks.0.attn.hook_result\"]\nmetric = \"prob\"\ntarget = \"#4\"\n\
         [[edit]]\nline = \"blocks.0.attn.hook_result[head=1] = patch\"\n\
         [[edit]]\nline = \"hook_embed = 0\"\non = false\n",
        micro()
    );
    fs::write(&file, &text).unwrap();
    let report = |args: &[&str]| -> Value {
        let mut report: Value = serde_json::from_str(&stdout(args)).unwrap();
        report["time_ms"] = Value::Null;
        report
    };
    let model = micro();
    let spelt = [
        "run",
        "--model",
        &model,
        "--no-processing",
        "--tokens",
        "5,6,7",
        "--contrast-tokens",
        "5,9,7",
        "--enable",
        "blocks.0.attn.hook_result",
        "--edit",
        "blocks.0.attn.hook_result[head=1] = patch",
        "--json",
    ];
    assert_eq!(report(&["run", "--experiment", path, "--json"]), report(&spelt));
    // other arguments override the file; edits are appended
    let beside =
        report(&["run", "--experiment", path, "--tokens", "8,9,7", "--edit", "blocks.1.hook_mlp_out = 0", "--json"]);
    assert_eq!((beside["tokens"][0]["id"].as_u64(), beside["edits"].as_array().unwrap().len()), (Some(8), 2));
    let swept: Value = serde_json::from_str(&stdout(&["sweep", "--experiment", path, "--json"])).unwrap();
    assert_eq!((swept["metric"].as_str(), swept["baseline"]["target"]["id"].as_u64()), (Some("prob"), Some(4)));

    let wrong = |from: &str, to: &str, expected: &str| {
        let bad = dir.path().join("bad.toml");
        fs::write(&bad, text.replacen(from, to, 1)).unwrap();
        refused(&["run", "--experiment", bad.to_str().unwrap()], 2, expected);
    };
    wrong("version = 1", "version = 2", "bad.toml, line 1, column 11: this experiment has version 2");
    wrong("metric", "metrik", "line 7, column 1: unknown field `metrik`");
    wrong("head=1", "head=4", "line 10, column 8: `blocks.0.attn.hook_result[head=4] = patch`: head 4 is out of range");
    wrong(
        "contrast-tokens = [5, 9, 7]",
        "contrast-tokens = [5, 7]",
        "line 10, column 8: `blocks.0.attn.hook_result[head=1] = patch`: the contrast prompt has 2 tokens",
    );
    wrong("hook_embed", "hook_embedd", "line 12, column 9: there is no hook `hook_embedd`; did you mean `hook_embed`?");
    wrong("tokens = [5, 6, 7]", "tokens = [5, 6, 700]", "line 4, column 10");
    wrong("enable = [\"blocks.0.attn.hook_result\"]", "", "off by default");
    wrong("\"#4\"", "\"#400\"", "line 8, column 10");
    refused(&["run", "--experiment", "/nonexistent/a.toml"], 2, "can't read /nonexistent/a.toml");
}

#[test]
fn a_patching_map_needs_matching_prompts() {
    let model = micro();
    let sweep = |rest: &[&str]| -> Vec<String> {
        let args = ["sweep", "--model", &model, "--tokens", "5,6,7", "--contrast-tokens"]
            .into_iter()
            .chain(rest.iter().copied());
        args.map(String::from).collect()
    };
    let refused_sweep = |rest: &[&str], expected: &str| {
        let args = sweep(rest);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2, expected);
    };
    // even if the other prompt has every position of this one
    refused_sweep(&["5,9,7,8", "--patch", "resid_pre"], "the contrast prompt has 4 tokens and the prompt 3");
    refused_sweep(&["5", "--patch", "resid_pre"], "the contrast prompt has 1 tokens and the prompt 3");
    refused_sweep(&["5,6,7", "--patch", "resid_pre"], "no scale between them");
    refused_sweep(&["5,9,7", "--patch", "nothing"], "there is no patching map `nothing`");
    let args = sweep(&["5,9,7", "--patch", "block_every", "--json"]);
    let maps: Value = serde_json::from_str(&stdout(&args.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let names: Vec<_> = maps.as_array().unwrap().iter().map(|map| map["patch"].as_str().unwrap()).collect();
    assert_eq!(names, ["resid_pre", "attn_out", "mlp_out"]);
}

#[test]
fn bench_measures_the_requested_lengths() {
    let model = micro();
    let report: Value =
        serde_json::from_str(&stdout(&["bench", "--model", &model, "--lengths", "2,3", "--repeats", "1", "--json"]))
            .unwrap();
    assert_eq!(report.as_array().unwrap().len(), 2);
    for key in ["forward_ms", "run_with_cache_ms", "rerun_last_block_ms", "sweep_heads_ms"] {
        assert!(report[1][key].as_f64().unwrap() > 0.0, "{key}");
    }
    refused(&["bench", "--model", &model, "--lengths", "2,9999"], 2, "expected 1 to 256");
}

/// A checkpoint in which the embedding of token 3 is infinite, as f16 stores a number out of its range.
fn overflowing() -> tempfile::TempDir {
    copy_of_micro(|dir| {
        let path = dir.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let at = json["gpt_neox.embed_in.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
        // a row is 32 numbers of 2 bytes
        for number in bytes[8 + header + at + 3 * 64..][..64].chunks_exact_mut(2) {
            number.copy_from_slice(&0x7c00u16.to_le_bytes());
        }
        fs::write(path, bytes).unwrap();
    })
}

#[test]
fn logits_that_are_nan_are_not_ranked() {
    let dir = overflowing();
    let model = dir.path().to_str().unwrap();
    let run = |args: &[&str]| stdout(&[&["run", "--model", model], args].concat());
    let json = |args: &[&str]| -> Value { serde_json::from_str(&run(&[args, &["--json"]].concat())).unwrap() };
    // at all positions: earlier ones attend to it with weight 0, and 0 times infinity is NaN
    for position in json(&["--tokens", "5,9,3"])["positions"].as_array().unwrap() {
        assert_eq!((&position["kl"], &position["top"]), (&Value::Null, &Value::Array(vec![])));
    }
    let found = json(&["--tokens", "5,9"]);
    let position = &found["positions"][1];
    assert_eq!((&position["kl"], position["top"].as_array().unwrap().len()), (&Value::from(0.0), 5));
    assert!(run(&["--tokens", "5,9,3"]).contains("the logits are NaN"));
    let edited = json(&["--tokens", "5,9", "--edit", "blocks.0.hook_resid_post = inf"]);
    assert_eq!(edited["positions"][1]["top"], Value::Array(vec![]));
    assert!(edited["positions"][1]["kl"].is_null() && edited["edits"][0]["kl"].is_null(), "{edited}");
    // with no likeliest token, there is no default target
    refused(&["sweep", "--model", model, "--tokens", "5,3"], 1, "name one with --target");
}

#[test]
fn an_infinite_logit_comes_first_and_has_no_probability() {
    let edit = ["--tokens", "5,9", "--edit", "ln_final.hook_normalized[d_model=0] = inf"];
    let found: Value =
        serde_json::from_str(&stdout(&[&["run", "--model", &micro(), "--json"], &edit[..]].concat())).unwrap();
    let position = &found["positions"][1];
    assert!(position["kl"].is_null());
    for token in position["top"].as_array().unwrap() {
        assert!(token["logit"].is_null() && token["prob"].is_null(), "{token}");
        assert!(token["baseline_prob"].as_f64().unwrap() > 0.0);
    }
    assert!(stdout(&[&["run", "--model", &micro()], &edit[..]].concat()).contains("logit inf, no probability"));
}

#[test]
fn sweep_csv_has_unique_labels_and_no_nan() {
    let table = |args: &[&str]| -> Vec<Vec<String>> {
        let text = stdout(&[&["sweep", "--model", &micro(), "--csv", "--tokens", "5,9,7"], args].concat());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|record| record.unwrap().iter().map(String::from).collect()).collect()
    };
    let block_every = ["--patch", "block_every", "--contrast-tokens", "5,8,7"];
    for (args, name, rows) in
        [(&[][..], "kl", 2), (&block_every, "logit-diff", 6), (&["--edit", "hook_embed = inf"], "kl", 2)]
    {
        let lines = table(args);
        assert_eq!((lines[0][0].as_str(), lines.len()), (name, rows + 1), "{lines:?}");
        let unique = |labels: Vec<&String>| {
            let set: std::collections::BTreeSet<_> = labels.iter().collect();
            assert!(set.len() == labels.len() && labels.iter().all(|label| !label.is_empty()), "{labels:?}");
        };
        unique(lines[0].iter().collect());
        unique(lines.iter().map(|line| &line[0]).collect());
        let numbers = || lines[1..].iter().flat_map(|line| &line[1..]);
        match args.first() {
            Some(&"--edit") => assert!(numbers().all(String::is_empty)),
            _ => assert!(numbers().all(|x| x.parse::<f64>().unwrap().is_finite())),
        }
    }
}
