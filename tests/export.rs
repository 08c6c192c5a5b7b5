//! The script that repeats a run with the reference, run with the reference where that is installed.
//!
//! Extra: wants a Python with transformer-lens 2.18.0, named by REFERENCE_PYTHON or else `python3`; skipped without.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{io::Write, path::Path, process::Command};

use serde_json::{Value, json};

/// A Python that has the reference, or why there is none.
fn reference() -> Result<String, String> {
    let python = std::env::var("REFERENCE_PYTHON").unwrap_or_else(|_| "python3".into());
    let check =
        "from importlib.metadata import version as v; assert v('transformer-lens') == '2.18.0', v('transformer-lens')";
    let found = Command::new(&python).args(["-c", check]).output().map_err(|e| format!("{python}: {e}"))?;
    let error = String::from_utf8_lossy(&found.stderr).lines().last().unwrap_or_default().to_string();
    if found.status.success() { Ok(python) } else { Err(format!("{python}: {error}")) }
}

fn export(model: &str, args: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.py");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pythia-tui"));
    command.args(["run", "--model", model, "--export-python", path.to_str().unwrap()]).args(args);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read_to_string(path).unwrap()
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).to_str().unwrap().into()
}

const PROMPTS: [&str; 4] = ["--tokens", "5,17,3,88,41,9", "--contrast-tokens", "5,17,60,88,2,9"];

/// Every operation, on every kind of selection.
const EDITS: [&str; 11] = [
    "blocks.0.attn.hook_z[head=3] = 0",
    "blocks.*.attn.hook_z[head=0,2:4 pos=-1] *= -0.7",
    "blocks.0.hook_mlp_out = mean",
    "blocks.1.attn.hook_pattern[head=2 query=-1 key=0] += 0.25",
    "blocks.1.attn.hook_attn_scores[head=1] = mean",
    "blocks.0.attn.hook_attn_scores[key=0 query=2:] = -inf",
    "blocks.1.attn.hook_v[pos=2:5 d_head=1] = patch",
    "blocks.0.hook_resid_post[pos=-1] = patch",
    "blocks.1.ln2.hook_scale[pos=0,3] = freeze",
    "blocks.1.mlp.hook_post += noise 0.3 seed 12",
    "ln_final.hook_normalized[d_model=0:8] *= 0.5",
];

/// Every opt-in hook, some in one block alone.
const OPT_IN: [(&str, &str); 4] = [
    ("hook_tokens", "hook_tokens[pos=1] = 11"),
    ("blocks.1.hook_mlp_in", "blocks.1.hook_mlp_in[pos=0] *= 2"),
    ("blocks.0.attn.hook_result", "blocks.0.attn.hook_result[head=2] = mean"),
    ("blocks.1.hook_k_input", "blocks.1.hook_k_input[head=1 pos=3:] += 0.5"),
];

#[test]
fn scripts_hold_with_the_reference() {
    let python = match reference() {
        Ok(python) => python,
        // past the capture of tests that succeed
        Err(why) => return drop(writeln!(std::io::stderr(), "skipped: no reference to run the script with ({why})")),
    };
    let edits: Vec<&str> = PROMPTS.into_iter().chain(EDITS.iter().flat_map(|line| ["--edit", line])).collect();
    let opt_in = OPT_IN.iter().flat_map(|(hook, line)| ["--enable", hook, "--edit", line]);
    let opt_in: Vec<&str> = PROMPTS.into_iter().chain(opt_in).collect();
    let mid: Vec<&str> =
        PROMPTS.into_iter().chain(["--edit", "blocks.0.hook_resid_mid[pos=2] = 0", "--no-processing"]).collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.py");
    let run = |script: &str| {
        std::fs::write(&path, script).unwrap();
        Command::new(&python).arg(&path).output().unwrap()
    };
    for (model, args) in
        [("parallel-25", &edits), ("parallel-100", &opt_in), ("sequential-25", &edits), ("sequential-25", &mid)]
    {
        let out = run(&export(&fixture(model), args));
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success() && text.ends_with("equal\n"),
            "{model}: {text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    for (name, changes) in configs() {
        let model = with_settings(name, &changes);
        for processing in [&[][..], &["--no-processing"]] {
            let out = run(&export(model.path().to_str().unwrap(), &[edits.as_slice(), processing].concat()));
            let text = String::from_utf8_lossy(&out.stdout);
            let error = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success() && text.ends_with("equal\n"), "{changes}: {text}{error}");
        }
    }
    // and it does not hold when the run was another
    let script = export(&fixture("parallel-25"), &edits);
    assert!(!run(&script.replacen("0.699999", "0.6", 1)).status.success());
}

