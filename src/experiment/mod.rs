//! What is run, described as text and as arguments, and checked against a model before it runs: the same for the explorer
//! and for the subcommands that print.

mod error;
mod file;
mod format;
mod model;
mod prepare;
mod prompt;
mod setup;
pub(crate) mod text;

pub use error::ExperimentError;
pub use file::File;
pub use format::{Experiment, Line, VERSION, View, Wrong};
pub use model::{DEFAULT_MODEL, ModelChoice};
pub use prepare::{Prepared, engine, prepare};
pub use prompt::{PromptParser, Token};
pub use setup::{Distractor, EditLine, Given, Setup};
