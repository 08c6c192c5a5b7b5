//! The header of a `model.safetensors` with its correct length, followed by data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui_fuzz::{checked, load, put, set_up};

/// About the size of the f32 fixtures.
const DATA: usize = 23_000;

fuzz_target!(init: set_up(), |header: &[u8]| {
    checked(|| {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.resize(file.len() + DATA, 0x3c);
        put("model.safetensors", &file);
        let _ = load();
    });
});
