//! `structure`: the module trees against PyTorch's own print, and the diagram as it is printed.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{
    fixture,
    program::{copy_of_micro, micro, refused, stdout},
};
use pythia_tui::{
    hooks::{HookPoint, Schema},
    model::{Config, Processing, hooked_transformer, hugging_face},
};
use serde_json::Value;

#[test]
fn module_trees_are_what_pytorch_prints() {
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(fixture("trees.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 9);
    for case in &cases {
        let config = Config::from_json(&case["config"]).unwrap();
        assert_eq!(hugging_face(&config), case["hf"].as_str().unwrap());
        for (name, processing) in [("processed", Processing::Folded), ("unprocessed", Processing::None)] {
            if let Some(tree) = case[name].as_str() {
                assert_eq!(hooked_transformer(&config, processing), tree, "{name}");
            }
        }
    }
    // the program prints them
    let dir = copy_of_micro(|dir| fs::write(dir.join("config.json"), cases[1]["config"].to_string()).unwrap());
    let print = |arguments: &[&str]| {
        let model = ["structure", "--model", dir.path().to_str().unwrap()];
        stdout(&[&model, arguments].concat())
    };
    for (arguments, name) in [
        (&[][..], "processed"),
        (&["--no-processing"], "unprocessed"),
        (&["--hf"], "hf"),
        (&["--hf", "--no-processing"], "hf"),
    ] {
        assert_eq!(print(arguments), cases[1][name].as_str().unwrap().to_owned() + "\n", "{arguments:?}");
    }
}

#[test]
fn the_tree_of_transformer_lens_holds_every_hook_of_a_block_once() {
    let json: Value = serde_json::from_str(&fs::read_to_string(format!("{}/config.json", micro())).unwrap()).unwrap();
    let config = Config::from_json(&json).unwrap();
    let schema = Schema::new(config.dims());
    let mut found: Vec<String> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    for line in hooked_transformer(&config, Processing::Folded).lines().skip(1) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let Some(name) = line.trim_start().strip_prefix('(').and_then(|line| line.split(')').next()) else { continue };
        path.truncate(depth - 1);
        path.push(name.replace("0-1", "0"));
        if line.ends_with("HookPoint()") {
            found.push(path.join("."));
        }
    }
    let shown = |point: &HookPoint| {
        point.block().unwrap_or(0) == 0 && *point != HookPoint::Tokens && !schema.is_derived(*point)
    };
    let mut expected: Vec<String> = schema.all_points().iter().filter(|p| shown(p)).map(ToString::to_string).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_diagram_is_printed_in_a_width() {
    let print = |arguments: &[&str]| stdout(&[&["structure", "--diagram", "--model", &micro()], arguments].concat());
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    let whole = print(&[]);
    assert_eq!(whole, print(&["--width", "110"]));
    assert!(whole.starts_with("blocks.0–1 · 2 × parallel") && widest(&whole) <= 110, "{whole}");
    assert!(whole.contains("● hook_attn_scores [4,query,key]") && whole.contains("○ hook_tokens"), "{whole}");
    for width in ["50", "64", "80", "99"] {
        for ascii in [&[][..], &["--ascii"]] {
            let text = print(&[&["--width", width], ascii].concat());
            assert!(widest(&text) <= width.parse().unwrap(), "{width}\n{text}");
            assert_eq!(text.is_ascii(), !ascii.is_empty());
        }
    }
    for (width, expected) in [("49", "50..=1000"), ("0", "50..=1000"), ("1001", "50..=1000"), ("x", "invalid digit")] {
        refused(&["structure", "--diagram", "--width", width, "--model", "demo"], 2, expected);
    }
    refused(&["structure", "--width", "80", "--model", "demo"], 2, "--diagram");
    refused(&["structure", "--ascii", "--model", "demo"], 2, "--diagram");
    for other in ["--hf", "--hooks", "--json"] {
        refused(&["structure", "--diagram", other, "--model", "demo"], 2, "cannot be used with");
    }
}
