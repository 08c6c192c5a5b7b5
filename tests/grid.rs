//! `grid`, its shards and `merge`, on the demo, on directories and on a loopback hub.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{
    fixture,
    hub::FakeHub,
    program::{program, refused},
    spec,
};
use proptest::prelude::*;
use pythia_tui::{
    analysis::ObjectiveKind,
    engine::Spec,
    experiment::{Grid, GridProgress, GridRun, ModelChoice, Results, Shard},
    explorer::SavedView,
    model::{Dictionary, Placement, Processing},
    table::{Cell, Metadata, Reader},
};
use serde_json::{Value, json};

/// A directory with an experiment file.
fn experiment(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("grid.toml"), text).unwrap();
    dir
}

fn grid(dir: &Path, args: &[&str]) -> Command {
    let mut command = program(&[&["grid", "grid.toml"], args].concat());
    command.current_dir(dir);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The rows of a table as objects; a missing cell is null.
fn rows(path: &Path) -> Vec<Value> {
    let reader = Reader::open(path).unwrap();
    let columns = reader.columns.clone();
    let value = |cell: Cell| match cell {
        Cell::Missing => Value::Null,
        Cell::Int(x) => x.into(),
        Cell::Float(x) => x.into(),
        Cell::Text(x) => x.into(),
    };
    let row = |row: Vec<Cell>| {
        let cells = columns.0.iter().map(|column| column.name.clone()).zip(row.into_iter().map(value));
        Value::Object(cells.collect())
    };
    reader.into_rows().map(|found| row(found.unwrap())).collect()
}

const EDIT: &str = "blocks.1.attn.hook_z[head=2] = 0";

/// Prompts of the demo, with an edit.
fn demo() -> tempfile::TempDir {
    let dir = experiment(&format!(
        "version = 1\nmodel = 'demo'\ntarget = ' Mary'\ndistractor = ' John'\n\
         [grid]\nprompts = 'prompts.jsonl'\n\
         [[grid.prompt]]\nprompt = 'When Mary and John went to the store, John gave a drink to'\n\
         [[edit]]\nline = '{EDIT}'\n"
    ));
    let prompts = [
        r#"{"prompt": "When John and Mary met at the park, John gave a book to"}"#,
        "",
        r#"{"prompt": "Then Mary and Anna", "target": " Anna", "distractor": ""}"#,
        r#"{"tokens": [17, 4, 9]}"#,
    ];
    fs::write(dir.path().join("prompts.jsonl"), prompts.join("\n")).unwrap();
    dir
}

#[test]
fn every_row_equals_its_own_run() {
    let dir = demo();
    let said = ok(grid(dir.path(), &["--out", "t.parquet", "--json"]).output().unwrap());
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["cells"], 4);
    assert_eq!(
        (&report["failed"], &report["shard"], &report["metric"]),
        (&json!(0), &json!("1/1"), &json!("logit-diff"))
    );
    let rows = rows(&dir.path().join("t.parquet"));
    assert_eq!(rows.len(), 4);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!((&row["cell"], &row["prompt_number"]), (&json!(number), &json!(number)));
        assert_eq!((&row["model"], &row["edits"], &row["dtype"]), (&json!("demo"), &json!(EDIT), &json!("f32")));
        assert_eq!(
            (&row["processing"], &row["error"], &row["seed"]),
            (&json!("processed"), &Value::Null, &Value::Null)
        );
        let tokens = row["tokens"].as_str().unwrap();
        assert_eq!(row["n_tokens"], tokens.split(',').count());
        let mut args = vec!["run", "--json", "--model", "demo", "--tokens", tokens, "--metric", "logit-diff"];
        args.extend(["--target", row["target"].as_str().unwrap()]);
        args.extend(row["distractor"].as_str().map(|token| ["--distractor", token]).into_iter().flatten());
        let measured = |edits: &[&str]| {
            let run: Value = serde_json::from_str(&ok(program(&[&args, edits].concat()).output().unwrap())).unwrap();
            (
                run["metric"]["value"].as_f64().unwrap(),
                run["positions"].as_array().unwrap().last().unwrap()["kl"].clone(),
            )
        };
        let (value, kl) = measured(&["--edit", EDIT]);
        let (baseline, _) = measured(&[]);
        let close = |name: &str, expected: f64| {
            let found = row[name].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{name}: {found}, not {expected}");
        };
        close("value", value);
        close("baseline", baseline);
        close("effect", value - baseline);
        close("kl", kl.as_f64().unwrap());
    }
    assert_eq!(rows[2]["distractor"], Value::Null);
}

