//! A `model.safetensors`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui_fuzz::{checked, load, put, set_up};

fuzz_target!(init: set_up(), |file: &[u8]| {
    checked(|| {
        put("model.safetensors", file);
        let _ = load();
    });
});
