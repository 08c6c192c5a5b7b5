//! The `data.pkl` of a `pytorch_model.bin` with a valid archive and valid storages.
#![no_main]

use std::{
    io::{Cursor, Read, Write},
    sync::OnceLock,
};

use libfuzzer_sys::fuzz_target;
use pythia_tui_fuzz::{checked, fixture, load, put, set_up};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// The entries of an archive written by `torch.save`; the pickle is replaced.
fn entries() -> &'static [(String, Vec<u8>)] {
    static ENTRIES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let mut archive = ZipArchive::new(Cursor::new(fixture("f16-bin/pytorch_model.bin"))).unwrap();
        (0..archive.len())
            .map(|i| {
                let mut entry = archive.by_index(i).unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (entry.name().unwrap().into_owned(), bytes)
            })
            .collect()
    })
}

fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries() {
        archive.start_file(name.as_str(), stored).unwrap();
        archive.write_all(if name.ends_with("/data.pkl") { pickle } else { bytes }).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fuzz_target!(init: set_up(), |pickle: &[u8]| {
    checked(|| {
        put("pytorch_model.bin", &archive(pickle));
        let _ = load();
    });
});
