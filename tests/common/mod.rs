//! Helpers for several test files.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::pedantic,
    reason = "each test file uses a part of it; a test fails by panicking"
)]

pub mod edits;
pub mod explorer;
pub mod golden;
pub mod hub;
pub mod program;
#[cfg(unix)]
pub mod session;
pub mod two_models;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use pythia_tui::{
    engine::{Control, Engine, Outcome, Spec},
    hooks::{Capture, Edit, RunError, Schema},
    model::{Place, Placement, Processing, Source},
};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a micro checkpoint with another value of a field of its `config.json`.
pub fn copy_of_micro_config(field: &str, value: serde_json::Value) -> tempfile::TempDir {
    program::copy_of_micro(|directory| {
        let path = directory.join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config[field] = value;
        std::fs::write(path, config.to_string()).unwrap();
    })
}

/// Where models run, in f32: on the device that `PYTHIA_TUI_TEST_DEVICE` names as `--device` does, by default on the CPU.
pub fn placement() -> Placement {
    let device = std::env::var("PYTHIA_TUI_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    Placement { device: device.parse::<Place>().unwrap().open().unwrap(), ..Placement::cpu() }
}

/// A micro checkpoint, or `demo`.
pub fn engine(name: &str, processing: Processing, enable: &[String]) -> Engine {
    engine_at(name, processing, enable, placement())
}

pub fn engine_at(name: &str, processing: Processing, enable: &[String], place: Placement) -> Engine {
    let source = if name == "demo" { Source::Demo } else { Source::Directory(fixture(name)) };
    let loaded = source.load(processing, place).unwrap();
    let mut schema = Schema::new(loaded.model.config.dims());
    for hook in enable {
        schema.enable(hook).unwrap();
    }
    Engine::new(loaded, schema)
}

pub fn run(engine: &mut Engine, spec: &Spec) -> Result<Outcome, RunError> {
    let cancel = AtomicBool::new(false);
    let spec = Spec { enabled: engine.schema.enabled().clone(), ..spec.clone() };
    engine.run(&spec, &Capture::All, 0, Control { cancel: &cancel, progress: &|_, _| {} })
}

pub fn spec(tokens: &[u32], edits: &[&str]) -> Spec {
    let edits = edits.iter().map(|line| line.parse::<Edit>().unwrap()).collect();
    Spec { tokens: tokens.to_vec(), edits, ..Spec::default() }
}

/// The activations and the logits of an outcome's run by name, flattened.
pub fn activations(engine: &Engine, outcome: &Outcome) -> HashMap<String, Vec<f32>> {
    let flat = |t: &candle_core::Tensor| {
        t.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap().to_vec1::<f32>().unwrap()
    };
    let value = |point| engine.activation(&outcome.run, point).unwrap().unwrap();
    let points = outcome.run.cache.points().into_iter();
    let mut all: HashMap<String, Vec<f32>> = points.map(|point| (point.to_string(), flat(&value(point)))).collect();
    all.insert("logits".into(), flat(&outcome.run.logits));
    all
}
