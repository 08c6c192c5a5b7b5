//! The panels that are always there, one file a panel.

pub(super) mod caption;
pub(super) mod edits;
pub(super) mod header;
pub(super) mod hints;
pub(super) mod next;
pub(super) mod stops;
pub(super) mod tree;
pub(super) mod view;
