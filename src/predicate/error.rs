//! Why a predicate does not fit a model or a prompt.

use crate::hooks::{EditError, HookError, HookPoint};

/// A predicate that this model or this prompt does not allow.
#[derive(Debug, thiserror::Error)]
pub enum PredicateError {
    #[error("`{predicate}`: {reason}")]
    Hook { predicate: String, reason: HookError },
    #[error("`{predicate}`: this model's blocks are parallel, so the forward pass never computes {point}")]
    NotComputed { predicate: String, point: HookPoint },
    /// Selections are those of edits, and so are their errors.
    #[error(transparent)]
    Selection(#[from] EditError),
    #[error("`{predicate}`: no axis is left for `{function}` to go along")]
    NothingLeft { predicate: String, function: &'static str },
    #[error("`{predicate}`: none of these hooks has the axes that are named")]
    NoHook { predicate: String },
    #[error("`{quantity}` has {places} values; a watch shows at most {most}. A function such as `norm` reduces them")]
    TooMany { quantity: String, places: usize, most: usize },
}

impl PredicateError {
    /// Why nothing is seen at `point`.
    pub(super) fn unseen(predicate: &str, point: HookPoint, reason: HookError) -> Self {
        let predicate = predicate.to_string();
        match reason {
            HookError::Derived(_) => Self::NotComputed { predicate, point },
            reason => Self::Hook { predicate, reason },
        }
    }
}
