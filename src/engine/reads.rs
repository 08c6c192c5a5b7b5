use crate::hooks::{BlockHook, HookPoint};

/// What an answer is made from, of a run that may be a cache without weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Whatever there is.
    Anything,
    /// These activations.
    Hooks(Vec<HookPoint>),
    /// The activations of these hooks in every block.
    EveryBlock(Vec<BlockHook>),
    Logits,
    Weights,
}
