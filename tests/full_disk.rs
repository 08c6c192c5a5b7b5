//! Writing to a disk that fills up at any byte is an error and leaves the existing file untouched.
//!
//! The test runs in its own process, because it limits the size of the files that the process can write.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Write, path::Path};

use common::{engine, run, spec};
use pythia_tui::{
    engine::{Array, save_cache, write_npz},
    fs::{Readers, write_atomic, write_text},
    model::Processing,
    table::{self, Cell, Columns, Kind, Metadata},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn limit_files(bytes: Option<u64>) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

type Writer<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// Write a file with every size limit within its last kilobyte, and then without one.
fn write_with_little_room(path: &Path, write: Writer<'_>) {
    write(path).unwrap();
    let whole = fs::read(path).unwrap();
    let size = whole.len() as u64;
    for room in size.saturating_sub(1024)..size {
        fs::write(path, "before").unwrap();
        limit_files(Some(room));
        let written = write(path);
        limit_files(None);
        assert!(written.is_err(), "{} with room for {room} of {size} bytes", path.display());
        assert_eq!(fs::read(path).unwrap(), b"before");
    }
    limit_files(Some(size));
    let written = write(path);
    limit_files(None);
    written.unwrap();
    assert_eq!(fs::read(path).unwrap(), whole);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [path.file_name().unwrap()], "nothing is left beside it");
}

#[test]
fn every_writer_notices_a_full_disk_at_every_byte() {
    // otherwise the signal that accompanies the error would end the process
    let caught = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, caught.clone()).unwrap();
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let outcome = run(&mut engine, &spec(&[1, 2, 3], &[])).unwrap();
    let array = |name: &str, n: u8| Array { name: name.into(), shape: vec![n.into()], values: vec![0.5; n.into()] };
    let arrays = [array("values", 200), array("others", 3)];
    let text = "a line of text\n".repeat(200);
    let table = |path: &Path| {
        let columns = Columns::new(&[("cell", Kind::Int), ("text", Kind::Text)]);
        let row = |i: usize| vec![i.into(), Cell::Text(format!("text {i}"))];
        let written =
            table::write(path, &columns, &Metadata::new(), |sink| (0..300).try_for_each(|i| sink.push(row(i))));
        written.map_err(|error| {
            let message = error.to_string();
            assert!(message.ends_with(": File too large"), "{message}");
            message
        })
    };
    let writers: [(&str, Writer<'_>); 8] = [
        ("t.parquet", &table),
        ("t.csv", &table),
        ("t.jsonl", &table),
        ("c.npz", &|path| save_cache(&engine, &outcome.run, path).map_err(|e| e.to_string())),
        ("c.safetensors", &|path| save_cache(&engine, &outcome.run, path).map_err(|e| e.to_string())),
        ("view.npz", &|path| {
            write_atomic(path, Readers::AsBefore, |file| write_npz(file, &arrays)).map_err(|e| e.to_string())
        }),
        ("experiment.toml", &|path| write_text(path, Readers::Owner, &text).map_err(|e| e.to_string())),
        ("table.csv", &|path| {
            let rows = |file: &mut fs::File| {
                let mut out = csv::Writer::from_writer(file);
                (0..300).try_for_each(|row| out.write_record([row.to_string(), "\"quoted\"".into()]))?;
                out.flush()
            };
            write_atomic(path, Readers::AsBefore, rows).map_err(|e| e.to_string())
        }),
    ];
    for (name, write) in writers {
        let dir = tempfile::tempdir().unwrap();
        write_with_little_room(&dir.path().join(name), write);
    }
    assert!(caught.load(std::sync::atomic::Ordering::Relaxed), "the limit was felt");
    // afterwards, files can be written again
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"x").unwrap();
}
