//! The guided tour: a text in the experiment's format with captions, the tour resolved against a model, and the steps
//! through it.

mod caption;
mod file;
mod format;
mod play;
mod steps;

pub use file::TourFile;
pub use steps::{Press, Step, Tour};

pub(super) use caption::{Part, fitted, rows, shown};
pub(super) use play::{back, leave, next};
