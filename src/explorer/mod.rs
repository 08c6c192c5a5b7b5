//! The explorer around the views: its state, its pure update function (an event in, effects out), its panels and
//! overlays. No I/O, no tensors.

mod ablate;
mod actions;
mod answer;
mod asked;
mod cell;
mod checkpoints;
mod copy;
mod draw;
mod edits;
mod event;
mod experiment;
mod jumps;
mod mouse;
mod navigate;
mod opt_in;
mod overlay;
mod panels;
mod questions;
mod results;
mod saved_view;
mod state;
mod stepping;
mod svg;
mod tour;
mod update;

pub use draw::draw;
pub use event::{Effect, Event, NotSaved, Purpose};
pub use overlay::{
    CommandLine, Editor, Finder, HelpPage, Overlay, PlaceList, PredicateLine, Problem, PromptLine, SaveLine, TextLine,
};
pub use questions::{OfPlaces, OfWatches, Places};
pub use saved_view::{Experiment, SavedView, Setup};
pub use state::{Offer, Opening, State};
pub use svg::svg;
pub use tour::{Press, Step, Tour, TourFile};
pub use update::update;
