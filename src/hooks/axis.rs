use std::fmt;

/// A named axis of an activation. The batch axis is never named: shapes are shown without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Position in the prompt.
    Pos,
    /// The position that attends (destination).
    Query,
    /// The position attended to (source).
    Key,
    /// Attention head.
    Head,
    /// Dimension within a head.
    DHead,
    /// Dimension of the residual stream.
    DModel,
    /// Neuron of the MLP.
    DMlp,
    /// Token of the vocabulary.
    Vocab,
    /// Feature of a sparse dictionary.
    DSae,
    /// The one value a LayerNorm keeps for each position.
    One,
}

impl Axis {
    /// Every axis that a selection can name.
    pub const SELECTABLE: [Self; 9] =
        [Self::Pos, Self::Query, Self::Key, Self::Head, Self::DHead, Self::DModel, Self::DMlp, Self::Vocab, Self::DSae];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pos => "pos",
            Self::Query => "query",
            Self::Key => "key",
            Self::Head => "head",
            Self::DHead => "d_head",
            Self::DModel => "d_model",
            Self::DMlp => "d_mlp",
            Self::Vocab => "vocab",
            Self::DSae => "d_sae",
            Self::One => "1",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::SELECTABLE.into_iter().find(|axis| axis.name() == name)
    }

    /// Whether the axis counts positions in the order of the pass: values at an index depend only on smaller indices.
    #[must_use]
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Pos | Self::Query)
    }

    /// Whether the axis counts tokens of the prompt.
    #[must_use]
    pub fn is_position(self) -> bool {
        matches!(self, Self::Pos | Self::Query | Self::Key)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
