use crate::{analysis::NoEdge, hooks::RunError};

/// Why an attribution or a circuit failed.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    #[error("patching components needs a contrast prompt: give --contrast")]
    NoContrast,
    #[error("there is no dictionary whose features could be scored: give one with --sae")]
    NoDictionary,
    #[error(
        "components are compared position by position: the contrast prompt has {contrast} tokens and the prompt {prompt}; \
         expected the same number"
    )]
    Lengths { prompt: usize, contrast: usize },
    #[error(
        "the gradient of kl is 0 at the baseline, so there is nothing to estimate: measure logit-diff, prob or loss, or use \
         eap-ig or exact"
    )]
    FlatKl,
    #[error(
        "edges add up what components write, and `{0}` changes their sum, or a copy of it, by more than a constant: attribute \
         nodes, or leave it out"
    )]
    EditedStream(String),
    #[error(
        "a circuit can't run with `{0}`: expected an edit of what one component computes, such as hook_z, hook_pattern or \
         hook_mlp_out; not of the stream, of ln1, of ln_final, or of a path"
    )]
    EditedCircuit(String),
    #[error("expected 1 to {most} steps")]
    Steps { most: usize },
    #[error("both prompts have the same {metric}, {value:.6}, so faithfulness is undefined")]
    NothingBetween { metric: &'static str, value: f64 },
    #[error(transparent)]
    Edge(#[from] NoEdge),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl AttributionError {
    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NoContrast
            | Self::NoDictionary
            | Self::Lengths { .. }
            | Self::FlatKl
            | Self::EditedStream(_)
            | Self::EditedCircuit(_)
            | Self::Steps { .. }
            | Self::NothingBetween { .. }
            | Self::Edge(_) => true,
            Self::Run(reason) => reason.is_usage(),
        }
    }
}

impl From<candle_core::Error> for AttributionError {
    fn from(error: candle_core::Error) -> Self {
        Self::Run(error.into())
    }
}
