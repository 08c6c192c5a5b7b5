//! `doctor --cache`: caches that other libraries wrote (`tests/golden/caches.py`), held to the program's own runs.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeSet, fs, io::Write, path::PathBuf, process::Output};

use common::{
    fixture,
    program::{call, micro, refused},
};
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

const IDS: &str = "7,3,11,2";

/// Largest error of f32 caches, relative to the largest value of the tensor: four times the largest one measured, 1.1e-6.
const TOLERANCE: &str = "5e-6";

fn cache(name: &str) -> String {
    fixture("caches").join(name).display().to_string()
}

fn doctor(file: &str, rest: &[&str]) -> Output {
    call(&[&["doctor", "--model", &micro(), "--cache", file, "--tolerance", TOLERANCE], rest].concat())
}

fn report(name: &str, rest: &[&str]) -> (i32, Value) {
    let output = doctor(&cache(name), &[&["--json"], rest].concat());
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

/// The names of the reasons of each divergence, and how many tensors diverge for each set of them.
fn reasons(report: &Value) -> BTreeSet<(String, Vec<String>)> {
    let diverging = report["compared"].as_array().unwrap().iter().filter(|part| part["diverges"] == true);
    let of = |part: &Value| {
        let names =
            part["reasons"].as_array().unwrap().iter().map(|reason| reason["name"].as_str().unwrap().to_string());
        (part["hook"].as_str().unwrap().to_string(), names.collect())
    };
    diverging.map(of).collect()
}

#[test]
fn caches_of_every_library_agree_with_our_run() {
    let mut worst = 0.0f64;
    for (name, rest, format, processing, tensors) in [
        ("tl2-object.pt", &["--tokens", IDS][..], "transformer-lens-2", "processed", 39),
        ("tl2-unprocessed.npz", &["--no-processing"], "transformer-lens-2", "unprocessed", 40),
        ("tl2-bos.safetensors", &["--tokens", "0,7,3,11,2"], "transformer-lens-2", "processed", 6),
        ("tl4-processed.safetensors", &[], "transformer-lens-4", "processed", 85),
        ("hf-attentions.pt", &[], "hugging-face", "unprocessed", 2),
        ("nnsight-cache.pt", &[], "modules", "unprocessed", 56),
        ("nnsight-saved.pt", &["--tokens", IDS], "modules", "unprocessed", 3),
    ] {
        let (code, report) = report(name, rest);
        assert_eq!((code, &report["first_divergence"]), (0, &Value::Null), "{name}");
        assert_eq!((&report["format"], &report["processing"]), (&format.into(), &processing.into()), "{name}");
        let compared = report["compared"].as_array().unwrap();
        assert_eq!(compared.len(), tensors, "{name}");
        for part in compared {
            worst = worst.max(part["relative"].as_f64().unwrap());
        }
    }
    assert!(worst > 0.0, "nothing was computed twice");
    println!("largest error {worst:.1e}");
}

#[test]
fn every_known_reason_is_recognised() {
    let (code, found) = report("tl2-unprocessed.npz", &[]);
    assert_eq!((code, &found["first_unexplained"]), (0, &Value::Null));
    assert_eq!(found["first_divergence"]["hook"], "hook_embed");
    let of_hook: Vec<(String, Vec<String>)> = reasons(&found).into_iter().collect();
    for (hook, expected) in [
        ("hook_embed", "centred-weights"),
        ("blocks.1.hook_mlp_out", "centred-weights"),
        ("blocks.0.attn.hook_v", "folded-value-bias"),
        ("blocks.1.ln2.hook_normalized", "after-weight-and-bias"),
        ("ln_final.hook_normalized", "after-weight-and-bias"),
        ("logits", "centred-unembedding"),
    ] {
        assert!(of_hook.contains(&(hook.into(), vec![expected.into()])), "{hook}: {of_hook:?}");
    }
    assert!(!of_hook.iter().any(|(hook, _)| hook.ends_with("hook_pattern") || hook.ends_with("hook_q")));

    // the other way round, and TransformerLens 4's own convention
    let (code, found) = report("tl4-processed.safetensors", &["--no-processing"]);
    assert_eq!((code, &found["first_divergence"]["reasons"][0]["name"]), (0, &"centred-weights".into()));
    let (code, found) = report("tl4-unprocessed.pt", &["--no-processing"]);
    assert_eq!(code, 0);
    let normalized = ["blocks.0.ln1", "blocks.0.ln2", "blocks.1.ln1", "blocks.1.ln2", "ln_final"];
    let expected =
        normalized.map(|norm| (format!("{norm}.hook_normalized"), vec!["before-weight-and-bias".to_string()]));
    assert_eq!(reasons(&found), expected.into_iter().collect());
    let rotated: Vec<&str> = found["missing"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(rotated.len(), 4);
    assert!(rotated.iter().all(|name| name.contains("hook_rot_")));
    assert!(found["notes"][0].as_str().unwrap().contains("no hook_rot_q and hook_rot_k"));

    for (name, states) in [("hf-output.pt", "hidden_states.2"), ("hf-hidden-states.pt", "2")] {
        let (code, found) = report(name, &["--tokens", IDS]);
        assert_eq!((code, &found["first_divergence"]["tensor"]), (0, &states.into()));
        assert_eq!(found["first_divergence"]["hook"], "blocks.1.hook_resid_post");
        assert_eq!(reasons(&found).into_iter().map(|(_, names)| names).collect::<Vec<_>>(), [["final-layernorm"]]);
    }
}

/// The entries in one tensor, with and without a batch axis, of the strides that each library writes, packed and not.
#[test]
fn stacked_outputs_are_read_entry_by_entry() {
    for (name, patterns) in [("hf-stacked.pt", 2), ("hf-stacked.safetensors", 0), ("hf-stacked.npz", 2)] {
        let (code, found) = report(name, &[]);
        assert_eq!(
            (code, &found["first_unexplained"], &found["format"]),
            (0, &Value::Null, &"hugging-face".into()),
            "{name}"
        );
        let compared = found["compared"].as_array().unwrap();
        let of = |tensor: &str| {
            let named = |part: &&Value| part["tensor"].as_str().unwrap().starts_with(tensor);
            compared.iter().filter(named).collect::<Vec<_>>()
        };
        assert_eq!((of("hidden_states[").len(), of("attentions[").len()), (3, patterns), "{name}");
        let hooks: Vec<&Value> = of("hidden_states[").iter().map(|part| &part["hook"]).collect();
        assert_eq!(hooks, ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]);
        assert_eq!(reasons(&found).into_iter().map(|(_, names)| names).collect::<Vec<_>>(), [["final-layernorm"]]);
        // another model's weights are noticed in an entry
        let other = fixture("parallel-100").display().to_string();
        let output = call(&["doctor", "--model", &other, "--cache", &cache(name), "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &found["first_unexplained"]["tensor"]),
            (Some(1), &"hidden_states[0]".into())
        );
    }
}

#[test]
fn sixteen_bits_explain_what_rounding_does_and_no_more() {
    for (name, rest) in [("tl2-bf16.pt", &[][..]), ("hf-f16.safetensors", &[])] {
        let (code, found) = report(name, rest);
        assert_eq!((code, &found["first_unexplained"]), (0, &Value::Null), "{name}");
        let reasons: Vec<_> = reasons(&found).into_iter().flat_map(|(_, names)| names).collect();
        assert!(reasons.len() > 2 && reasons.contains(&"16-bit".to_string()), "{name}: {reasons:?}");
    }
    // without processing too: both reasons at once
    let (_, found) = report("tl2-bf16.pt", &["--no-processing"]);
    let both: Vec<&str> =
        found["first_divergence"]["reasons"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(both, ["centred-weights", "16-bit"]);
    // other weights are not rounding
    let other = fixture("parallel-100").display().to_string();
    let output = call(&["doctor", "--model", &other, "--cache", &cache("tl2-bf16.pt"), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["first_unexplained"]["hook"], "hook_embed");
}

#[test]
fn the_first_hook_that_diverges_is_named() {
    let (code, found) = report("tl2-ablated.pt", &[]);
    assert_eq!(code, 1);
    let first = &found["first_divergence"];
    assert_eq!((&first["hook"], &first["tensor"]), (&"blocks.1.attn.hook_z".into(), &"blocks.1.attn.hook_z".into()));
    assert_eq!(first, &found["first_unexplained"]);
    // at head 2, by as much as the value there
    let (at, absolute) = (first["at"].as_array().unwrap(), first["absolute"].as_f64().unwrap());
    assert_eq!((at.len(), at[1].as_u64()), (3, Some(2)));
    assert!((absolute / first["scale"].as_f64().unwrap() - first["relative"].as_f64().unwrap()).abs() < 1e-12);
    let text = String::from_utf8(doctor(&cache("tl2-ablated.pt"), &[]).stdout).unwrap();
    assert!(text.contains("first divergence: blocks.1.attn.hook_z, by ") && text.contains("no known reason"), "{text}");
}

#[test]
fn tokens_come_from_the_file_or_the_prompt() {
    let (_, found) = report("tl2-unprocessed.npz", &["--no-processing"]);
    assert_eq!((&found["tokens_in_file"], &found["tokens"][2]["id"]), (&true.into(), &11.into()));
    // the beginning-of-sequence token that TransformerLens prepends
    for rest in [&["--tokens", IDS][..], &["--tokens", IDS, "--prepend-bos"], &["--tokens", "0,7,3,11,2"]] {
        let (code, found) = report("tl2-bos.safetensors", rest);
        assert_eq!((code, found["bos_prepended"].as_bool()), (0, Some(rest.len() == 2 && rest[1] == IDS)), "{rest:?}");
        assert_eq!(found["tokens"].as_array().unwrap().len(), 5);
    }
    let of = |name: &str, rest: &[&str], expected: &str| {
        refused(&[&["doctor", "--model", &micro(), "--cache", &cache(name)], rest].concat(), 2, expected);
    };
    of("hf-output.pt", &[], "does not hold its 4 tokens");
    of("hf-output.pt", &["--tokens", "7,3"], "the cache is of 4 tokens, and the prompt has 2");
    of("tl2-unprocessed.npz", &["--tokens", "7,3,11,9"], "the cache is of the tokens 7,3,11,2");
    of("hf-output.pt", &["--tokens", "7,3,11,960"], "token id 960 is out of range");
}

#[test]
fn wrong_models_and_calls_are_refused() {
    let args = |rest: &[&'static str]| rest.iter().map(ToString::to_string).collect::<Vec<_>>();
    let refuse = |args: Vec<String>, code, expected| {
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, expected);
    };
    let tl2 = cache("tl2-ablated.pt");
    refuse([args(&["doctor", "--model", "demo", "--cache"]), vec![tl2]].concat(), 1, "of this model and prompt is [");
    let batch = [args(&["doctor", "--tokens", IDS, "--model"]), vec![micro(), "--cache".into(), cache("tl2-batch.pt")]];
    refuse(batch.concat(), 1, "has a batch of 2 prompts; expected one");
    refuse(args(&["doctor", "--model", "demo", "--tokens", "1,2"]), 2, "are for `doctor --cache FILE`");
    refuse(args(&["doctor", "--cache", "x.pt", "--tolerance=-1"]), 2, "expected a number from 0");
    refuse(args(&["doctor", "--cache", "/nonexistent/x.pt"]), 1, "x.pt");
    refuse(args(&["doctor", "--cache", "x.pkl"]), 1, "expected a name that ends in .safetensors, .npz or .pt");
}

/// Check that a file of these bytes is refused with this message.
fn refused_file(name: &str, bytes: &[u8], expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    refused(&["doctor", "--model", &micro(), "--tokens", IDS, "--cache", path.to_str().unwrap()], 1, expected);
}

#[test]
fn truncated_files_are_refused() {
    for name in
        ["tl2-object.pt", "hf-output.pt", "nnsight-cache.pt", "tl2-unprocessed.npz", "tl4-processed.safetensors"]
    {
        let whole = fs::read(cache(name)).unwrap();
        for part in [0, 1, 9, whole.len() / 3, whole.len() - 1] {
            refused_file(name, &whole[..part], name);
        }
    }
}

/// A zip archive of these entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive
            .start_file(*name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\x00", &u16::try_from(header.len()).unwrap().to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn crafted_files_are_refused() {
    let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let stream = |shape: &str, data: &[u8]| archive(&[("hook_embed.npy", &npy(&header(shape), data))]);
    refused_file("a.npz", &stream("4, 32", &[0; 8]), "has 8 bytes");
    refused_file("a.npz", &stream("99999999999, 99999999999", &[0; 8]), "does not lie in its file");
    refused_file("a.npz", &archive(&[("hook_embed.npy", b"none")]), "no array in numpy's format");
    refused_file(
        "a.npz",
        &archive(&[("other.npy", &npy(&header("1,"), &[0; 4]))]),
        "no activation under a known name (`other`)",
    );
    refused_file("a.npz", &archive(&[]), "it holds no activations");
    refused_file("a.npz", b"\x89HDF\r\n\x1a\n", "HDF5");
    let nan = [f32::NAN.to_le_bytes(); 128].concat();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nan.npz");
    fs::write(&path, stream("4, 32", &nan)).unwrap();
    let output = doctor(path.to_str().unwrap(), &["--tokens", IDS, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["first_divergence"]["absolute"], &found["first_divergence"]["at"]),
        (&Value::Null, &serde_json::json!([0, 0]))
    );
    // token ids of another kind
    let ids = |bytes: &[u8]| {
        let of_ids = "{'descr': '<i8', 'fortran_order': False, 'shape': (4,), }";
        archive(&[("hook_embed.npy", &npy(&header("4, 32"), &[0; 512])), ("tokens.npy", &npy(of_ids, bytes))])
    };
    refused_file("a.npz", &ids(&[0xff; 32]), "holds -1; expected token ids");
}

#[test]
fn pickles_are_parsed_and_never_run() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("ran");
    let pickle = |body: &str| archive(&[("archive/data.pkl", body.as_bytes())]);
    let call = format!("cos\nsystem\n(Vtouch {}\ntR.", mark.display());
    refused_file("a.pt", &pickle(&call), "it holds no activations");
    assert!(!mark.exists());
    refused_file(
        "a.pt",
        &pickle("}Vhook_embed\nctorch._utils\n_rebuild_tensor_v2\n(tRs."),
        "is not pickled as PyTorch does it",
    );
    refused_file("a.pt", &pickle("N\u{7f}."), "it has an opcode that no checkpoint needs");
    refused_file("a.pt", b"\x80\x04N.", "bare pickle");
    refused_file("a.pt", &archive(&[("other", b"")]), "no data.pkl");
    // each tuple holds the one before twice
    let doubled = [&b"N"[..], &b"2\x86".repeat(200), b"."].concat();
    refused_file("a.pt", &archive(&[("archive/data.pkl", &doubled)]), "it holds no activations");
}

#[test]
fn a_cache_that_the_program_saved_agrees_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    for (ending, processing) in [("safetensors", &[][..]), ("npz", &["--no-processing"])] {
        let path: String = dir.path().join(format!("own.{ending}")).display().to_string();
        let run = ["run", "--model", &micro(), "--tokens", IDS, "--save-cache", &path];
        assert!(call(&[&run[..], processing].concat()).status.success());
        let output = doctor(&path, &[&["--tokens", IDS, "--json"], processing].concat());
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let worst = found["compared"].as_array().unwrap().iter().map(|part| part["absolute"].as_f64().unwrap());
        let worst = worst.fold(0.0, f64::max);
        // unprocessed values are computed from the processed run
        assert!(if processing.is_empty() { worst == 0.0 } else { worst < 1e-4 }, "{worst}");
    }
}
