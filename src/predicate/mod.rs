//! Predicates on activations, such as `norm(blocks.3.hook_mlp_out) > 20`: their text, and the places of a run where they hold.
//!
//! A pass shows its activations one after the other to a [`Search`], which keeps no copies of them.

mod bits;
mod error;
mod expression;
mod fold;
mod function;
mod join;
mod listing;
mod parse;
mod place;
mod program;
mod rows;
mod scan;
mod search;
mod site;

pub use error::PredicateError;
pub use expression::{Comparison, Condition, Predicate, Quantity, Subject, Test};
pub use function::{Call, Function, Over};
pub use place::{Match, Place};
pub use program::Program;
pub use search::{Found, Search};
pub use site::{Activation, Site};
