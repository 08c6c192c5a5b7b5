//! The script that repeats a run with the reference, run with the reference where that is installed.
//!
//! Extra: wants a Python with transformer-lens 2.18.0, named by REFERENCE_PYTHON or else `python3`; skipped without.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{io::Write, path::Path, process::Command};

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
    // and it does not hold when the run was another
    let script = export(&fixture("parallel-25"), &edits);
    assert!(!run(&script.replacen("0.699999", "0.6", 1)).status.success());
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
