//! A block as a wiring diagram: every hook point on its wire, in the geometry of the computation.
//!
//! [`Picture::of`] draws a [`Subject`] into character cells for a given room; it knows nothing of a terminal. The
//! residual stream is a bus that runs down; attention is on its left, the MLP on its right or, where there are few
//! rows, below. TransformerLens had the idea of drawing a block this way; what is drawn comes from [`wiring`].
//!
//! - [`wiring`]: where a hook's value goes, and what an edit there can change.
//! - `plan`: which rows and columns the parts get in the room.
//! - `attention`, `mlp`, `ends`: the parts.
//! - `sheet`, `glyphs`: wires, frames and text to cells, in Unicode or ASCII.
//! - `step`: the neighbours of a hook.

mod attention;
mod ends;
mod flow;
mod glyphs;
mod label;
mod mlp;
mod pen;
mod picture;
mod plan;
mod rows;
mod sheet;
mod step;
mod subject;
pub mod wiring;

pub use picture::Picture;
pub use sheet::{Cell, Place, Role, Wire};
pub use step::Direction;
pub use subject::Subject;
