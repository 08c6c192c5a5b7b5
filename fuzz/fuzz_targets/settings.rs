//! A `config.toml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui::cli::check_settings;
use pythia_tui_fuzz::{checked, set_up};

fuzz_target!(init: set_up(), |text: &str| {
    checked(|| {
        if let Err(reason) = check_settings(text) {
            assert!(!reason.is_empty());
        }
    });
});
