//! A line of the edit grammar: its canonical form, the position of its errors, and its selection in a model.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pythia_tui::{
    hooks::{Edit, Plan, Schema},
    model::Source,
};
use pythia_tui_fuzz::{checked, set_up};

/// The schema of the demo.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::new(Source::Demo.config().expect("the demo's config").dims()))
}

fuzz_target!(init: set_up(), |line: &str| {
    checked(|| match line.parse::<Edit>() {
        Ok(edit) => {
            let written = edit.to_string();
            let again: Edit = written.parse().unwrap_or_else(|error| panic!("{error} in {written:?}"));
            assert_eq!(again, edit);
            assert_eq!(again.to_string(), written);
            let resolved = |edit| Plan::resolve(&[edit], schema(), 7, Some(5)).map_err(|error| error.to_string());
            assert_eq!(resolved(again), resolved(edit));
        }
        Err(error) => {
            let _ = error.to_string();
            assert!(error.span.start <= line.len() && !error.message.is_empty());
        }
    });
});