/// What is drawn for a grid: prompts, edits, a metric, and after how many cells it is stopped.
type Drawn = (Vec<(Vec<u32>, Vec<u32>, u32)>, Vec<&'static str>, &'static str, usize);

fn drawn() -> impl Strategy<Value = Drawn> {
    let prompt = (1usize..5).prop_flat_map(|n| {
        let tokens = || prop::collection::vec(0u32..50, n);
        (tokens(), tokens(), 0u32..50)
    });
    let edits = [
        "blocks.1.attn.hook_z[head=2] = 0",
        "blocks.0.hook_mlp_out[pos=-1] = patch",
        "blocks.*.hook_resid_pre *= 0.5",
        "blocks.0.attn.hook_pattern[query=0 key=0] += 1",
        "hook_embed[pos=1] = 0",
    ];
    let edits = prop::sample::subsequence(edits.to_vec(), 0..4);
    (
        prop::collection::vec(prompt, 1..40),
        edits,
        prop::sample::select(vec!["logit-diff", "prob", "kl", "loss"]),
        0usize..40,
    )
}

/// A grid's progress that stops it.
struct StopAfter<'a>(usize, &'a AtomicBool);

impl GridProgress for StopAfter<'_> {
    fn begins(&mut self, _: &str, _: Option<&str>, _: usize) {}
    fn fetches(&mut self, _: pythia_tui::model::Progress) {}
    fn ends(&mut self, _: Option<&str>) {
        self.0 = self.0.saturating_sub(1);
        self.1.store(self.0 == 0, Ordering::Relaxed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// Prompts of many lengths in batches, stopped and started again: each row is that of the single run.
    #[test]
    fn every_cell_of_a_batch_has_the_numbers_of_its_own_run((prompts, edits, metric, stop) in drawn()) {
        let tables: String = prompts.iter().map(|(tokens, contrast, target)| {
            format!("[[grid.prompt]]\ntokens = {tokens:?}\ncontrast-tokens = {contrast:?}\ntarget = '#{target}'\ndistractor = '#7'\n")
        }).collect();
        let lines: String = edits.iter().map(|line| format!("[[edit]]\nline = '{line}'\n")).collect();
        let dir = experiment(&format!("version = 1\nmodel = {:?}\n[grid]\nmetric = '{metric}'\n{tables}{lines}", fixture("parallel-25")));
        let choice = ModelChoice {
            name: None,
            revision: None,
            processing: Processing::Folded,
            device: "cpu".parse().unwrap(),
            dtype: "f32".parse().unwrap(),
            offline: true,
        };
        let grid = Grid::<SavedView>::read(&dir.path().join("grid.toml"), &choice, &[]).unwrap();
        let out = dir.path().join("t.parquet");
        let (mut done, mut failed) = (0, 0);
        for after in [stop, usize::MAX] {
            let cancel = AtomicBool::new(after == 0);
            let run = GridRun { shard: Shard::default(), keep_cache: true, cancel: &cancel };
            let mut journal = grid.journal(&out, Shard::default()).unwrap();
            // cells that failed are tried again
            prop_assert_eq!(journal.len(), done - failed);
            let ran = grid.run(&run, &mut journal, &mut StopAfter(after, &cancel)).unwrap();
            (done, failed) = (journal.len(), ran.failed);
            prop_assert!(ran.cells == prompts.len() && (done == prompts.len() || ran.stopped));
            if after == usize::MAX {
                journal.finish(&out, &Metadata::new()).unwrap();
            }
        }
        let mut engine = common::engine("parallel-25", Processing::Folded, &[]);
        let rows = rows(&out);
        prop_assert_eq!(rows.len(), prompts.len());
        for ((tokens, contrast, target), row) in prompts.iter().zip(&rows) {
            let spec = Spec { contrast: Some(contrast.clone()), ..spec(tokens, &edits) };
            let outcome = match common::run(&mut engine, &spec) {
                Ok(outcome) if metric != "loss" || tokens.len() > 1 => outcome,
                Ok(_) | Err(_) => {
                    prop_assert!(row["error"].is_string() && tokens.len() == 1, "{}", row);
                    continue;
                }
            };
            prop_assert_eq!(&row["error"], &Value::Null);
            let objective = metric.parse::<ObjectiveKind>().unwrap().of(tokens.len() - 1, Some(*target), Some(7)).unwrap();
            for (column, run) in [("value", &outcome.run), ("baseline", &outcome.baseline)] {
                let expected = engine.objective(objective, run, &outcome.baseline).unwrap();
                let found = row[column].as_f64().unwrap_or(f64::NAN);
                let near = (found - expected).abs() < 1e-5 * expected.abs().max(1.0) || found.is_nan() && expected.is_nan();
                prop_assert!(near, "{column}: {found} for {expected}, {row}");
            }
            prop_assert_eq!(row["kl"].is_null(), edits.is_empty());
            if let Some(kl) = row["kl"].as_f64() {
                prop_assert!((kl - outcome.kl.last().unwrap()).abs() < 1e-5, "{}", row);
            }
            let notes = outcome.effects.iter().zip(&edits);
            let notes: Vec<String> = notes.filter_map(|(effect, edit)| Some(format!("{edit}: no effect: {}", effect.no_effect.as_ref()?))).collect();
            prop_assert_eq!(row["note"].as_str().unwrap_or_default(), notes.join("\n"));
        }
    }
}

/// Features of a dictionary that the arguments or the file name, as `run` edits them; of the demo, its own.
#[test]
fn features_of_dictionaries_are_edited() {
    let micro = fixture("parallel-25").display().to_string();
    let sae = fixture("dictionaries").join("sae-lens-standard").display().to_string();
    let demo_hook = Dictionary::demo(&Placement::cpu()).unwrap().hook.unwrap();
    let own = format!("{demo_hook}.hook_sae_acts_post *= 0.5");
    let edit = "blocks.0.hook_resid_post.hook_sae_acts_post *= 0.5";
    for (model, line, args, table, named) in [
        (micro.as_str(), edit, &["--sae", sae.as_str()][..], String::new(), true),
        (&micro, edit, &[], format!("[[dictionary]]\nsource = '{sae}'\n"), true),
        // arguments come before the file
        (
            &micro,
            edit,
            &["--sae", sae.as_str()],
            "[[dictionary]]\nsource = 'blocks.0.hook_resid_post=/none'\n".into(),
            true,
        ),
        ("demo", &own, &[], String::new(), false),
        ("demo", &own, &["--sae", "demo"], String::new(), true),
    ] {
        let dir = experiment(&format!(
            "version = 1\nmodel = '{model}'\nmetric = 'kl'\n[[grid.prompt]]\ntokens = [5, 9, 7]\n[[grid.prompt]]\ntokens = [3, 4]\n[[grid.prompt]]\ntokens = [8, 4, 9]\n{table}[[edit]]\nline = '{line}'\n"
        ));
        ok(grid(dir.path(), &[&["--out", "t.parquet"], args].concat()).output().unwrap());
        let rows = rows(&dir.path().join("t.parquet"));
        assert_eq!(rows.len(), 3);
        let saes = if model == "demo" { vec![] } else { vec!["--sae", &sae] };
        for row in &rows {
            let tokens = row["tokens"].as_str().unwrap();
            let run = ["run", "--json", "--model", model, "--tokens", tokens, "--metric", "kl", "--edit", line];
            let run: Value = serde_json::from_str(&ok(program(&[&run[..], &saes].concat()).output().unwrap())).unwrap();
            let expected = run["metric"]["value"].as_f64().unwrap();
            let found = row["value"].as_f64().unwrap();
            assert!(expected > 0.0 && (found - expected).abs() < 1e-6 * expected.max(1.0), "{found} for {expected}");
            assert_eq!(row["dictionaries"].as_str().is_some_and(|text| text.contains("=")), named, "{row}");
        }
        // without it, or with another, it is another experiment
        if let ["--sae", _] = args {
            let other = grid(dir.path(), &["--out", "t.parquet"]).output().unwrap();
            assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
        }
    }
    // a dictionary that does not fit is the reason why a cell failed
    let dir = demo();
    let output = grid(dir.path(), &["--out", "t.parquet", "--sae", &sae]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let failed = rows(&dir.path().join("t.parquet"));
    assert!(failed.iter().all(|row| row["error"].as_str().unwrap().contains("sae-lens-standard")), "{failed:?}");
}

#[test]
fn csv_and_json_lines_hold_the_same_rows() {
    let dir = demo();
    for name in ["t.csv", "t.jsonl", "t.parquet"] {
        ok(grid(dir.path(), &["--out", name]).output().unwrap());
    }
    let expected = rows(&dir.path().join("t.parquet"));
    let lines = fs::read_to_string(dir.path().join("t.jsonl")).unwrap();
    let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // serde_json may read a float as its neighbour
    let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 4.0 * f64::EPSILON * a.abs(),
        (None, None) => a == b,
        (Some(_), None) | (None, Some(_)) => false,
    };
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let cells = found.as_object().unwrap();
        assert_eq!(cells.len(), expected.as_object().unwrap().len());
        assert!(cells.iter().all(|(name, value)| same(value, &expected[name])), "{found} instead of {expected}");
    }
    let csv = fs::read_to_string(dir.path().join("t.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    assert!(csv.starts_with("cell,model,revision,step,seed,commit,weights,dtype,"), "{csv}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "no journals are left");
}

/// A hub with two seeds at two revisions; the second seed lacks `step1000`.
fn published() -> FakeHub {
    let hub = FakeHub::start();
    for (seed, revision, model) in
        [(1, "step0", "parallel-25"), (1, "step1000", "parallel-100"), (2, "step0", "sequential-25")]
    {
        hub.publish(&format!("EleutherAI/pythia-14m-seed{seed}"), revision, &fixture(model));
    }
    hub
}

fn seeds() -> tempfile::TempDir {
    experiment(
        "version = 1\nmodel = 'pythia-14m-seed{seed}'\nprepend-bos = true\ntarget = '#5'\nmetric = 'prob'\n\
         [grid]\nseeds = [1, 2]\nrevisions = ['step0', 'step1000']\n\
         [[grid.prompt]]\ntokens = [1, 2, 3]\n[[grid.prompt]]\ntokens = [4, 5]\ntarget = '#6'\n",
    )
}

fn on_hub(command: &mut Command, hub: &FakeHub, cache: &Path) -> Output {
    let command = command.env("HF_ENDPOINT", hub.url()).env("HF_HUB_CACHE", cache).env("HF_HOME", "/nonexistent");
    command.env("HF_HUB_OFFLINE", "0").output().unwrap()
}

#[test]
fn a_missing_revision_is_recorded_and_only_it_is_run_again() {
    let (hub, dir, cache) = (published(), seeds(), tempfile::tempdir().unwrap());
    let out = dir.path().join("t.parquet");
    let run = || on_hub(&mut grid(dir.path(), &["--out", "t.parquet"]), &hub, cache.path());
    let failed = run();
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(text(&failed.stdout), "8 cells, 2 failed: t.parquet\n");
    let said = text(&failed.stderr);
    assert!(said.contains("2 of 8 cells failed; the column `error` says why"), "{said}");
    assert_eq!(said.matches("has no revision").count(), 1, "one message a checkpoint: {said}");
    let first = rows(&out);
    let key = |row: &Value| (row["seed"].as_u64().unwrap(), row["step"].as_u64().unwrap());
    let keys: Vec<(u64, u64)> = first.iter().map(key).collect();
    assert_eq!(keys, [(1, 0), (1, 0), (1, 1000), (1, 1000), (2, 0), (2, 0), (2, 1000), (2, 1000)]);
    for row in &first {
        let missing = key(row) == (2, 1000);
        assert_eq!(row["error"].as_str().is_some_and(|error| error.contains("step1000")), missing, "{row}");
        assert_eq!(
            (row["value"].is_null(), row["commit"].is_null(), row["weights"].is_null()),
            (missing, missing, missing)
        );
        assert!(row["tokens"].is_string());
    }
    assert_eq!((&first[0]["tokens"], &first[0]["model"]), (&json!("0,1,2,3"), &json!("pythia-14m-seed1")));
    assert_ne!(first[0]["weights"], first[2]["weights"]);
    assert_ne!(first[0]["value"], first[2]["value"]);

    hub.publish("EleutherAI/pythia-14m-seed2", "step1000", &fixture("sequential-25"));
    hub.requests();
    assert_eq!(ok(run()), "8 cells, 6 of them earlier, 0 failed: t.parquet\n");
    assert!(hub.requests().iter().all(|request| request.contains("seed2") && !request.contains("step0")));
    let second = rows(&out);
    assert_eq!(first[..6], second[..6]);
    assert_eq!((&second[6]["value"], &second[6]["weights"]), (&second[4]["value"], &second[4]["weights"]));
    // the explorer's curves: of seed 2 both steps have the same weights
    let results = Results::read(&out, &|_| String::new()).unwrap();
    assert_eq!((results.rows.len(), results.failed, results.metric.as_str()), (8, 0, "prob"));
    assert!(results.rows.is_sorted_by_key(|row| row.value - row.baseline));
    let [curve] = &results.curves[..] else { panic!("{:?}", results.curves) };
    assert_eq!((curve.family.as_str(), curve.points.len()), ("pythia-14m", 2));
    for (point, (step, copies)) in curve.points.iter().zip([(0, [false, true]), (1000, [false, false])]) {
        assert_eq!(point.step, step);
        assert_eq!(point.seeds.iter().map(|seed| seed.is_copy).collect::<Vec<_>>(), copies);
        for (seed, of_seed) in point.seeds.iter().zip(1..) {
            let rows = second.iter().filter(|row| key(row) == (of_seed, step));
            let mean = rows.map(|row| row["value"].as_f64().unwrap()).sum::<f64>() / 2.0;
            assert!((seed.value - mean).abs() < 1e-12, "{} at step {step}", seed.model);
        }
    }
    // with everything done, the hub is not asked
    assert_eq!(ok(run()), "8 cells, 8 of them earlier, 0 failed: t.parquet\n");
    assert_eq!(hub.requests(), Vec::<String>::new());
    assert_eq!(rows(&out), second);
}

/// The weights in a cache, as `REPOSITORY` and how many.
fn weights(cache: &Path) -> Vec<String> {
    let mut found = vec![];
    for repository in fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()) {
        let blobs = fs::read_dir(repository.join("blobs")).into_iter().flatten().flatten();
        let large = blobs.filter(|blob| blob.metadata().unwrap().len() > 10_000).count();
        if large > 0 {
            let name = repository.file_name().unwrap().to_str().unwrap().to_string();
            found.push(format!("{name} {large}"));
        }
    }
    found.sort();
    found
}

