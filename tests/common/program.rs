//! Runs the program as a user would.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::fixture;

pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pythia-tui"));
    // keeps the models and settings of the machine out of the tests
    command.args(args).env("HF_HUB_CACHE", "/nonexistent").env("HF_HUB_OFFLINE", "1");
    command.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub fn call(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

pub fn stdout(args: &[&str]) -> String {
    let output = call(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Check that the program fails with this exit code, no output and one message containing `expected`, without a panic.
pub fn refused(args: &[&str], code: i32, expected: &str) {
    let output = call(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
    assert!(stderr.contains(expected), "{args:?} said: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{args:?} said: {stderr}");
}

pub fn micro() -> String {
    fixture("parallel-25").display().to_string()
}

/// A checkpoint directory to break.
pub fn copy_of_micro(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture("parallel-25").join(file), dir.path().join(file)).unwrap();
    }
    change(dir.path());
    dir
}

pub fn refused_model(dir: &Path, expected: &str) {
    refused(&["run", "--model", dir.to_str().unwrap(), "--tokens", "1,2"], 1, expected);
}
