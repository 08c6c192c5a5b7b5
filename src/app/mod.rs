//! The explorer's state and its pure update: an event in, effects out. No I/O, no tensors.

mod editing;
mod editor;
mod event;
mod finder;
mod keymap;
mod layout;
mod mouse;
mod navigate;
mod prompt;
mod state;
mod tree;
mod update;

pub use editor::{Editor, Problem};
pub use event::{Effect, Event};
pub use finder::Finder;
pub use keymap::{Action, BINDINGS, Binding, key_table};
pub use layout::{Areas, areas};
pub use prompt::PromptLine;
pub use state::{EditLine, Focus, Message, ModelInfo, Phase, Score, State, Tab, Token};
pub use tree::{Group, Node, Row, Tree};
pub use update::update;
