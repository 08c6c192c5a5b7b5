//! `corpus` on the command line.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{
    engine,
    program::{call, refused, stdout},
};
use pythia_tui::{
    hooks::HookPoint,
    model::Processing,
    table::{Cell, Kind, Reader},
};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

const LINES: &str = "When Mary and John went to the store, John gave a drink to\n\
    \n\
    The cat sat on the mat\r\n\
    When Tom and Anna went to the park, Anna gave a book to\n";

/// A directory with a corpus.
struct Files(TempDir);

impl Files {
    fn new(name: &str, text: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::write(files.0.path().join(name), text).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn corpus<'a>(file: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["corpus", file, "--model", "demo"], rest].concat()
}

fn json(file: &str, rest: &[&str]) -> Value {
    serde_json::from_str(&stdout(&corpus(file, &[&["--json"], rest].concat()))).unwrap()
}

/// The rows of a table, by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5 * b.abs().max(1.0)
}

/// The metric of a single run.
fn metric(rest: &[&str]) -> f64 {
    let report: Value = serde_json::from_str(&stdout(&[&["run", "--model", "demo", "--json"], rest].concat())).unwrap();
    report["metric"]["value"].as_f64().unwrap()
}

#[test]
fn every_line_is_a_prompt_with_the_metric_of_its_run() {
    let files = Files::new("lines.txt", &format!("\u{feff}{LINES}"));
    let edit = "blocks.1.attn.hook_z[head=2] = 0";
    let report = json(&files.path("lines.txt"), &["--edit", edit, "--out", &files.path("out.csv"), "--seed", "3"]);
    let rows = rows(&files.at("out.csv"));
    let lines: Vec<(usize, &str)> =
        vec![(1, 0), (3, 2), (4, 3)].into_iter().map(|(line, at)| (line, LINES.lines().nth(at).unwrap())).collect();
    assert_eq!(rows.len(), 3);
    let mut effects = vec![];
    for ((number_of, (line, text)), row) in lines.iter().enumerate().zip(&rows) {
        let ids = &row["ids"].replace(' ', ",");
        let baseline = metric(&["--metric", "loss", "--tokens", ids]);
        let value = metric(&["--metric", "loss", "--tokens", ids, "--edit", edit]);
        assert!(
            near(number(row, "baseline"), baseline) && near(number(row, "value"), value),
            "{row:?} {baseline} {value}"
        );
        assert_eq!((number(row, "prompt"), number(row, "line")), (number_of as f64, *line as f64));
        let text_ids: Value = serde_json::from_str(&stdout(&["run", "--model", "demo", "--json", text])).unwrap();
        assert_eq!(text_ids["tokens"].as_array().unwrap().len() as f64, number(row, "tokens"));
        assert_eq!((row["edits"].as_str(), row["metric"].as_str(), row["left_out"].as_str()), (edit, "loss", ""));
        effects.push(value - baseline);
    }
    let found = &report["metric"];
    let mean = effects.iter().sum::<f64>() / 3.0;
    assert!(near(found["effect"]["mean"].as_f64().unwrap(), mean), "{found}");
    // of three values, every pattern of signs is tried
    let p = found["effect"]["p"].as_f64().unwrap();
    assert!([0.25, 0.5, 0.75, 1.0].contains(&p), "{p}");
    assert!(found["effect"]["low"].as_f64().unwrap() <= mean && found["effect"]["high"].as_f64().unwrap() >= mean);
    assert_eq!((&report["complete"], &report["corpus"]["prompts"], &found["n"]), (&true.into(), &3.into(), &3.into()));
    let left: Vec<_> =
        fs::read_dir(files.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.len(), 2, "nothing is left beside the table: {left:?}");
}

