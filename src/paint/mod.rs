//! What the screen is drawn with: colours by role, text of a known width, heatmaps, grids, and the regions that can be
//! clicked.

mod choices;
mod frame;
pub(crate) mod grid;
pub(crate) mod heatmap;
mod number;
mod picture;
mod region;
pub(crate) mod scale;
pub(crate) mod text;
mod theme;

pub(crate) use choices::{choices, titled};
pub(crate) use frame::{axes_in_ascii, below, input_line, overlay, put, row, say};
pub(crate) use number::compared_value;
pub use picture::Picture;
pub use region::{Hit, Region, Target};
pub(crate) use scale::change_share;
pub use theme::{ColorDepth, Theme, bar_eighths};
