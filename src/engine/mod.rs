//! Runs of a model with edits, always beside the unedited run of the same prompt, and the worker thread they run on.

mod attention;
mod attribution;
mod changes;
mod effects;
mod export;
mod fill;
mod idle;
mod lens;
mod live;
mod look;
mod maps;
mod measure;
mod memory;
mod run;
mod save;
mod sweep;
mod worker;

pub use attention::{Thumbnails, WhichAttention};
pub use attribution::Attribution;
pub use changes::HookChange;
pub use effects::{EditEffect, Prediction, Predictions, Summary};
pub use export::{ExportError, Ran, check_export, python};
pub use fill::Filling;
pub use idle::Idle;
pub use lens::{LensCell, LensColumn, left_out, lens_points};
pub use live::Live;
pub use look::{Compare, LISTED, Look, Slice, View};
pub use maps::{Column, Comparison, Grid, Map, Metric, Patch, Row, ablate_heads, random_heads, strongest};
pub use measure::{Measured, Measures};
pub use run::{Control, Engine, Outcome, Run, Spec};
pub use save::{Array, SaveError, check_cache_name, save_cache, write_npz};
pub use sweep::{Measure, Question, Swept};
pub use worker::{Answer, Report, Stop, Want, Worker, in_pool};
