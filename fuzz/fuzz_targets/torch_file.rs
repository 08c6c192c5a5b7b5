//! A `pytorch_model.bin`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui_fuzz::{checked, load, put, set_up};

fuzz_target!(init: set_up(), |file: &[u8]| {
    checked(|| {
        put("pytorch_model.bin", file);
        let _ = load();
    });
});
