use std::ops::Range;

use safetensors::Dtype;

/// The type, shape and position of a tensor in its file.
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Range<usize>,
    /// The distance in elements between neighbours along each axis; None if the tensor is contiguous.
    pub strides: Option<Vec<usize>>,
    /// How the bytes are packed; None if they are the values.
    pub packed: Option<Packed>,
}

/// Bytes that are deflated.
pub(super) struct Packed {
    /// The number of unpacked bytes before the values.
    pub skip: usize,
    /// The bytes of the values.
    pub size: usize,
}

/// The largest number of tensors in a file.
pub(super) const MOST_TENSORS: usize = 1 << 16;

/// A tensor's name, and its entry or why it can't be read, which matters only if the model needs it.
pub(super) type Found = (String, Result<Entry, String>);

/// Whether this is a buffer, which checkpoints may contain but this program computes from the config.
pub(in crate::model) fn is_buffer(name: &str) -> bool {
    [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq", "rotary_emb.inv_freq"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}
