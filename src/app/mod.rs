//! The explorer's state and its pure update: an event in, effects out. No I/O, no tensors.

mod ablation;
mod actions;
mod command;
mod compared;
mod editing;
mod editor;
mod event;
mod finder;
mod keymap;
mod layout;
mod looking;
mod mouse;
mod navigate;
mod prompt;
mod save;
mod state;
mod table;
mod tree;
mod update;
mod views;

pub use command::CommandLine;
pub use editor::{Editor, Problem};
pub use event::{Effect, Event, NotSaved, Purpose};
pub use finder::Finder;
pub use keymap::{Action, BINDINGS, Binding, Key, Keymap, key_table};
pub use layout::{Areas, Arrangement, areas};
pub use looking::{HEAD_NAMES, Tiles};
pub use mouse::{Hit, Region};
pub use prompt::{PromptLine, TextLine};
pub use save::SaveLine;
pub use state::{Distractor, EditLine, Focus, Message, ModelInfo, Opening, Overlay, Phase, Shown, State, Token};
pub use table::Table;
pub use tree::{Entry, Node, Tree, hook_name};
pub use update::update;
pub use views::{Component, Extent, LENS, LensBy, Looks, Score, Tab};
