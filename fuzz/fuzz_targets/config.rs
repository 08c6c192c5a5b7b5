//! A `config.json`, and the sizes derived from it before weights are read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui::model::Config;
use pythia_tui_fuzz::{checked, set_up};

fuzz_target!(init: set_up(), |bytes: &[u8]| {
    checked(|| {
        let Ok(json) = serde_json::from_slice(bytes) else { return };
        match Config::from_json(&json) {
            Ok(config) => {
                let _ = (config.dims(), config.parameters());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});
