//! Runs of a model with edits, always beside the unedited run of the same prompt, and the worker thread they run on.

mod effects;
mod lens;
mod live;
mod look;
mod run;
mod save;
mod worker;

pub use effects::{EditEffect, HookChange, Prediction, Predictions, Summary};
pub use lens::{LensCell, lens_points};
pub use live::Live;
pub use look::{Look, View, WhichAttention};
pub use run::{Control, Engine, Outcome, Run, Spec};
pub use save::{SaveError, check_cache_name, save_cache};
pub use worker::{Answer, Report, Want, Worker};
