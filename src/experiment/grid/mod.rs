//! A grid: an experiment over models, seeds, revisions and prompts. Every cell is a row of a table, with everything that made it.

mod cells;
mod checkpoints;
mod cost;
mod plan;
mod prompts;
mod row;
mod run;
mod table;

pub use checkpoints::GridCheckpoint;
pub use cost::Unit;
pub use plan::Grid;
pub use prompts::GridPrompt;
pub use row::grid_columns;
pub use run::{GridProgress, GridRun, Ran};
pub use table::{GridTable, Revisions};