#[test]
fn a_table_of_pairs_has_its_own_contrast_prompts_and_tokens() {
    let table = "clean,corrupted,correct_idx,incorrect_idx\n\
        \"When Mary and John went to the store, John gave a drink to\",\"When John and Mary went to the store, Mary gave a drink to\",{M},{J}\n\
        \"When Tom and Anna went to the park, Anna gave a book to\",\"When Anna and Tom went to the park, Tom gave a book to\",{J},{M}\n";
    let tokenizer = engine("demo", Processing::Folded, &[]).loaded.tokenizer;
    let id = |text: &str| tokenizer.encode(text).unwrap()[0];
    let (mary, john) = (id(" Mary"), id(" John"));
    let table = table.replace("{M}", &mary.to_string()).replace("{J}", &john.to_string());
    let files = Files::new("pairs.csv", &table);
    let edit = "blocks.0.hook_resid_post[pos=-1] = patch";
    json(&files.path("pairs.csv"), &["--edit", edit, "--out", &files.path("out.jsonl"), "--metric", "logit-diff"]);
    let rows: Vec<Value> = fs::read_to_string(files.at("out.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (row, (target, distractor)) in rows.iter().zip([(mary, john), (john, mary)]) {
        let ids = |column: &str| row[column].as_str().unwrap().replace(' ', ",");
        let tokens = [format!("#{target}"), format!("#{distractor}")];
        let common = ["--metric", "logit-diff", "--target", &tokens[0], "--distractor", &tokens[1]];
        let (clean, corrupted) = (ids("ids"), ids("contrast_ids"));
        let value =
            metric(&[&["--tokens", &clean, "--contrast-tokens", &corrupted, "--edit", edit][..], &common].concat());
        let baseline = metric(&[&["--tokens", &clean][..], &common].concat());
        assert!(
            near(row["value"].as_f64().unwrap(), value) && near(row["baseline"].as_f64().unwrap(), baseline),
            "{row}"
        );
        assert_eq!((&row["target"], &row["distractor"]), (&target.into(), &distractor.into()));
    }
    assert_eq!(rows.len(), 2);
    let usual = json(&files.path("pairs.csv"), &[]);
    assert_eq!(usual["metric"]["name"], "logit-diff");
}

#[test]
fn documents_are_cut_into_windows() {
    let text = "When Mary and John went\nto the store, John gave a drink to\n<|endoftext|>\nThe cat sat on the mat<|endoftext|>When Tom";
    let jsonl: String =
        ["When Mary and John went\nto the store, John gave a drink to", "The cat sat on the mat", "When Tom"]
            .iter()
            .map(|text| serde_json::json!({"body": text, "id": 3}).to_string() + "\n")
            .collect();
    let files = Files::new("text.txt", text);
    fs::write(files.at("records.jsonl"), jsonl).unwrap();
    let out = files.path("out.csv");
    json(&files.path("text.txt"), &["--window", "6", "--out", &out]);
    let windows = rows(&files.at("out.csv"));
    let tokenizer = engine("demo", Processing::Folded, &[]).loaded.tokenizer;
    let mut expected = vec![];
    for (document, (line, text)) in [
        (1, "When Mary and John went\nto the store, John gave a drink to"),
        (4, "The cat sat on the mat"),
        (4, "When Tom"),
    ]
    .iter()
    .enumerate()
    {
        for (number, window) in
            tokenizer.encode(text).unwrap().chunks(6).enumerate().filter(|(_, window)| window.len() > 1)
        {
            let ids = window.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            expected.push([document.to_string(), line.to_string(), (number * 6).to_string(), ids]);
        }
    }
    let of =
        |row: &BTreeMap<String, String>| ["document", "line", "first_token", "ids"].map(|column| row[column].clone());
    assert_eq!(windows.iter().map(of).collect::<Vec<_>>(), expected);
    assert!(expected.len() > 4);
    fs::remove_file(files.at("out.csv")).unwrap();
    json(&files.path("records.jsonl"), &["--window", "6", "--out", &out, "--field", "body"]);
    let same = |row: &BTreeMap<String, String>| [row["first_token"].clone(), row["ids"].clone()];
    let records = rows(&files.at("out.csv"));
    assert_eq!(records.iter().map(same).collect::<Vec<_>>(), windows.iter().map(same).collect::<Vec<_>>());
    // the beginning-of-sequence token is one of a window's tokens
    fs::remove_file(files.at("out.csv")).unwrap();
    json(&files.path("text.txt"), &["--window", "6", "--out", &out, "--prepend-bos"]);
    let begun = rows(&files.at("out.csv"));
    assert!(begun.iter().all(|row| row["ids"].starts_with("0 ") && number(row, "tokens") <= 6.0));
    assert_eq!(begun[1]["first_token"], "5");
}

#[test]
fn what_is_wrong_is_said_with_its_file_and_line() {
    let files = Files::new("a.txt", "fine words\n");
    let write = |name: &str, text: &[u8]| {
        fs::write(files.at(name), text).unwrap();
        files.path(name)
    };
    let long = "word ".repeat(3000);
    for (name, text, rest, expected) in [
        ("none.txt", &b"\n \n"[..], &[][..], "none.txt: there is no prompt in it"),
        ("bytes.txt", b"fine\n\xff\xfe\n", &[], "bytes.txt, line 2: the line is not UTF-8"),
        (
            "a.jsonl",
            b"{\"text\": \"fine\"}\n[3]\n",
            &[],
            "a.jsonl, line 2: expected a JSON object with the text in the field \"text\": this is an array",
        ),
        (
            "b.jsonl",
            b"{\"text\": \"fine\"}\n\n{\"body\": \"x\"}\n",
            &[],
            "b.jsonl, line 3: the record has no field \"text\"; its fields are \"body\": name one with --field",
        ),
        ("c.jsonl", b"{\"text\": 3}\n", &[], "c.jsonl, line 1: the field \"text\" is not a text"),
        ("d.jsonl", b"{\"text\": \"fine\n", &[], "d.jsonl, line 1: expected a JSON object"),
        (
            "a.csv",
            b"clean,correct_idx\nx,1\n",
            &[],
            "a.csv, line 1: there is no column \"corrupted\"; expected the columns clean, corrupted, correct_idx and incorrect_idx, and found \"clean\", \"correct_idx\"",
        ),
        (
            "b.csv",
            b"clean,corrupted,correct_idx,incorrect_idx\nfine,fine,3,4\nfine,fine,\"[3, 4]\",4\n",
            &[],
            "b.csv, line 3: correct_idx is \"[3, 4]\"; expected one token id below",
        ),
        (
            "c.csv",
            b"clean,corrupted,correct_idx,incorrect_idx\nfine,fine,3\n",
            &[],
            "c.csv, line 2: the line has 3 cells; expected 4",
        ),
        (
            "d.csv",
            b"clean,corrupted,correct_idx,incorrect_idx\nfine,fine,3,99999999\n",
            &[],
            "d.csv, line 2: incorrect_idx is",
        ),
        (
            "e.csv",
            b"clean,corrupted,correct_idx,incorrect_idx\nfine,fine,3,4\n",
            &["--window", "8"],
            "a pair of prompts is not cut into windows",
        ),
        (
            "f.csv",
            b"clean,corrupted,correct_idx,incorrect_idx\nfine,fine,3,4\n",
            &["--contrast", "x"],
            "a CSV has its own corrupted prompts",
        ),
        ("long.txt", long.as_bytes(), &[], "long.txt, line 1: the prompt:"),
        ("w.txt", b"fine words\n", &["--window", "100000"], "windows of 100000 tokens are longer than the context of"),
        ("v.txt", b"fine words\n", &["--window", "1"], "a window has at least two tokens"),
        ("f.txt", b"fine words\n", &["--field", "x"], "--field names a field of JSON lines"),
        (
            "g.txt",
            b"The cat sat on the mat and then the cat\nfine\n",
            &["--edit", "blocks.0.hook_mlp_out[pos=6] = 0"],
            "g.txt, line 2: `blocks.0.hook_mlp_out[pos=6] = 0`: pos 6 is out of range",
        ),
        ("h.txt", b"fine words\n", &["--edit", "blocks.0.hook_mlp_out = patch"], "patching needs a contrast prompt"),
        ("i.txt", b"fine words\n", &["--out", "x.txt"], "expected a name that ends in .parquet, .csv or .jsonl"),
        ("j.txt", b"fine words\n", &["--top-contexts", "blocks.0.attn.hook_pattern"], "has no value for each position"),
        (
            "k.txt",
            b"fine words\n",
            &["--top-contexts", "blocks.0.mlp.hook_pst"],
            "there is no hook `blocks.0.mlp.hook_pst`",
        ),
        ("l.txt", b"fine words\n", &["--ablate-heads", "--op", "= patch"], "patching needs a contrast prompt"),
        (
            "m.txt",
            b"fine words\n",
            &["--save", "blocks.0.attn.hook_pattern", "--save-to", "x"],
            "has no value for each position",
        ),
    ] {
        let file = write(name, text);
        refused(&corpus(&file, rest), 2, expected);
    }
    refused(&corpus(&files.path("missing.txt"), &[]), 2, "missing.txt: can't read it: No such file");
    refused(&corpus(files.0.path().to_str().unwrap(), &[]), 2, "it is a directory; expected a regular file");
    // elsewhere there is no corpus
    refused(
        &["run", "--model", "demo", "a b", "--edit", "blocks.0.hook_mlp_out = mean@corpus"],
        2,
        "only runs of a corpus have values for it",
    );
}

#[test]
fn a_prompt_without_a_metric_is_left_out_and_counted() {
    let files = Files::new("a.txt", "a\nThe cat sat on the mat\nThe dog sat on the mat\n");
    let report = json(&files.path("a.txt"), &[]);
    assert_eq!(report["metric"]["left_out"], serde_json::json!({"no next token": 1}));
    assert_eq!((&report["metric"]["n"], &report["complete"]), (&2.into(), &true.into()));
    let resampled = json(
        &files.path("a.txt"),
        &["--metric", "kl", "--edit", "blocks.0.attn.hook_z = resample seed 4", "--out", &files.path("out.csv")],
    );
    let lengths: Vec<f64> = rows(&files.at("out.csv")).iter().map(|row| number(row, "tokens")).collect();
    assert_eq!(lengths[1], lengths[2], "the two sentences are equally long");
    assert_eq!(resampled["metric"]["left_out"], serde_json::json!({"no other prompt of its length": 1}));
    // of two prompts, each is resampled from the other
    let rows = rows(&files.at("out.csv"));
    for (own, other) in [(1, 2), (2, 1)] {
        let ids = |at: usize| rows[at]["ids"].replace(' ', ",");
        let kl = metric(&[
            "--metric",
            "kl",
            "--tokens",
            &ids(own),
            "--contrast-tokens",
            &ids(other),
            "--edit",
            "blocks.0.attn.hook_z = patch",
        ]);
        assert!(near(number(&rows[own], "value"), kl), "{} for {kl}", number(&rows[own], "value"));
    }
}

#[test]
fn parquet_holds_the_same_rows_and_says_what_made_them() {
    let files = Files::new("lines.txt", LINES);
    let file = files.path("lines.txt");
    json(&file, &["--out", &files.path("out.csv")]);
    json(&file, &["--out", &files.path("out.parquet")]);
    let reader = Reader::open(&files.at("out.parquet")).unwrap();
    assert_eq!(reader.metadata["pythia-tui.of"], "corpus");
    let columns = reader.columns.clone();
    let cells: Vec<Vec<Cell>> = reader.into_rows().collect::<Result<_, _>>().unwrap();
    let rows = rows(&files.at("out.csv"));
    assert_eq!(cells.len(), rows.len());
    for (cells, row) in cells.iter().zip(&rows) {
        for (name, kind) in [("value", Kind::Float), ("tokens", Kind::Int), ("ids", Kind::Text)] {
            let cell = &cells[columns.find(name, kind).unwrap()];
            let text = match cell {
                Cell::Float(x) => x.to_string(),
                Cell::Int(x) => x.to_string(),
                Cell::Text(x) => x.clone(),
                Cell::Missing => String::new(),
            };
            assert_eq!(text.parse::<f64>().map_err(|_| ()), row[name].parse::<f64>().map_err(|_| ()), "{name}");
        }
    }
    // nothing is run again, and another experiment is not mixed in
    json(&file, &["--out", &files.path("out.parquet")]);
    let other = corpus(&file, &["--metric", "kl"]);
    let out = files.path("out.parquet");
    refused(&[other, vec!["--out", &out]].concat(), 2, "is of another experiment");
}

/// The value of every hook that is saved is that of a single run.
#[test]
fn saved_activations_are_those_of_single_runs() {
    let files = Files::new("lines.txt", LINES);
    let edit = "blocks.0.attn.hook_z[head=1] = 0";
    for (dtype, tolerance) in [("f32", 1e-5), ("f16", 1e-3)] {
        let directory = files.path(dtype);
        let saved = [
            "--save",
            "blocks.*.hook_resid_post",
            "--save",
            "blocks.1.attn.hook_z",
            "--save-to",
            &directory,
            "--save-dtype",
            dtype,
            "--edit",
            edit,
        ];
        let report = json(&files.path("lines.txt"), &saved);
        assert_eq!(report["saved"]["files"], 1);
        let index: Value =
            serde_json::from_str(&fs::read_to_string(files.at(dtype).join("index.json")).unwrap()).unwrap();
        assert_eq!(
            (&index["complete"], &index["dtype"], &index["shards"][0]["prompts"]),
            (&true.into(), &dtype.into(), &3.into())
        );
        let bytes = fs::read(files.at(dtype).join(index["shards"][0]["file"].as_str().unwrap())).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let whole = |name: &str| -> Vec<i64> {
            tensors.tensor(name).unwrap().data().chunks(8).map(|x| i64::from_le_bytes(x.try_into().unwrap())).collect()
        };
        let (prompts, positions, tokens) = (whole("prompt"), whole("pos"), whole("token"));
        let mut engine = engine("demo", Processing::Folded, &[]);
        for number in 0..3 {
            let places: Vec<usize> = (0..prompts.len()).filter(|at| prompts[*at] == number).collect();
            let ids: Vec<u32> = places.iter().map(|at| u32::try_from(tokens[*at]).unwrap()).collect();
            assert_eq!(
                places.iter().map(|at| positions[*at]).collect::<Vec<_>>(),
                (0..ids.len() as i64).collect::<Vec<_>>()
            );
            let outcome = common::run(&mut engine, &common::spec(&ids, &[edit])).unwrap();
            for hook in index["hooks"].as_array().unwrap() {
                let name = hook["hook"].as_str().unwrap();
                let point: HookPoint = name.parse().unwrap();
                let expected: Vec<f32> =
                    engine.activation(&outcome.run, point).unwrap().unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let tensor = tensors.tensor(name).unwrap();
                let shape: Vec<usize> = serde_json::from_value(hook["shape"].clone()).unwrap();
                assert_eq!(tensor.shape(), [&[prompts.len()], shape.as_slice()].concat());
                let width: usize = shape.iter().product();
                let size = tensor.data().len() / prompts.len() / width;
                let value = |at: usize| match &tensor.data()[at * size..(at + 1) * size] {
                    [a, b] => half::f16::from_le_bytes([*a, *b]).to_f32(),
                    four => f32::from_le_bytes(four.try_into().unwrap()),
                };
                for (pos, at) in places.iter().enumerate() {
                    for unit in 0..width {
                        let (a, b) = (value(at * width + unit), expected[pos * width + unit]);
                        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{name} {pos} {unit}: {a} for {b}");
                    }
                }
            }
        }
    }
}

/// Prompts of a few words, and one long one at the end.
fn many(count: usize) -> String {
    let names = ["Mary", "John", "Tom", "Anna"];
    let line = |i: usize| {
        let (a, b) = (names[i % 4], names[(i / 4 + i + 1) % 4]);
        let more = ["", " and then", " again and again", " to the store"][i % 3];
        format!("When {a} and {b} went to the park{more}, {b} gave a book {i} to\n")
    };
    (0..count).map(line).collect()
}

#[cfg(unix)]
#[test]
fn a_stopped_run_goes_on_to_the_same_results() {
    use std::process::Command;

    use common::program::program;

    let files = Files::new("many.txt", &many(6000));
    let file = files.path("many.txt");
    let rest = [
        "--edit",
        "blocks.1.attn.hook_z[head=2] = resample seed 1",
        "--scores",
        "--top-contexts",
        "blocks.1.mlp.hook_post[d_mlp=7]",
        "--metric",
        "kl",
    ];
    let (out, directory) = (files.path("out.csv"), files.path("acts"));
    let saved = ["--save", "blocks.0.hook_mlp_out", "--save-to", &directory, "--out", &out, "--json"];
    let args = corpus(&file, &[&rest[..], &saved].concat());
    let mut stops = 0;
    let report: Value = loop {
        let child =
            program(&args).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let journal = files.at("out.csv.journal");
        let size = || journal.metadata().map_or(0, |found| found.len());
        let (before, began) = (size(), std::time::Instant::now());
        // until some more prompts are done
        while stops < 2 && size() < before + 100_000 && began.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        if stops == 2 {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(
                String::from_utf8_lossy(&output.stderr).contains("prompts were done before; going on with the others")
            );
            break serde_json::from_slice(&output.stdout).unwrap();
        }
        let (signal, name, code) = [("-INT", "Ctrl-C", 130), ("-TERM", "SIGTERM", 143)][stops];
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(&format!("stopped by {name} with ")), "{stderr}");
        assert!(stderr.contains("prompts left; start the same command again to go on"), "{stderr}");
        let part: Value = serde_json::from_slice(&output.stdout).unwrap();
        let done = part["done"].as_u64().unwrap();
        assert!(part["complete"] == false && done > 0 && done < 6000, "{done}");
        // another experiment does not go on with it
        let other = corpus(&file, &["--metric", "loss", "--out", &out]);
        refused(&other, 2, "is of another experiment");
        stops += 1;
    };
    // at once, to another place
    let (once, there) = (files.path("once.csv"), files.path("there"));
    let saved = ["--save", "blocks.0.hook_mlp_out", "--save-to", &there, "--out", &once, "--json"];
    let whole: Value = serde_json::from_str(&stdout(&corpus(&file, &[&rest[..], &saved].concat()))).unwrap();
    assert_eq!(fs::read_to_string(files.at("out.csv")).unwrap(), fs::read_to_string(files.at("once.csv")).unwrap());
    assert_eq!(
        (&report["metric"], &report["top_contexts"], &report["complete"]),
        (&whole["metric"], &whole["top_contexts"], &true.into())
    );
    // sums in another order
    let flat = |report: &Value| -> Vec<f64> {
        let scores = report["scores"].as_object().unwrap().values();
        scores
            .flat_map(|rows| {
                rows.as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()))
            })
            .collect()
    };
    assert!(flat(&report).iter().zip(flat(&whole)).all(|(a, b)| (a - b).abs() < 1e-9));
    // every position once, whatever the files
    let positions = |name: &str| -> Vec<(i64, i64)> {
        let index: Value =
            serde_json::from_str(&fs::read_to_string(files.at(name).join("index.json")).unwrap()).unwrap();
        let mut all = vec![];
        for shard in index["shards"].as_array().unwrap() {
            let bytes = fs::read(files.at(name).join(shard["file"].as_str().unwrap())).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let whole = |name: &str| {
                tensors
                    .tensor(name)
                    .unwrap()
                    .data()
                    .chunks(8)
                    .map(|x| i64::from_le_bytes(x.try_into().unwrap()))
                    .collect::<Vec<_>>()
            };
            all.extend(whole("prompt").into_iter().zip(whole("pos")));
        }
        all.sort_unstable();
        all
    };
    let (parts, all) = (positions("acts"), positions("there"));
    assert_eq!(parts.len(), all.len());
    assert!(parts == all && parts.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn heads_and_contexts_are_reported() {
    let files = Files::new("lines.txt", LINES);
    let file = files.path("lines.txt");
    let report = json(
        &file,
        &["--metric", "kl", "--ablate-heads", "--top-contexts", "blocks.*.attn.hook_z[head=1]", "--top", "2"],
    );
    let heads = &report["ablate_heads"];
    assert_eq!(
        (&heads["prompts"], &heads["op"], heads["effect"].as_array().unwrap().len()),
        (&3.into(), &"= 0".into(), 4)
    );
    let rows = [0, 2, 3].map(|at| {
        let text = LINES.lines().nth(at).unwrap().to_string();
        metric(&["--metric", "kl", &text, "--edit", "blocks.1.attn.hook_z[head=2] = 0"])
    });
    let mean = rows.iter().sum::<f64>() / 3.0;
    assert!(near(heads["effect"][1][2].as_f64().unwrap(), mean), "{} for {mean}", heads["effect"][1][2]);
    // of the loss, by the mean over the corpus, beside an edit that takes it too
    let (op, other) = ("= mean@corpus", "blocks.0.hook_mlp_out = mean@corpus");
    let report_of_loss = json(&file, &["--ablate-heads", "--op", op, "--edit", other]);
    let mean_with = |head: &[&str]| {
        let report = json(&file, &[&["--edit", other], head].concat());
        report["metric"]["value"]["mean"].as_f64().unwrap()
    };
    let expected = mean_with(&["--edit", "blocks.1.attn.hook_z[head=2] = mean@corpus"]) - mean_with(&[]);
    let found = report_of_loss["ablate_heads"]["effect"][1][2].as_f64().unwrap();
    assert!(near(found, expected), "{found} for {expected}");
    let tops = report["top_contexts"].as_array().unwrap();
    assert_eq!(tops.len(), 4, "one list for each block");
    let first = &tops[0]["contexts"][0];
    assert!(first["value"].as_f64().unwrap() >= tops[0]["contexts"][1]["value"].as_f64().unwrap());
    let at = (first["pos"].as_u64().unwrap() - first["first"].as_u64().unwrap()) as usize;
    assert!(first["tokens"][at]["text"].is_string());
    let text = stdout(&corpus(&file, &["--scores"]));
    assert!(text.contains("induction: mean over the prompts") && text.contains("loss"), "{text}");
    let piped = call(&corpus(&file, &[]));
    assert!(piped.stderr.is_empty(), "{}", String::from_utf8_lossy(&piped.stderr));
}

#[test]
fn shards_merge_into_the_table_of_one_run() {
    let lines: Vec<String> =
        (0..40).map(|i| format!("Mary and John {}", "went to the store, ".repeat(i % 5 + 1))).collect();
    let files = Files::new("c.txt", &lines.join("\n"));
    let (corpus_file, out) = (files.path("c.txt"), |name: &str| files.path(name));
    let edits = ["--edit", "blocks.1.hook_mlp_out = mean@corpus", "--edit", "blocks.0.hook_mlp_out = resample seed 3"];
    let run = |rest: &[&str]| stdout(&corpus(&corpus_file, &[&edits, rest].concat()));
    run(&["--out", &out("whole.parquet")]);
    for shard in ["3/3", "1/3", "2/3"] {
        let report = run(&["--out", &out("part-{shard}.parquet"), "--shard", shard, "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["shard"], shard);
        let prompts = report["corpus"]["prompts"].as_u64().unwrap();
        assert!((10..20).contains(&prompts), "{prompts} of 40 prompts");
    }
    let parts = [1, 2, 3].map(|number| out(&format!("part-{number}-of-3.parquet")));
    let merged = out("merged.parquet");
    let args = [&["merge", "--out", &merged], parts.each_ref().map(String::as_str).as_slice()].concat();
    stdout(&args);
    let read = |name: &str| -> Vec<Vec<Cell>> {
        Reader::open(&files.at(name)).unwrap().into_rows().map(Result::unwrap).collect()
    };
    let (merged, whole) = (read("merged.parquet"), read("whole.parquet"));
    assert_eq!((merged.len(), whole.len()), (40, 40));
    for (a, b) in merged.iter().flatten().zip(whole.iter().flatten()) {
        match (a, b) {
            // other prompts were in the batch
            (Cell::Float(a), Cell::Float(b)) => assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} instead of {b}"),
            (a, b) => assert_eq!(a, b),
        }
    }
    for rest in [&["--shard", "1/2"][..], &["--shard", "1/2", "--out", "x.csv", "--scores"]] {
        refused(&corpus(&corpus_file, rest), 2, "--shard");
    }
}
