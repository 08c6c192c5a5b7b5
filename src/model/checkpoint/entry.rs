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

impl Entry {
    /// The tensors along the first axis.
    pub fn split(&self) -> Vec<Self> {
        let Some((count, shape)) = self.shape.split_first() else { return vec![] };
        let width = self.dtype.bitsize() / 8;
        let contiguous = || (0..self.shape.len()).map(|axis| self.shape[axis + 1..].iter().product()).collect();
        let strides: Vec<usize> = self.strides.clone().unwrap_or_else(contiguous);
        let last: usize = shape.iter().zip(&strides[1..]).map(|(n, stride)| n.saturating_sub(1) * stride).sum();
        let one = |number: usize| {
            let (skip, size) = (number * strides[0] * width, (last + 1) * width);
            let (bytes, packed) = match &self.packed {
                None => (self.bytes.start + skip..self.bytes.start + skip + size, None),
                Some(packed) => (self.bytes.clone(), Some(Packed { skip: packed.skip + skip, size })),
            };
            let strides = self.strides.as_ref().map(|strides| strides[1..].to_vec());
            Self { dtype: self.dtype, shape: shape.to_vec(), bytes, strides, packed }
        };
        (0..*count).map(one).collect()
    }
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
