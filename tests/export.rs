//! Exported scripts, run with TransformerLens where it is installed.
//!
//! `REFERENCE_PYTHON` names a Python with transformer-lens 2.18.0, `REFERENCE_PYTHON_4` one with 4.3.0; the default is
//! `python3`. Tests whose version is not installed are skipped and say so.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

/// The Python that a variable names, if it has this version of TransformerLens; otherwise stderr says why the test is
/// skipped.
fn reference(variable: &str, version: &str) -> Option<String> {
    let python = std::env::var(variable).unwrap_or_else(|_| "python3".into());
    let check = format!(
        "from importlib.metadata import version as v; f = v('transformer-lens'); assert f == '{version}', 'it has ' + f"
    );
    let why = match Command::new(&python).args(["-c", &check]).output() {
        Ok(out) if out.status.success() => return Some(python),
        Ok(out) => String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().to_string(),
        Err(error) => error.to_string(),
    };
    // bypasses the captured output, which is hidden if the test passes
    let mut stderr = std::io::stderr();
    let wanted = format!("{variable} names no Python with transformer-lens {version}");
    writeln!(stderr, "skipped: exported scripts with {version}, because {wanted} ({python}: {why})").unwrap();
    None
}

fn export(model: &str, args: &[&str]) -> String {
    export_of("run", model, args)
}

fn export_of(what: &str, model: &str, args: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.py");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pythia-tui"));
    command.args([what, "--model", model, "--export-python", path.to_str().unwrap()]).args(args);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read_to_string(path).unwrap()
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).to_str().unwrap().into()
}

const PROMPTS: [&str; 4] = ["--tokens", "5,17,3,88,41,9", "--contrast-tokens", "5,17,60,88,2,9"];

/// Every operation on every kind of selection.
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

/// Paths to every receiver, several to one, and with edits of the hooks along the way.
const PATHS: [&str; 9] = [
    "blocks.0.hook_mlp_out += noise 0.3 seed 12",
    "blocks.*.ln1.hook_scale *= 1.5",
    "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] = patch",
    "blocks.0.hook_mlp_out[pos=2:] -> blocks.1.hook_q_input[head=1:3] *= -2",
    "hook_embed -> blocks.1.hook_k_input[head=0] = mean",
    "blocks.0.attn.hook_result -> blocks.1.hook_v_input[head=3 pos=-1] = 0",
    "hook_embed -> blocks.*.hook_mlp_in[d_model=4:] = freeze",
    "blocks.1.attn.hook_q[head=2 pos=3] += 0.5",
    "blocks.1.attn.hook_result[head=2,3] -> blocks.1.hook_resid_post += 0.1",
];

/// Edits with vectors: of streams, heads and what a path sends.
const STEERED: [&str; 5] = [
    "blocks.0.hook_resid_post += 2 * out",
    "blocks.1.hook_resid_pre[pos=1:] -= proj in",
    "blocks.1.attn.hook_z[head=1:3] += 1.5 * out",
    "blocks.1.attn.hook_v -= proj in",
    "hook_embed -> blocks.1.hook_mlp_in += 0.5 * out",
];

const VECTORS: [&str; 4] = ["--vector", "out=unembed:#7", "--vector", "in=embed:#3"];

/// Every opt-in hook, some of them in one block only.
const OPT_IN: [(&str, &str); 4] = [
    ("hook_tokens", "hook_tokens[pos=1] = 11"),
    ("blocks.1.hook_mlp_in", "blocks.1.hook_mlp_in[pos=0] *= 2"),
    ("blocks.0.attn.hook_result", "blocks.0.attn.hook_result[head=2] = mean"),
    ("blocks.1.hook_k_input", "blocks.1.hook_k_input[head=1 pos=3:] += 0.5"),
];

/// Edits that TransformerLens 4.3.0 can't repeat: checkpoint, hook to enable, line, further arguments, and reason.
const REFUSED: [(&str, &str, &str, &[&str], &str); 5] = [
    ("parallel-25", "", "blocks.0.attn.hook_rot_q[pos=2] = 0", &[], "it does not compute this value"),
    ("parallel-25", "hook_tokens", "hook_tokens[pos=1] = 11", &[], "it does not compute this value"),
    ("sequential-25", "", "blocks.0.hook_resid_mid[pos=2] = 0", &[], "this edit reaches only the MLP"),
    (
        "parallel-25",
        "",
        "ln_final.hook_normalized[pos=0] = 0",
        &["--no-processing"],
        "before LayerNorm's weight and bias",
    ),
    (
        "parallel-25",
        "blocks.0.hook_attn_in",
        "blocks.0.hook_attn_in[pos=0] = 0",
        &["--enable", "blocks.1.hook_q_input", "--edit", "blocks.1.hook_q_input[pos=0] = 0"],
        "together with hook_q_input",
    ),
];

