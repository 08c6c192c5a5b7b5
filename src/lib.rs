//! Step through the activations of a Pythia language model, and edit them live.
//!
//! The modules, each importing only those before it:
//!
//! - [`printed`]: what foreign text may do to a terminal: nothing.
//! - [`fs`]: files read whole within a bound, written whole or not at all.
//! - [`hooks`]: the vocabulary: hook points, axes, the activation cache, edits.
//! - [`model`]: GPT-NeoX on candle: checkpoints, weight processing, the hooked forward pass.
//! - [`analysis`]: pure functions over runs: statistics, comparison, head scores.
//! - [`engine`]: runs, what is reused between them, and the worker thread.
//! - [`experiment`]: what is run, as text and arguments, checked against a model.
//! - [`app`]: the explorer's state and its pure update function.
//! - [`ui`]: state to frame.
//! - [`term`]: the terminal guard, signals and the input thread.
//! - [`cli`]: the command line.

pub mod analysis;
pub mod app;
pub mod cli;
pub mod engine;
pub mod experiment;
pub mod fs;
pub mod hooks;
pub mod model;
mod names;
mod panics;
pub mod printed;
pub mod term;
pub mod ui;
