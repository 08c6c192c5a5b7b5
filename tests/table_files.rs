//! Tables of results: what is written reads back, other programs read it, and broken files are errors.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, io, path::Path, process::Command};

use proptest::prelude::*;
use pythia_tui::table::{Cell, Columns, Format, Kind, Metadata, Reader, TableError, write};

fn columns() -> Columns {
    Columns::new(&[("cell", Kind::Int), ("value", Kind::Float), ("prompt", Kind::Text)])
}

fn save(path: &Path, rows: &[Vec<Cell>], metadata: &Metadata) -> Result<(), TableError> {
    write(path, &columns(), metadata, |sink| rows.iter().try_for_each(|row| sink.push(row.clone())))
}

fn load(path: &Path) -> Result<Vec<Vec<Cell>>, TableError> {
    Reader::open(path)?.into_rows().collect()
}

/// Rows with everything that is difficult to write.
fn rows() -> Vec<Vec<Cell>> {
    let texts = ["", "plain", "a,b\n\"c\"\r", "\u{0}\u{1b}[2J", " 中文 👩\u{200d}💻", "NULL", "1"];
    let floats = [0.1, -0.0, 1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, 1.0];
    let mut rows: Vec<Vec<Cell>> = texts
        .iter()
        .zip(floats)
        .zip(0_i64..)
        .map(|((text, x), i)| vec![(i64::MAX - i).into(), x.into(), (*text).into()])
        .collect();
    rows.push(vec![Cell::Missing; 3]);
    rows.push(vec![Cell::Int(i64::MIN), f64::NAN.into(), Cell::Missing]);
    rows
}

fn same(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

fn assert_same(found: &[Vec<Cell>], expected: &[Vec<Cell>]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!(same(a, b), "{a:?} instead of {b:?}");
    }
}

#[test]
fn parquet_reads_back_with_its_metadata_over_several_row_groups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let metadata = Metadata::from([("experiment".into(), "a = \"b\"\n".into()), ("empty".into(), String::new())]);
    for n in [0, 1, 9, 4096, 4097, 65_536, 140_000] {
        let rows: Vec<Vec<Cell>> = rows().into_iter().cycle().take(n).collect();
        save(&path, &rows, &metadata).unwrap();
        let reader = Reader::open(&path).unwrap();
        assert_eq!((reader.len(), &reader.columns, reader.is_empty()), (n, &columns(), n == 0));
        for (key, value) in &metadata {
            assert_eq!(reader.metadata.get(key), Some(value));
        }
        assert_same(&load(&path).unwrap(), &rows);
    }
}

#[test]
fn long_texts_do_not_pile_up_in_memory_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let row = |i: i64| vec![Cell::Int(i), Cell::Missing, Cell::Text(i.to_string().repeat(3 << 20))];
    write(&path, &columns(), &Metadata::new(), |sink| (0..40).try_for_each(|i| sink.push(row(i)))).unwrap();
    let mut n = 0;
    for (found, i) in Reader::open(&path).unwrap().into_rows().zip(0..) {
        assert!(found.unwrap() == row(i));
        n += 1;
    }
    assert_eq!(n, 40);
}

#[test]
fn csv_and_json_lines_hold_the_same_cells() {
    let dir = tempfile::tempdir().unwrap();
    let (csv_path, json_path) = (dir.path().join("t.csv"), dir.path().join("t.jsonl"));
    save(&csv_path, &rows(), &Metadata::new()).unwrap();
    save(&json_path, &rows(), &Metadata::new()).unwrap();
    let mut csv = csv::Reader::from_path(&csv_path).unwrap();
    assert_eq!(csv.headers().unwrap(), vec!["cell", "value", "prompt"]);
    let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let json = fs::read_to_string(&json_path).unwrap();
    let objects: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((records.len(), objects.len()), (rows().len(), rows().len()));
    for ((row, record), object) in rows().iter().zip(&records).zip(&objects) {
        for ((cell, text), name) in row.iter().zip(record).zip(["cell", "value", "prompt"]) {
            let value = &object[name];
            match cell {
                Cell::Missing => assert!(text.is_empty() && value.is_null()),
                Cell::Int(x) => assert!(text.parse() == Ok(*x) && value.as_i64() == Some(*x)),
                Cell::Text(x) => assert!(text == x && value.as_str() == Some(x)),
                Cell::Float(x) => {
                    assert!(same(&Cell::Float(text.parse().unwrap()), cell));
                    assert_eq!(value.is_f64(), x.is_finite());
                }
            }
        }
    }
    let first = fs::read_to_string(&csv_path).unwrap();
    assert!(first.starts_with("cell,value,prompt\n9223372036854775807,0.1,\n"), "{first}");
}

