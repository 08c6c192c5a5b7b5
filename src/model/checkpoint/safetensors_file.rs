use safetensors::{SafeTensorError, SafeTensors, tensor::TensorInfo};

use super::entry::{Entry, Found};
use crate::fs::TEXT_LIMIT;

/// The tensors of a safetensors file.
pub(super) fn entries(file: &[u8]) -> Result<Vec<Found>, String> {
    let cut = "it is truncated; fetch it again";
    let read = match file.first_chunk() {
        // the library's own limit is six times as large, and parsing that can take gigabytes
        Some(length) if u64::from_le_bytes(*length) > TEXT_LIMIT => Err(SafeTensorError::HeaderTooLarge),
        _ => SafeTensors::read_metadata(file),
    };
    let (header, metadata) = read.map_err(|e| match e {
        SafeTensorError::HeaderTooSmall => format!("{} bytes are too few: {cut}", file.len()),
        SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer => {
            format!("it is shorter than its header says ({} bytes): {cut}", file.len())
        }
        other => format!("its header is not a safetensors header ({other})"),
    })?;
    let data = 8 + header;
    let entry = |(name, info): (String, &TensorInfo)| {
        let bytes = data + info.data_offsets.0..data + info.data_offsets.1;
        match bytes.end <= file.len() {
            true => {
                let entry = Entry { dtype: info.dtype, shape: info.shape.clone(), bytes, strides: None, packed: None };
                Ok((name, Ok(entry)))
            }
            false => Err(format!("{name} ends beyond the file: {cut}")),
        }
    };
    metadata.tensors().into_iter().map(entry).collect()
}
