//! Hook points, their axes, the activations they hold and the edits made at them.
//!
//! Names, order and shapes are those of TransformerLens 2.18.0's `HookedTransformer`.

mod apply;
mod axis;
mod cache;
mod describe;
mod edit;
mod error;
mod facts;
mod intervene;
mod noise;
mod op;
mod parse;
mod point;
mod schema;
mod select;
mod target;

pub use axis::Axis;
pub(crate) use cache::with_rows;
pub use cache::{ActivationCache, Capture};
pub use describe::{description, formula, readers};
pub use edit::Edit;
pub use error::{EditError, HookError, ParseError, RunError};
pub use intervene::{Effect, Hooks, Interventions, Plan, References, Step};
pub(crate) use noise::random_bits;
pub(crate) use op::Takes;
pub use op::{Needs, Op, Operation, operation_table};
pub use point::{BlockHook, HookPoint, UnknownHook};
pub use schema::{Dims, Nonlinearity, Schema};
pub use select::{AxisSelection, Indices, Selection, Slot};
pub use target::{Blocks, Target};
