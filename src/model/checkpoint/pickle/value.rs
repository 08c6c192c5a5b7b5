//! The values of a pickle, which refer to each other by index.

use std::rc::Rc;

/// The largest number of values. Checkpoints have a few for each tensor.
pub(super) const LIMIT: usize = 1 << 20;

/// The index of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model::checkpoint) struct Id(pub(super) usize);

#[derive(Debug)]
pub(in crate::model::checkpoint) enum Value {
    Int(i64),
    Text(Rc<str>),
    /// None, a boolean, a float, bytes, a set or an integer beyond 64 bits: values that do not describe tensors.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// In insertion order; a later value of a key replaces an earlier one.
    Dict(Vec<(Id, Id)>),
    Class {
        module: Rc<str>,
        name: Rc<str>,
    },
    /// The result that calling `function` with a tuple of `arguments` would have, and what it is filled with afterwards.
    Call {
        function: Id,
        arguments: Id,
        /// Of a dictionary.
        items: Vec<(Id, Id)>,
        /// What it is to take its fields from.
        state: Option<Id>,
    },
    /// A reference to an object outside the pickle.
    Persistent(Id),
}
