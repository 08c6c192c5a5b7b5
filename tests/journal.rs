//! A journal keeps what is done: whatever a killed process leaves, nothing is lost but the unit it was working on.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use proptest::prelude::*;
use pythia_tui::table::{Cell, Columns, Journal, Kind, Metadata, Part, Reader, TableError, fingerprint};

fn columns() -> Columns {
    Columns::new(&[("cell", Kind::Int), ("value", Kind::Float), ("error", Kind::Text)])
}

fn part() -> Part {
    Part { of: "grid".into(), fingerprint: fingerprint("x"), shard: (0, 2), units: 9, key: "cell".into() }
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    part().write(&mut metadata);
    metadata
}

fn open(out: &Path) -> Result<Journal, TableError> {
    Journal::open(out, &part(), &columns(), |row| row[2] == Cell::Missing)
}

fn rows(unit: usize) -> Vec<Vec<Cell>> {
    let value = [0.1, f64::NEG_INFINITY, 1e-310, -0.0][unit % 4];
    (0..unit % 3 + 1).map(|_| vec![unit.into(), value.into(), Cell::Missing]).collect()
}

fn failed(unit: usize) -> Vec<Vec<Cell>> {
    vec![vec![unit.into(), Cell::Missing, "no such\nrevision".into()]]
}

fn found(out: &Path) -> Vec<Vec<Cell>> {
    Reader::open(out).unwrap().into_rows().map(Result::unwrap).collect()
}

#[test]
fn a_finished_part_holds_its_units_in_order_and_the_journal_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t.parquet");
    let mut journal = open(&out).unwrap();
    for unit in [4, 0, 7] {
        journal.add(unit, &rows(unit)).unwrap();
    }
    journal.finish(&out, &metadata()).unwrap();
    assert_eq!(found(&out), [rows(0), rows(4), rows(7)].concat());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_torn_end_costs_one_unit() {
    let dir = tempfile::tempdir().unwrap();
    let (out, path) = (dir.path().join("t.parquet"), dir.path().join("t.parquet.journal"));
    let mut journal = open(&out).unwrap();
    (0..4).for_each(|unit| journal.add(unit, &rows(unit)).unwrap());
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    for n in 0..whole.len() {
        fs::write(&path, &whole[..n]).unwrap();
        let mut journal = open(&out).unwrap();
        let kept = ends.iter().filter(|end| **end <= n).count().saturating_sub(1);
        assert_eq!(journal.len(), kept);
        (0..4).filter(|unit| !journal.contains(*unit)).collect::<Vec<_>>().into_iter().for_each(|unit| {
            journal.add(unit, &rows(unit)).unwrap();
        });
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), whole, "cut after {n} bytes");
    }
    // zeros in place of what never reached the disk
    let mut zeros = whole.clone();
    zeros[ends[2]..].fill(0);
    fs::write(&path, zeros).unwrap();
    assert_eq!(open(&out).unwrap().len(), 2);
}

#[test]
fn failed_units_of_a_finished_part_are_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t.parquet");
    let mut journal = open(&out).unwrap();
    journal.add(0, &rows(0)).unwrap();
    journal.add(1, &failed(1)).unwrap();
    journal.add(2, &rows(2)).unwrap();
    journal.finish(&out, &metadata()).unwrap();
    assert_eq!(found(&out), [rows(0), failed(1), rows(2)].concat());
    let mut journal = open(&out).unwrap();
    assert_eq!((journal.len(), journal.contains(1)), (2, false));
    journal.add(1, &rows(1)).unwrap();
    journal.finish(&out, &metadata()).unwrap();
    assert_eq!(found(&out), [rows(0), rows(1), rows(2)].concat());
}

#[test]
fn what_is_of_another_part_is_refused_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t.parquet");
    let others = [
        Part { fingerprint: fingerprint("y"), ..part() },
        Part { shard: (1, 2), ..part() },
        Part { units: 8, ..part() },
        Part { of: "corpus".into(), ..part() },
    ];
    let refused = |what: &str| {
        for other in &others {
            let error = Journal::open(&out, other, &columns(), |_| true).err().unwrap();
            assert!(error.is_usage() && error.to_string().contains("another experiment or shard"), "{what}: {error}");
        }
    };
    let mut journal = open(&out).unwrap();
    journal.add(3, &rows(3)).unwrap();
    let busy = open(&out).err().unwrap().to_string();
    assert!(busy.contains("another pythia-tui is working on it"), "{busy}");
    drop(journal);
    refused("an interrupted part");
    let journal = open(&out).unwrap();
    assert_eq!(journal.len(), 1);
    journal.finish(&out, &metadata()).unwrap();
    refused("a finished part");
    assert_eq!(found(&out), rows(3));
}

#[test]
fn csv_is_finished_from_a_journal_too() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t.csv");
    let mut journal = open(&out).unwrap();
    journal.add(1, &failed(1)).unwrap();
    journal.add(2, &rows(0)).unwrap();
    drop(journal);
    let mut journal = open(&out).unwrap();
    assert_eq!((journal.len(), journal.contains(1)), (1, false));
    journal.add(0, &rows(0)).unwrap();
    journal.add(1, &failed(1)).unwrap();
    journal.finish(&out, &metadata()).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "cell,value,error\n0,0.1,\n1,,\"no such\nrevision\"\n0,0.1,\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cells_are_kept_exactly(cells in proptest::collection::vec((any::<Option<i64>>(), any::<Option<f64>>(), any::<Option<String>>()), 0..20)) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("t.parquet");
        let rows: Vec<Vec<Cell>> = cells.into_iter().map(|(a, b, c)| vec![a.into(), b.into(), c.into()]).collect();
        let open = || Journal::open(&out, &part(), &columns(), |_| true).unwrap();
        let mut journal = open();
        journal.add(5, &rows).unwrap();
        drop(journal);
        let mut kept = vec![];
        let journal = open();
        journal.for_each(|unit, rows| { kept.push((unit, rows)); Ok(()) }).unwrap();
        // NaN is not equal to itself
        prop_assert_eq!(format!("{kept:?}"), format!("{:?}", vec![(5, rows)]));
    }
}
