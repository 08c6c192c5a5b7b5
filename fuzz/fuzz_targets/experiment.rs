//! An experiment file, which must survive being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui::explorer::Experiment;
use pythia_tui_fuzz::{checked, set_up};

fuzz_target!(init: set_up(), |text: &str| {
    checked(|| match Experiment::parse(text) {
        Ok(experiment) => {
            let written = experiment.to_string();
            let again = Experiment::parse(&written).unwrap_or_else(|wrong| panic!("{wrong:?} in\n{written}"));
            assert_eq!(again.to_string(), written);
            let edits = |experiment: &Experiment| -> Vec<_> {
                experiment.edits().unwrap().into_iter().map(|(edit, _)| edit).collect()
            };
            assert_eq!(edits(&again), edits(&experiment));
        }
        Err(wrong) => {
            let (line, column) = wrong.place(text);
            assert!(line > 0 && column > 0 && wrong.at.end <= text.len() && !wrong.reason.is_empty());
        }
    });
});
