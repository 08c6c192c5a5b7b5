//! Step through the activations of a Pythia language model, and edit them live.
//!
//! The modules, each importing only those before it:
//!
//! - [`printed`]: output in which foreign text is escaped.
//! - [`fs`]: files read up to a size limit, and written atomically.
//! - [`table`]: tables of results as Parquet, CSV and JSON lines.
//! - [`hooks`]: the vocabulary: hook points, axes, the activation cache, edits.
//! - [`model`]: GPT-NeoX on candle: checkpoints, weight processing, the hooked forward pass.
//! - [`diagram`]: a block as a wiring diagram, in character cells.
//! - [`analysis`]: pure functions over runs: statistics, comparison, head scores.
//! - [`predicate`]: statements about activations, and the places where they hold.
//! - [`engine`]: runs, what is reused between them, and the worker thread.
//! - [`experiment`]: prompts, edits and settings as text and arguments, checked against a model.
//! - [`keys`]: keys and their actions.
//! - [`paint`]: drawing: colours, text, heatmaps, grids.
//! - [`views`]: a folder for each view, and the scene that they share.
//! - [`explorer`]: the state around the views, its pure update function, panels and overlays.
//! - [`term`]: the terminal guard, signals and the input thread.
//! - [`cli`]: the command line.

pub mod analysis;
pub mod cli;
pub mod diagram;
pub mod engine;
pub mod experiment;
pub mod explorer;
pub mod fs;
pub mod hooks;
pub mod keys;
pub mod model;
pub mod paint;
mod panics;
pub mod predicate;
pub mod printed;
mod suggest;
pub mod table;
pub mod term;
pub mod views;
