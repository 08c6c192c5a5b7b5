//! Keys and what they do: one declaration for dispatch, the hint line, the help, the command line and the
//! documentation.

mod action;
mod bindings;
mod key;
mod keymap;

pub use action::{Action, Motion};
pub use bindings::{Binding, Group};
pub use key::Key;
pub(crate) use key::number_begun;
pub use keymap::{Bound, Keymap, ViewKey};
