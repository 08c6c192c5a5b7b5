//! What the rows of the operations say.

use candle_core::Tensor;

use super::{RunError, vector::VectorName};

/// What follows the sign and the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Number,
    /// A finite number that is not negative, and perhaps a seed.
    Deviation,
    /// Perhaps a seed.
    Seed,
    /// `A * NAME`
    Multiple,
    /// `NAME`
    Vector,
}

/// How a gradient passes back through an operation, as in torch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// It stops: the new values do not depend on the old ones.
    Nothing,
    /// It passes unchanged.
    Whole,
    /// It is multiplied by the operation's number.
    Scaled,
    /// Each unit's gradient is shared by all positions (queries, for scores and patterns).
    Shared,
    /// Its part along the operation's vector stops.
    Projected,
}

/// A run beside the one that is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The unedited run of the same prompt.
    Baseline,
    /// The unedited run of the contrast prompt.
    Contrast,
    /// The unedited runs of a corpus.
    Corpus,
}

/// The numbers and the vector of an operation; 0 and nameless if it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    pub number: f32,
    pub seed: u64,
    pub vector: VectorName,
}

/// What an operation computes from: the selected part of one activation.
///
/// # Shapes
/// Every tensor: `[1, axes of the hook]`, with only the selected part.
pub(crate) trait Site {
    /// The values as they arrive.
    fn values(&self) -> &Tensor;
    /// Each selected unit's mean over all positions (queries, for scores and patterns).
    fn mean(&self) -> Result<Tensor, RunError>;
    /// The values of the unedited run.
    fn baseline(&self) -> Result<Tensor, RunError>;
    /// The values of the contrast run.
    fn contrast(&self) -> Result<Tensor, RunError>;
    /// Gaussian noise with standard deviation `sd`.
    fn noise(&self, sd: f32, seed: u64) -> Result<Tensor, RunError>;
    /// The values with a multiple of the edit's vector.
    fn plus(&self, amount: f32) -> Result<Tensor, RunError>;
    /// The values without their part along the edit's vector.
    fn without(&self) -> Result<Tensor, RunError>;
    /// Each selected unit's mean over a corpus.
    fn corpus_mean(&self) -> Result<Tensor, RunError>;
    /// The values of another prompt of a corpus, chosen by the seed.
    fn resampled(&self, seed: u64) -> Result<Tensor, RunError>;
}