/// Ways to write the settings of a micro checkpoint that the script can't take from `transformers`'s reading of them: fields
/// to set, or with null to leave out.
fn configs() -> [(&'static str, Value); 7] {
    let rope = |base: f64, fraction: f64| json!({"rope_type": "default", "rope_theta": base, "partial_rotary_factor": fraction});
    [
        ("parallel-25", json!({"rope_parameters": rope(500_000.0, 0.5), "rotary_pct": null, "rotary_emb_base": null})),
        ("parallel-25", json!({"rope_parameters": rope(12_345.678, 1.0)})),
        ("parallel-100", json!({"rotary_emb_base": 777.25, "layer_norm_eps": 0.05})),
        ("sequential-25", json!({"rope_scaling": rope(2000.0, 0.75), "hidden_act": "gelu_new"})),
        ("sequential-100", json!({"hidden_act": "relu", "layer_norm_eps": 1e-12})),
        ("parallel-25", json!({"hidden_act": "swish", "tie_word_embeddings": true})),
        (
            "parallel-25",
            json!({"hidden_act": null, "rotary_pct": null, "layer_norm_eps": null, "use_parallel_residual": null}),
        ),
    ]
}

/// A micro checkpoint with other settings.
fn with_settings(name: &str, changes: &Value) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = std::fs::read(format!("{}/config.json", fixture(name))).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(field)),
            value => config[field] = value.clone(),
        }
    }
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(format!("{}/{weights}", fixture(name)), directory.path().join(weights)).unwrap();
    directory
}

#[test]
fn a_script_states_the_settings_however_they_are_written() {
    let script = |at: usize| {
        let (name, changes) = &configs()[at];
        export(with_settings(name, changes).path().to_str().unwrap(), &PROMPTS)
    };
    let stated = |script: &str, parts: &[&str]| {
        for part in parts {
            assert!(script.contains(part), "{part}\n{script}");
        }
    };
    stated(
        &script(0),
        &[
            "n_layers=2, n_heads=4, d_model=32, d_head=8, d_mlp=96, d_vocab=96, n_ctx=256,",
            "act_fn=\"gelu\", eps=1e-5, parallel_attn_mlp=True, positional_embedding_type=\"rotary\",",
            "rotary_dim=4, rotary_base=500000.0, rotary_adjacent_pairs=False)",
            "TIED = False",
        ],
    );
    stated(&script(2), &["eps=0.05,", "rotary_dim=8, rotary_base=777.25,"]);
    stated(&script(3), &["act_fn=\"gelu_new\"", "parallel_attn_mlp=False", "rotary_dim=6, rotary_base=2000.0,"]);
    stated(&script(5), &["act_fn=\"silu\"", "TIED = True"]);
    // nothing is read again
    assert!(!script(0).contains("hf.config") && !script(0).contains("getattr"));
}

#[test]
fn a_script_holds_the_run() {
    let args: Vec<&str> =
        PROMPTS.into_iter().chain(["--edit", "blocks.1.attn.hook_v[pos=2:5 d_head=1] = patch"]).collect();
    let script = export(&fixture("parallel-25"), &args);
    for part in [
        "TOKENS = [5, 17, 3, 88, 41, 9]",
        "CONTRAST = [5, 17, 60, 88, 2, 9]",
        "PROCESSED = True",
        "(\"blocks.1.attn.hook_v[pos=2:5 d_head=1] = patch\", \"patch\", None, 0, [",
        "(\"blocks.1.attn.hook_v\", [[2, 3, 4], None, [1]], [[2, 3, 4], None, [1]]),",
    ] {
        assert!(script.contains(part), "{part}\n{script}");
    }
}
