//! A line of the edit grammar, its canonical form, where its errors point, and what it selects in a model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui::hooks::{Dims, Edit, Plan, Schema};
use pythia_tui_fuzz::{checked, set_up};

const DIMS: Dims = Dims { n_layers: 6, n_heads: 8, d_head: 4, d_model: 32, d_mlp: 128, d_vocab: 50, parallel: true };

fuzz_target!(init: set_up(), |line: &str| {
    checked(|| match line.parse::<Edit>() {
        Ok(edit) => {
            let written = edit.to_string();
            let again: Edit = written.parse().unwrap_or_else(|error| panic!("{error} in {written:?}"));
            assert_eq!(again, edit);
            assert_eq!(again.to_string(), written);
            let schema = Schema::new(DIMS);
            let plan = Plan::resolve(&[edit], &schema, 7, Some(5)).map_err(|error| error.to_string());
            assert_eq!(Plan::resolve(&[again], &schema, 7, Some(5)).map_err(|error| error.to_string()), plan);
        }
        Err(error) => {
            let _ = error.to_string();
            assert!(error.span.start <= line.len() && !error.message.is_empty());
        }
    });
});
