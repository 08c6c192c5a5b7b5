//! The sizes of a model.

/// The sizes that determine which hooks a model has, and their shapes and descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub n_layers: usize,
    pub n_heads: usize,
    pub d_head: usize,
    pub d_model: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
    /// Attention and MLP both read `resid_pre`; otherwise the MLP reads `resid_mid`.
    pub parallel: bool,
    pub activation: Nonlinearity,
}

/// The MLP's activation function in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonlinearity {
    pub name: &'static str,
    /// The formula applied to `pre`, in the field's notation.
    pub formula: &'static str,
}
