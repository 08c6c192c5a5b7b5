//! What to run, described as text and as arguments, and checked against a model before it runs; shared by the explorer
//! and the commands that print.

mod against;
mod cached;
mod circuit;
mod circuit_file;
mod continuation;
mod corpus;
mod dictionaries;
mod dictionary;
mod error;
mod file;
mod flags;
mod format;
mod generation;
mod grid;
mod labels;
mod lens;
mod model;
mod prepare;
mod prompt;
mod results;
mod scheduler;
mod setup;
mod shard;
mod shard_choice;
mod stops;
pub(crate) mod text;
mod vector_file;
mod vectors;
mod wrong;

pub use against::{against, shown_name};
pub use cached::cached;
pub use circuit::{ChosenEdges, Circuit, CircuitTable};
pub use circuit_file::{CircuitFileError, circuit_json, read_circuit};
pub use continuation::{BranchTable, ContinuationTable, Continuations, KeptBranch};
pub use corpus::{Corpus, CorpusError, CorpusFormat, Entries, Entry, Misfit};
pub use dictionaries::has_dictionaries_of;
pub use dictionary::DictionaryChoice;
pub use error::ExperimentError;
pub use file::File;
pub(crate) use file::placed;
pub use format::{DictionaryLine, EditLine, Experiment, Line, VERSION, VectorLine, View};
pub(crate) use format::{parsed, processed};
pub use generation::{GenerationSetting, GenerationSettings};
pub use grid::{
    Grid, GridCheckpoint, GridProgress, GridPrompt, GridRun, GridTable, Ran, Revisions, Unit, grid_columns,
};
pub use lens::LensChoice;
pub use model::{DEFAULT_MODEL, ModelChoice, Named};
pub use prepare::{Prepared, engine, prepare};
pub use prompt::{PromptParser, Token};
pub use results::{Curve, CurvePoint, Measured, ResultPrompt, ResultRow, Results, SeedMean, Spread};
pub use setup::{Distractor, Given, Setup, Text};
pub use shard::{Dealer, Shard, balanced};
pub use shard_choice::ShardChoice;
pub use stops::{BreakpointTable, KeptBreakpoint, WatchTable};
pub use vectors::{VectorParser, given_vector};
pub use wrong::Wrong;