#[test]
fn downloads_can_be_dropped_and_what_was_there_before_stays() {
    let (hub, dir, cache) = (published(), seeds(), tempfile::tempdir().unwrap());
    let fetch = ["run", "--model", "pythia-14m-seed1", "--revision", "step1000", "--tokens", "1,2"];
    ok(on_hub(&mut program(&fetch), &hub, cache.path()));
    let before = weights(cache.path());
    assert_eq!(before, ["models--EleutherAI--pythia-14m-seed1 1"]);
    let run = |args: &[&str]| on_hub(&mut grid(dir.path(), args), &hub, cache.path());
    assert_eq!(run(&["--out", "dropped.parquet", "--keep-cache", "no"]).status.code(), Some(1));
    assert_eq!(weights(cache.path()), before);
    // what is there is used without the hub
    let mut offline = program(&[&fetch[..], &["--offline"]].concat());
    ok(offline.env("HF_HUB_CACHE", cache.path()).output().unwrap());
    assert_eq!(run(&["--out", "kept.parquet"]).status.code(), Some(1));
    assert_eq!(
        weights(cache.path()),
        ["models--EleutherAI--pythia-14m-seed1 2", "models--EleutherAI--pythia-14m-seed2 1"]
    );
    assert_eq!(rows(&dir.path().join("dropped.parquet")), rows(&dir.path().join("kept.parquet")));
    assert_eq!(run(&["--out", "again.parquet", "--keep-cache", "no"]).status.code(), Some(1));
    assert_eq!(weights(cache.path()).len(), 2, "what an earlier run downloaded stays");
}

