//! Scores, circuits and graph files against EAP-IG itself, by `tests/golden/eap_ig.py`.
//!
//! `EAP_IG` names the `src` directory of a checkout of <https://github.com/hannamw/EAP-IG>, `REFERENCE_PYTHON` a Python with
//! transformer-lens 2.18.0 and matplotlib. Without them the test is skipped and says so.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{io::Write, process::Command};

#[test]
fn scores_circuits_and_files_equal_those_of_eap_ig() {
    let named = |name: &str| std::env::var_os(name);
    let (Some(package), Some(python)) = (named("EAP_IG"), named("REFERENCE_PYTHON")) else {
        // bypasses the captured output, which is hidden if the test passes
        let why = "skipped: scores beside EAP-IG's, because EAP_IG names no checkout or REFERENCE_PYTHON no Python";
        return writeln!(std::io::stderr(), "{why}").unwrap();
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/eap_ig.py");
    let mut command = Command::new(python);
    command.arg(script).args(["--program", env!("CARGO_BIN_EXE_pythia-tui")]);
    // in addition to the variable's own paths
    let paths = named("PYTHONPATH").map_or(vec![], |paths| std::env::split_paths(&paths).collect());
    let paths = std::env::join_paths([package.into()].into_iter().chain(paths)).unwrap();
    let out = command.env("PYTHONPATH", paths).output().unwrap();
    let (text, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.ends_with("equal\n"), "{text}{error}");
    print!("{text}");
}
