use std::ops::Range;

use safetensors::Dtype;

/// Where a tensor lies in its file.
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Range<usize>,
    /// How far apart, in numbers, neighbours along each axis lie; None where they lie row by row.
    pub strides: Option<Vec<usize>>,
}

/// A tensor's name, and where it lies or why it can't be read: that matters only if the model needs it.
pub(super) type Found = (String, Result<Entry, String>);

/// Buffers that checkpoints carry beside their parameters; they are computed from the config.
pub(in crate::model) fn is_buffer(name: &str) -> bool {
    [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq", "rotary_emb.inv_freq"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}