/// The arguments of a run on both prompts with these edits; each edit comes with the hook to enable for it, or an empty name.
fn arguments<'a>(edits: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let enable = |hook: &'a str| if hook.is_empty() { vec![] } else { vec!["--enable", hook] };
    let edits = edits.into_iter().flat_map(|(hook, line)| [enable(hook), vec!["--edit", line]].concat());
    PROMPTS.into_iter().chain(edits).collect()
}

fn plain<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    arguments(lines.iter().map(|line| ("", *line)))
}

fn run_script(python: &str, script: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.py");
    std::fs::write(&path, script).unwrap();
    Command::new(python).arg(&path).output().unwrap()
}

/// Export a run of the checkpoint in a directory, and run the script.
fn holds(python: &str, model: &str, args: &[&str]) {
    passes(python, &export(model, args), model, args);
}

fn passes(python: &str, script: &str, model: &str, args: &[&str]) {
    let out = run_script(python, script);
    let text = String::from_utf8_lossy(&out.stdout);
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.ends_with("equal\n"), "{model} {args:?}: {text}{error}");
}

/// Run the scripts that pass in every version. `unprocessed` are the edits to try without processing.
fn hold(python: &str, opt_in: &[(&'static str, &'static str)], unprocessed: &[&'static str]) {
    holds(python, &fixture("parallel-25"), &plain(&EDITS));
    holds(python, &fixture("sequential-25"), &plain(&EDITS));
    holds(python, &fixture("parallel-100"), &arguments(opt_in.iter().copied()));
    for model in ["parallel-25", "sequential-25"] {
        holds(python, &fixture(model), &plain(&PATHS));
        holds(python, &fixture(model), &[plain(&PATHS), vec!["--no-processing"]].concat());
    }
    holds(python, &fixture("parallel-25"), &[plain(&STEERED), VECTORS.to_vec()].concat());
    holds(python, &fixture("sequential-25"), &[plain(&STEERED), VECTORS.to_vec(), vec!["--no-processing"]].concat());
    let on = ["blocks.1.hook_q_input", "blocks.1.hook_k_input", "blocks.1.hook_v_input", "attn.hook_result"];
    let unscaled: Vec<&str> =
        PATHS.into_iter().filter(|line| !line.contains("ln1") && !line.contains("mlp_in")).collect();
    let enabled = on.into_iter().flat_map(|hook| ["--enable", hook]);
    holds(python, &fixture("parallel-25"), &plain(&unscaled).into_iter().chain(enabled).collect::<Vec<_>>());
    for (name, changes) in configs() {
        let directory = with_settings(name, &changes);
        let model = directory.path().to_str().unwrap();
        holds(python, model, &plain(&EDITS));
        holds(python, model, &[plain(unprocessed), vec!["--no-processing"]].concat());
    }
    // the script fails if the run was a different one
    let script = export(&fixture("parallel-25"), &plain(&EDITS));
    let changed = script.replacen("0.699999", "0.6", 1);
    assert_ne!(changed, script);
    assert!(!run_script(python, &changed).status.success());
}

#[test]
fn scripts_pass_in_the_reference() {
    let Some(python) = reference("REFERENCE_PYTHON", "2.18.0") else { return };
    hold(&python, &OPT_IN, &EDITS);
    for (model, enable, line, args, _) in REFUSED {
        holds(&python, &fixture(model), &[arguments([(enable, line)]), args.to_vec()].concat());
    }
}

#[test]
fn scripts_pass_in_the_current_transformer_lens_or_name_the_hook() {
    let Some(python) = reference("REFERENCE_PYTHON_4", "4.3.0") else { return };
    let refused =
        |line: &str| REFUSED.iter().any(|(.., other, _, _)| line.split('[').next() == other.split('[').next());
    let unprocessed: Vec<&str> = EDITS.into_iter().filter(|line| !refused(line)).collect();
    let opt_in: Vec<(&str, &str)> = OPT_IN.into_iter().filter(|(_, line)| !refused(line)).collect();
    assert_eq!((unprocessed.len(), opt_in.len()), (EDITS.len() - 1, OPT_IN.len() - 1));
    hold(&python, &opt_in, &unprocessed);
    for (model, enable, line, args, why) in REFUSED {
        let out = run_script(&python, &export(&fixture(model), &[arguments([(enable, line)]), args.to_vec()].concat()));
        let error = String::from_utf8_lossy(&out.stderr);
        let hook = line.split('[').next().unwrap();
        let said =
            error.contains(&format!("TransformerLens 4.3.0 can't repeat the edit of {hook}: ")) && error.contains(why);
        assert!(said && !error.contains("Traceback"), "{line}: {error}");
        assert!(!out.status.success() && out.stdout.is_empty(), "{line}: it computed something");
    }
}

/// Edits that a circuit can have.
const OF_COMPONENTS: [&str; 5] = [
    "blocks.0.attn.hook_z[head=3] = 0",
    "blocks.1.attn.hook_pattern[head=2 query=-1 key=0] += 0.25",
    "blocks.0.mlp.hook_post[pos=2:] = freeze",
    "blocks.1.attn.hook_v[pos=2:5 d_head=1] = patch",
    "blocks.1.hook_mlp_out += noise 0.3 seed 12",
];

/// Scripts of circuits of every size, by every metric, with edits, and with the edges that a file lists.
fn circuits_hold(python: &str) {
    let measured: [&[&str]; 5] = [
        &["--target", "#5", "--distractor", "#9"],
        &["--target", "#5", "--pos", "3"],
        &["--metric", "prob", "--target", "#5"],
        &["--metric", "kl", "--method", "eap-ig"],
        &["--metric", "loss"],
    ];
    for model in ["parallel-25", "sequential-25"] {
        let model = &fixture(model);
        for (number, metric) in measured.iter().enumerate() {
            let top = ["0", "7", "40", "1000", "25"][number];
            let args = [&PROMPTS[..], metric, &["--top", top]].concat();
            passes(python, &export_of("circuit", model, &args), model, &args);
        }
        let edits: Vec<&str> = OF_COMPONENTS.iter().flat_map(|line| ["--edit", line]).collect();
        for processing in [&[][..], &["--no-processing"]] {
            let args = [&PROMPTS[..], measured[0], &["--top", "30"], &edits, processing].concat();
            passes(python, &export_of("circuit", model, &args), model, &args);
        }
    }
    // the script fails if the circuit was another one
    let args = [&PROMPTS[..], measured[0], &["--top", "30"]].concat();
    let script = export_of("circuit", &fixture("parallel-25"), &args);
    let start = script.find("CIRCUIT = [\n    \"").unwrap() + "CIRCUIT = [\n    ".len();
    let end = start + script[start..].find(", ").unwrap() + 2;
    let changed = format!("{}{}", &script[..start], &script[end..]);
    assert!(!run_script(python, &changed).status.success());
}

#[test]
fn circuits_pass_in_the_reference() {
    let Some(python) = reference("REFERENCE_PYTHON", "2.18.0") else { return };
    circuits_hold(&python);
}

#[test]
fn circuits_pass_in_the_current_transformer_lens() {
    let Some(python) = reference("REFERENCE_PYTHON_4", "4.3.0") else { return };
    circuits_hold(&python);
}

#[test]
fn a_script_contains_the_circuit() {
    let args = [&PROMPTS[..], &["--target", "#5", "--top", "8", "--edit", OF_COMPONENTS[0]]].concat();
    let script = export_of("circuit", &fixture("parallel-25"), &args);
    for part in [
        "METRIC = \"logit-diff\", 5, 5, None",
        "CIRCUIT = [\n    \"",
        "->logits\"",
        "\"blocks.0.attn.hook_z[head=3] = 0\", \"=\", 0.0",
    ] {
        assert!(script.contains(part), "{part}\n{script}");
    }
    let circuit = &script[script.find("CIRCUIT = [").unwrap()..script.find("METRIC").unwrap()];
    assert_eq!(circuit.matches("->").count(), 8);
}

/// Config formats whose settings `transformers` reads differently: the fields to set, or to remove where null.
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

/// A micro checkpoint with these changes to its config.
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
fn a_script_states_the_settings_of_every_config_format() {
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
    // the script does not read the config
    assert!(!script(0).contains("hf.config") && !script(0).contains("getattr"));
}

#[test]
fn a_script_contains_the_run() {
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