fn merge(dir: &Path, args: &[&str]) -> Output {
    program(&[&["merge"], args].concat()).current_dir(dir).output().unwrap()
}

#[test]
fn shards_in_any_order_merge_into_the_table_of_one_run() {
    let (hub, dir, cache) = (published(), seeds(), tempfile::tempdir().unwrap());
    let run = |args: &[&str]| on_hub(&mut grid(dir.path(), args), &hub, cache.path());
    assert_eq!(run(&["--out", "whole.parquet"]).status.code(), Some(1));
    let mut codes = vec![];
    for shard in ["5/6", "1/6", "6/6", "3/6", "2/6", "4/6"] {
        codes.push(run(&["--out", "part-{shard}.parquet", "--shard", shard]).status.code().unwrap());
    }
    // there are 4 checkpoints of 2 prompts: 8 units for 6 shards
    assert!(codes.contains(&0) && codes.contains(&1), "{codes:?}");
    let parts: Vec<String> = [4, 2, 6, 1, 3, 5].iter().map(|shard| format!("part-{shard}-of-6.parquet")).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let merged = merge(dir.path(), &[&parts[..], &["--out", "merged.parquet", "--json"]].concat());
    let report: Value = serde_json::from_str(&ok(merged)).unwrap();
    assert_eq!(report, json!({"out": "merged.parquet", "parts": 6, "units": 8, "rows": 8}));
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(bytes("merged.parquet") == bytes("whole.parquet"));
    // what was merged is itself a whole
    assert!(merge(dir.path(), &["merged.parquet", "--out", "again.csv"]).status.success());

    let wrong = |args: &[&str], code: i32, reason: &str| {
        let output = merge(dir.path(), &[args, &["--out", "wrong.parquet"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!dir.path().join("wrong.parquet").exists());
    };
    wrong(&parts[1..], 1, "1 of 6 shards are missing: 4");
    wrong(&[&parts[..], &parts[..1]].concat(), 2, "both hold shard 4 of 6");
    wrong(&["grid.toml"], 1, "is no Parquet file");
    wrong(&[&parts[..5], &["whole.parquet"]].concat(), 2, "are of different experiments");
}

#[test]
fn tasks_of_schedulers_find_their_shard() {
    let dir = demo();
    let run = |variables: &[(&str, &str)]| {
        let mut command = grid(dir.path(), &["--out", "{shard}.parquet", "--shard", "auto"]);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    for index in ["2", "0", "1"] {
        ok(run(&[("JOB_COMPLETION_INDEX", index), ("JOB_COMPLETIONS", "3")]));
    }
    let slurm = |id: &'static str, max: &'static str| {
        [("ID", id), ("MIN", "1"), ("MAX", max), ("STEP", "1"), ("COUNT", max)]
            .map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), value))
    };
    for id in ["1", "2"] {
        let variables = slurm(id, "2");
        ok(run(&variables.each_ref().map(|(name, value)| (name.as_str(), *value))));
    }
    ok(merge(dir.path(), &["1-of-3.parquet", "2-of-3.parquet", "3-of-3.parquet", "--out", "three.parquet"]));
    ok(merge(dir.path(), &["1-of-2.parquet", "2-of-2.parquet", "--out", "two.parquet"]));
    assert_eq!(rows(&dir.path().join("three.parquet")), rows(&dir.path().join("two.parquet")));
    let none = run(&[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("none of SLURM_ARRAY_TASK_ID"));
}

/// Many prompts, so that a run takes a while.
fn many() -> tempfile::TempDir {
    let dir = experiment(
        "version = 1\nmodel = 'demo'\nmetric = 'kl'\n[grid]\nprompts = 'prompts.txt'\n[[edit]]\nline = 'hook_embed *= 0.5'\n",
    );
    let prompts: Vec<String> =
        (0..3000).map(|i| format!("Mary and John {}", "went to the store, ".repeat(i % 7 + 1))).collect();
    fs::write(dir.path().join("prompts.txt"), prompts.join("\n")).unwrap();
    dir
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().matches('\n').count()
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_with_nothing_lost_and_nothing_twice() {
    let dir = many();
    ok(grid(dir.path(), &["--out", "whole.parquet"]).output().unwrap());
    let journal = dir.path().join("t.parquet.journal");
    let mut kills = 0;
    for (signal, code) in [("-KILL", None), ("-KILL", None), ("-INT", Some(130)), ("-TERM", Some(143))] {
        let before = lines(&journal);
        let mut command = grid(dir.path(), &["--out", "t.parquet"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        while lines(&journal) < before + 3 && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        // it may have ended by itself
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        kills += 1;
        assert_eq!(output.status.code(), code, "{}", text(&output.stderr));
        if code.is_some() {
            let said = text(&output.stderr);
            assert!(said.contains("of 3000 cells are done, and the same command goes on from there"), "{said}");
            let name = if signal == "-INT" { "stopped by Ctrl-C; " } else { "stopped by SIGTERM; " };
            assert!(said.contains(name), "{said}");
        }
        assert!(!dir.path().join("t.parquet").exists());
    }
    assert!(kills > 1);
    let said = ok(grid(dir.path(), &["--out", "t.parquet", "--json"]).output().unwrap());
    let report: Value = serde_json::from_str(&said).unwrap();
    assert!(report["earlier"].as_u64().unwrap() >= 3 * kills - 3, "{report}");
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(bytes("t.parquet") == bytes("whole.parquet"));
    assert!(!journal.exists());
}

#[test]
fn a_changed_experiment_is_refused_and_not_mixed() {
    let dir = demo();
    ok(grid(dir.path(), &["--out", "t.parquet"]).output().unwrap());
    let before = fs::read(dir.path().join("t.parquet")).unwrap();
    let refused = |args: &[&str]| {
        let output = grid(dir.path(), &[&["--out", "t.parquet"], args].concat()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("t.parquet is of another experiment or shard: remove it to begin anew"), "{said}");
        assert!(fs::read(dir.path().join("t.parquet")).unwrap() == before);
    };
    refused(&["--no-processing"]);
    refused(&["--dtype", "f16"]);
    refused(&["--shard", "1/2"]);
    refused(&["--model", &fixture("parallel-25").display().to_string()]);
    let prompts = dir.path().join("prompts.jsonl");
    let text = fs::read_to_string(&prompts).unwrap();
    fs::write(&prompts, text.replace("park", "pond")).unwrap();
    refused(&[]);
    fs::write(&prompts, text).unwrap();
    let said = ok(grid(dir.path(), &["--out", "t.parquet", "--threads", "1"]).output().unwrap());
    assert_eq!(said, "4 cells, 4 of them earlier, 0 failed: t.parquet\n");
}

#[test]
fn only_tables_of_effects_are_shown() {
    use pythia_tui::table::{Columns, Kind, Metadata, write};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let read = || Results::read(&path, &|ids| format!("{ids:?}"));
    let save = |columns: &[(&str, Kind)], rows: Vec<Vec<Cell>>| {
        let fill = |sink: &mut pythia_tui::table::Sink<'_>| rows.into_iter().try_for_each(|row| sink.push(row));
        write(&path, &Columns::new(columns), &Metadata::new(), fill).unwrap();
    };
    save(&[("value", Kind::Float)], vec![]);
    assert!(
        read()
            .unwrap_err()
            .to_string()
            .ends_with("has no columns `baseline` and `value`; expected a table of grid or corpus")
    );
    let columns = [("value", Kind::Float), ("baseline", Kind::Float), ("ids", Kind::Text), ("metric", Kind::Text)];
    let row = |value: f64, metric: &str| vec![value.into(), 1.0.into(), "5 6".into(), metric.into()];
    save(&columns, vec![row(1.0, "kl"), row(1.0, "prob")]);
    assert!(read().unwrap_err().to_string().contains("several metrics (kl and prob)"));
    save(&columns, vec![row(3.0, "kl"), row(f64::NAN, "kl"), row(2.0, "kl"), vec![Cell::Missing; 4]]);
    let error = read().unwrap_err().to_string();
    assert!(error.contains("several metrics"), "a row without a metric: {error}");
    save(&columns, vec![row(3.0, "kl"), row(f64::NAN, "kl"), row(2.0, "kl")]);
    let results = read().unwrap();
    assert_eq!((results.failed, results.curves.len(), results.mean.unwrap().mean), (1, 0, 1.5));
    assert_eq!(results.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [2.0, 3.0]);
    assert_eq!((results.prompts[0].text.as_str(), results.prompts.len()), ("[5, 6]", 1));
    assert_eq!(results.prompts[0].tokens, Some(vec![5, 6]));
}

#[test]
fn mistakes_are_explained_before_anything_runs() {
    let wrong = |body: &str, reason: &str| {
        let dir = experiment(&format!("version = 1\n{body}"));
        let output = grid(dir.path(), &["--out", "t.parquet"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{body}: {said}");
        assert!(said.contains(reason), "{body}: {said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{body}");
    };
    let kl = "metric = 'kl'\nprompt = 'x'\n";
    wrong("model = 'demo'\nprompt = 'x'\n", "the metric logit-diff needs a target, and prompt 1 has none");
    wrong("model = 'demo'\nmetric = 'kl'\n", "prompt 1 has neither a text nor tokens");
    wrong(&format!("model = 'm-seed{{seed}}'\n{kl}"), "`{seed}` in a model's name needs `seeds = [1, 2]`");
    wrong(&format!("model = 'demo'\n{kl}[grid]\nseeds = [1]\n"), "no model has `{seed}` in its name");
    wrong(&format!("model = 'demo'\n{kl}[grid]\nrevisions = []\n"), "no revisions");
    wrong(&format!("model = 'demo'\n{kl}[grid]\nrevisions = 'al'\n"), "or \"all\" for the 154 checkpoints");
    wrong(
        &format!("model = 'demo'\n{kl}[grid]\nmodels = ['demo', 'demo']\n"),
        "line 6, column 19: demo at its default revision is listed twice",
    );
    wrong(&format!("model = 'demo'\n{kl}[grid]\nmodel = 'x'\n"), "unknown field `model`");
    wrong(&format!("model = 'demo'\n{kl}[grid]\nprompts = 'none.txt'\n"), "none.txt: No such file or directory");
    let args = |args: &[&str], reason: &str| {
        let dir = demo();
        let path = dir.path().join("grid.toml").display().to_string();
        refused(&[&["grid", &path], args].concat(), 2, reason);
    };
    args(&[], "--out");
    args(&["--out", "t.txt"], "ends in .parquet, .csv or .jsonl");
    args(&["--out", "t.csv", "--shard", "4/3"], "expected 1/3 to 3/3");
    args(&["--out", "t.csv", "--shard", "0/3"], "expected 1/3 to 3/3");
    args(&["--out", "t.csv", "--shard", "x"], "expected I/N, such as 3/64, or auto");
}

#[test]
fn wrong_lines_of_prompt_files_are_named() {
    let wrong = |name: &str, contents: &str, reason: &str| {
        let dir = experiment(&format!("version = 1\nmodel = 'demo'\nmetric = 'kl'\n[grid]\nprompts = '{name}'\n"));
        fs::write(dir.path().join(name), contents).unwrap();
        let said = text(&grid(dir.path(), &["--out", "t.parquet"]).output().unwrap().stderr);
        assert!(said.contains("grid.toml, line 5, column 11: ") && said.contains(reason), "{said}");
    };
    wrong("p.txt", "\n \n", "p.txt: it holds no prompt");
    wrong("p.jsonl", "{\"prompt\": \"x\"}\n{\"text\": \"x\"}\n", "p.jsonl, line 2: unknown field `text`");
    wrong("p.jsonl", "{\"target\": \"x\"}\n", "line 1: no prompt; expected {\"prompt\": TEXT");
    wrong("p.csv", "clean,corrupted,correct_idx\na,b,x\n", "line 2");
    wrong("p.csv", "prompt\na\n", "expected the columns clean, corrupted, correct_idx, incorrect_idx");
}

#[test]
fn a_prompt_that_does_not_fit_fails_alone() {
    let dir = experiment(
        "version = 1\nmodel = 'demo'\nmetric = 'kl'\n[grid]\nprompts = 'p.csv'\n[[edit]]\nline = 'hook_embed[pos=4] = patch'\n",
    );
    let pairs = "clean,corrupted,correct_idx,incorrect_idx\nMary and John went,John and Mary went,5,6\nMary,John,5,6\n";
    fs::write(dir.path().join("p.csv"), pairs).unwrap();
    let output = grid(dir.path(), &["--out", "t.parquet"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rows = rows(&dir.path().join("t.parquet"));
    let failed: Vec<bool> = rows.iter().map(|row| row["error"].is_string()).collect();
    assert!(failed.contains(&true) && rows.len() == 2, "{rows:?}");
    assert_eq!((&rows[1]["prompt"], &rows[1]["contrast"]), (&json!("Mary"), &json!("John")));
}
