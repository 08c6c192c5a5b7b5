//! The parts of a logit.

use crate::{
    engine::Attribution,
    hooks::{BlockHook, HookPoint},
};

/// A part of a logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Embed,
    Head(usize, usize),
    Mlp(usize),
    /// Every `b_O`.
    Bias,
    /// The biases of the unembedding and of the final LayerNorm, which belong to no part of the residual stream.
    Constant,
    /// What edits add outside the components: to the residual stream itself, or after it.
    Remainder,
}

impl Component {
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Embed => "embed".into(),
            Self::Head(block, head) => format!("L{block}H{head}"),
            Self::Mlp(block) => format!("{block}_mlp_out"),
            Self::Bias => "bias (every b_O)".into(),
            Self::Constant => "constant (biases)".into(),
            Self::Remainder => "past the components".into(),
        }
    }

    /// The hook that holds it.
    #[must_use]
    pub fn point(self) -> Option<HookPoint> {
        match self {
            Self::Embed => Some(HookPoint::Embed),
            Self::Head(block, _) => Some(HookPoint::Block(block, BlockHook::Z)),
            Self::Mlp(block) => Some(HookPoint::Block(block, BlockHook::MlpOut)),
            Self::Bias | Self::Constant | Self::Remainder => None,
        }
    }

    /// Its part in an attribution.
    #[must_use]
    pub fn of(self, parts: &Attribution) -> f64 {
        match self {
            Self::Embed => parts.embed,
            Self::Head(block, head) => {
                parts.heads.get(block).and_then(|row| row.get(head)).copied().unwrap_or(f64::NAN)
            }
            Self::Mlp(block) => parts.mlps.get(block).copied().unwrap_or(f64::NAN),
            Self::Bias => parts.bias,
            Self::Constant => parts.constant,
            Self::Remainder => parts.remainder(),
        }
    }

    /// Every part of an attribution; the remainder only if it is more than rounding.
    #[must_use]
    pub fn all(parts: &Attribution) -> Vec<Self> {
        let heads = parts.heads.iter().enumerate();
        let heads = heads.flat_map(|(block, row)| (0..row.len()).map(move |head| Self::Head(block, head)));
        let mlps = (0..parts.mlps.len()).map(Self::Mlp);
        let mut all: Vec<Self> = heads.chain(mlps).chain([Self::Embed, Self::Bias, Self::Constant]).collect();
        let largest = all.iter().map(|c| c.of(parts).abs()).fold(parts.logit.abs(), f64::max);
        if parts.remainder().abs() > 1e-4 * largest {
            all.push(Self::Remainder);
        }
        all
    }
}