#[test]
fn the_ending_decides_and_others_are_refused_before_anything_is_written() {
    for (name, format) in [("a.parquet", Format::Parquet), ("a.CSV", Format::Csv), ("a.b.ndjson", Format::JsonLines)] {
        assert_eq!(Format::of(Path::new(name)).unwrap(), format);
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "a.txt", ".parquet", "a.json"] {
        let refused = save(&dir.path().join(name), &rows(), &Metadata::new()).unwrap_err();
        assert!(refused.is_usage() && refused.to_string().contains("ends in .parquet, .csv or .jsonl"), "{refused}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_failure_leaves_the_previous_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["t.parquet", "t.csv", "t.jsonl"] {
        let path = dir.path().join(name);
        fs::write(&path, "before").unwrap();
        let stopped = write(&path, &columns(), &Metadata::new(), |sink| {
            rows().into_iter().try_for_each(|row| sink.push(row))?;
            Err(io::Error::other("stopped"))
        });
        assert!(stopped.unwrap_err().to_string().ends_with(": stopped"));
        let wrong = write(&path, &columns(), &Metadata::new(), |sink| sink.push(vec![Cell::Text("x".into()); 3]));
        assert!(wrong.unwrap_err().to_string().contains("does not fit the columns"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let refused = save(&dir.path().join("none/t.parquet"), &rows(), &Metadata::new()).unwrap_err().to_string();
    assert!(refused.contains("none/t.parquet: No such file or directory"), "{refused}");
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let reason = |path: &Path| Reader::open(path).err().unwrap().to_string();
    for bytes in [&b""[..], b"PAR", b"cell,value\n1,2\n", &[0; 100]] {
        fs::write(&path, bytes).unwrap();
        assert!(reason(&path).ends_with("it is no Parquet file; expected a table that pythia-tui wrote"));
    }
    assert!(reason(dir.path()).contains("it is a directory"));
    assert!(reason(&dir.path().join("none")).contains("No such file"));
}

#[test]
fn truncated_and_changed_files_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    save(&path, &rows(), &Metadata::from([("key".into(), "value".into())])).unwrap();
    let whole = fs::read(&path).unwrap();
    for n in 0..whole.len() {
        fs::write(&path, &whole[..n]).unwrap();
        load(&path).unwrap_err();
    }
    let mut refused = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            fs::write(&path, &changed).unwrap();
            refused += usize::from(load(&path).is_err());
        }
    }
    assert!(refused > whole.len(), "{refused} of {}", 3 * whole.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_read_back(rows in proptest::collection::vec((any::<Option<i64>>(), any::<Option<f64>>(), any::<Option<String>>()), 0..80)) {
        let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(a, b, c)| vec![a.into(), b.into(), c.into()]).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        save(&path, &rows, &Metadata::new()).unwrap();
        assert_same(&load(&path).unwrap(), &rows);
    }
}

/// The Python that has duckdb, polars and pyarrow; None, with the reason on stderr, if the test is skipped.
fn python() -> Option<String> {
    let python = std::env::var("PYTHIA_TUI_TABLES_PYTHON").ok();
    if python.is_none() {
        eprintln!("skipped: PYTHIA_TUI_TABLES_PYTHON names no Python with duckdb, polars and pyarrow");
    }
    python
}

fn run(python: &str, script: &str, dir: &Path) -> String {
    let out = Command::new(python).arg("-c").arg(script).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn duckdb_and_polars_read_parts_together() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("part-1.parquet"), &rows(), &Metadata::new()).unwrap();
    save(&dir.path().join("part-2.parquet"), &rows()[..2], &Metadata::new()).unwrap();
    save(&dir.path().join("part-3.parquet"), &[], &Metadata::new()).unwrap();
    let script = r#"
import duckdb, math, polars
found = duckdb.sql("select * from 'part-*.parquet'").fetchall()
types = [str(t) for t in duckdb.sql("select * from 'part-*.parquet'").types]
assert types == ["BIGINT", "DOUBLE", "VARCHAR"], types
frame = polars.read_parquet("part-*.parquet")
assert [str(t) for t in frame.dtypes] == ["Int64", "Float64", "String"], frame.dtypes
texts = ["", "plain", 'a,b\n"c"\r', "\0\x1b[2J", " 中文 👩\u200d💻", "NULL", "1", None, None]
floats = [0.1, -0.0, 1e300, 5e-324, math.inf, -math.inf, 1.0, None, math.nan]
ints = [2**63 - 1 - i for i in range(7)] + [None, -2**63]
expected = list(zip(ints, floats, texts))
expected += expected[:2]
same = lambda a, b: a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
for rows in found, frame.rows():
    assert len(rows) == 11 and all(same(x, y) for a, b in zip(rows, expected) for x, y in zip(a, b)), rows
"#;
    run(&python, script, dir.path());
}

#[test]
fn files_that_duckdb_and_pyarrow_rewrote_are_read() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    save(&path, &rows(), &Metadata::new()).unwrap();
    let script = r#"
import duckdb, pyarrow as pa, pyarrow.parquet as pq
duckdb.sql("copy (from 't.parquet') to 'duckdb.parquet'")
table = pq.read_table("t.parquet")
pq.write_table(table, "arrow.parquet")
small = pa.schema([("flag", pa.bool_()), ("small", pa.int32()), ("single", pa.float32()), pa.field("whole", pa.int64(), False)])
pq.write_table(pa.table({"flag": [True, None], "small": [None, -7], "single": [0.5, None], "whole": [1, 2]}, schema=small), "small.parquet")
pq.write_table(pa.table({"list": [[1, 2], []]}), "nested.parquet")
pq.write_table(pa.table({"x": [1]}), "zstd.parquet", compression="zstd")
"#;
    run(&python, script, dir.path());
    for name in ["duckdb.parquet", "arrow.parquet"] {
        assert_same(&load(&dir.path().join(name)).unwrap(), &rows());
    }
    let small = load(&dir.path().join("small.parquet")).unwrap();
    let expected = [
        vec![Cell::Int(1), Cell::Missing, Cell::Float(0.5), Cell::Int(1)],
        vec![Cell::Missing, Cell::Int(-7), Cell::Missing, Cell::Int(2)],
    ];
    assert_eq!(small, expected);
    let nested = load(&dir.path().join("nested.parquet")).unwrap_err().to_string();
    assert!(nested.contains("is nested; expected plain columns"), "{nested}");
    let zstd = load(&dir.path().join("zstd.parquet")).unwrap_err().to_string();
    assert!(zstd.contains("zstd") && zstd.ends_with("; expected Snappy or none"), "{zstd}");
}
