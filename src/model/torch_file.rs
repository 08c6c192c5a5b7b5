//! Where tensors lie in a file that `torch.save` wrote: a zip archive with a pickle, and the values of each storage in an
//! uncompressed entry of its own.

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use candle_core::{
    DType,
    pickle::{Object, Stack, TensorInfo},
};
use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use super::{checkpoint::Entry, weights::is_buffer};

/// The tensors of a file, those without parameters left out.
pub(super) fn entries(file: &File) -> Result<Vec<(String, Entry)>, String> {
    // what reads the pickle trusts that its tuples are as long as PyTorch writes them
    catch_unwind(AssertUnwindSafe(|| parse(file)))
        .unwrap_or_else(|_| Err("its pickle is not as PyTorch writes it".into()))
}

fn parse(file: &File) -> Result<Vec<(String, Entry)>, String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let length = usize::try_from(length).map_err(|e| e.to_string())?;
    let archive = ZipArchive::new(std::io::BufReader::new(file));
    let mut archive = archive.map_err(|e| format!("{e}; PyTorch has written zip archives since 1.6"))?;
    let names: Vec<String> =
        archive.file_names().map_while(|name| name.map(std::borrow::Cow::into_owned).ok()).collect();
    let pickle = names.iter().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or("it has no data.pkl, so torch.save did not write it")?;
    let directory = pickle.trim_end_matches(".pkl");
    if let Some(order) = names.iter().find(|name| name.ends_with("/byteorder"))
        && read(&mut archive, order)? != b"little"
    {
        return Err("its numbers are big-endian; expected little-endian".into());
    }
    let pickle = read(&mut archive, pickle)?;
    let mut stack = Stack::empty();
    stack.read_loop(&mut pickle.as_slice()).map_err(|e| format!("its pickle: {e}"))?;
    let Ok(Object::Dict(items)) = stack.finalize() else {
        return Err("it does not hold a dictionary of tensors".into());
    };
    let mut entries = Vec::new();
    for (name, value) in items {
        let Ok(text) = name.clone().unicode() else { continue };
        if is_buffer(&text) {
            continue;
        }
        let info = value.into_tensor_info(name, Path::new(directory));
        if let Some(info) = info.map_err(|e| format!("{text}: {e}"))? {
            let entry = entry(&mut archive, &info, length).map_err(|e| format!("{text}: {e}"))?;
            entries.push((text, entry));
        }
    }
    Ok(entries)
}

type Archive<'a> = ZipArchive<std::io::BufReader<&'a File>>;

/// An entry in whole, which checks its checksum.
fn read(archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut entry = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    entry.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

/// Where a tensor lies in a file of a length.
fn entry(archive: &mut Archive<'_>, info: &TensorInfo, length: usize) -> Result<Entry, String> {
    let dtype = match info.dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        other => return Err(format!("is stored as {other:?}; expected F16, BF16 or F32")),
    };
    if !info.layout.is_contiguous() {
        return Err("is not contiguous; save it with .contiguous()".into());
    }
    let storage = archive.by_name(&info.path).map_err(|e| format!("{}: {e}", info.path))?;
    if storage.compression() != CompressionMethod::Stored {
        return Err("is compressed; torch.save does not".into());
    }
    let start = storage.data_start().ok_or("its place in the archive is not known")?;
    let (start, room) = (usize::try_from(start).ok(), usize::try_from(storage.size()).ok());
    let size = info.dtype.size_in_bytes();
    let wanted = info.layout.dims().iter().try_fold(size, |product, n| product.checked_mul(*n));
    let inside = wanted.and_then(|wanted| wanted.checked_add(info.layout.start_offset()));
    let first = start.and_then(|start| start.checked_add(info.layout.start_offset()));
    let end = first.zip(wanted).and_then(|(first, wanted)| first.checked_add(wanted));
    match (first, end) {
        (Some(first), Some(end)) if inside <= room && end <= length => {
            Ok(Entry { dtype, shape: info.layout.dims().to_vec(), bytes: first..end })
        }
        _ => Err(format!("{:?} does not lie in its storage of {} bytes", info.layout.dims(), storage.size())),
    }
}
