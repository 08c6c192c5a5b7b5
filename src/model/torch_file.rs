//! Where tensors lie in a file that `torch.save` wrote: a zip archive with a pickle, and the values of each storage in an
//! uncompressed entry of its own.

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
};

use candle_core::pickle::{Object, Stack};
use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use super::{checkpoint::Entry, weights::is_buffer};

/// The tensors of a file, those without parameters left out.
pub(super) fn entries(file: &File) -> Result<Vec<(String, Entry)>, String> {
    // what interprets the pickle trusts some of its numbers
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
        let Ok(name) = name.unicode() else { continue };
        if is_buffer(&name) {
            continue;
        }
        if let Some(tensor) = tensor(&value).map_err(|e| format!("{name}: {e}"))? {
            let entry = entry(&mut archive, directory, tensor, length).map_err(|e| format!("{name}: {e}"))?;
            entries.push((name, entry));
        }
    }
    Ok(entries)
}

/// What the pickle says of a tensor.
struct Pickled {
    dtype: Dtype,
    shape: Vec<usize>,
    /// The name of its storage, and where in it the tensor begins, in numbers.
    storage: String,
    offset: usize,
}

/// The tensor that a value is, also as a parameter; None where it is something else.
fn tensor(value: &Object) -> Result<Option<Pickled>, String> {
    let Object::Reduce { callable, args } = value else { return Ok(None) };
    let (Object::Class { module_name, class_name }, Object::Tuple(args)) = (&**callable, &**args) else {
        return Ok(None);
    };
    match (module_name.as_str(), class_name.as_str(), args.as_slice()) {
        ("torch._tensor", "_rebuild_from_type_v2", [callable, _, args, ..]) => {
            tensor(&Object::Reduce { callable: Box::new(callable.clone()), args: Box::new(args.clone()) })
        }
        ("torch._utils", "_rebuild_parameter", [tensor_of, ..]) => tensor(tensor_of),
        (
            "torch._utils",
            "_rebuild_tensor_v2",
            [Object::PersistentLoad(storage), offset, Object::Tuple(shape), Object::Tuple(strides), ..],
        ) => {
            let Object::Tuple(storage) = &**storage else { return Err(UNKNOWN.into()) };
            let [_, Object::Class { class_name, .. }, Object::Unicode(storage), ..] = storage.as_slice() else {
                return Err(UNKNOWN.into());
            };
            let dtype = match class_name.as_str() {
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::BF16,
                "FloatStorage" => Dtype::F32,
                other => {
                    return Err(format!(
                        "is kept in a {other}; expected a HalfStorage, BFloat16Storage or FloatStorage"
                    ));
                }
            };
            let sizes = |all: &[Object]| all.iter().map(size).collect::<Option<Vec<usize>>>();
            let (Some(shape), Some(strides), Some(offset)) = (sizes(shape), sizes(strides), size(offset)) else {
                return Err(UNKNOWN.into());
            };
            if !is_contiguous(&shape, &strides) {
                return Err("is not contiguous; save it with .contiguous()".into());
            }
            Ok(Some(Pickled { dtype, shape, storage: storage.clone(), offset }))
        }
        ("torch._utils" | "torch._tensor", ..) => Err(UNKNOWN.into()),
        _ => Ok(None),
    }
}

const UNKNOWN: &str = "is not pickled as PyTorch does it";

fn size(value: &Object) -> Option<usize> {
    match value {
        Object::Int(n) => usize::try_from(*n).ok(),
        Object::Long(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

/// Whether the numbers lie row by row.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(n, stride)| {
            let here = *n <= 1 || *stride == expected;
            expected = expected.saturating_mul(*n);
            here
        })
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
fn entry(archive: &mut Archive<'_>, directory: &str, tensor: Pickled, length: usize) -> Result<Entry, String> {
    let Pickled { dtype, shape, storage, offset } = tensor;
    let name = format!("{directory}/{storage}");
    let storage = archive.by_name(&name).map_err(|e| format!("{name}: {e}"))?;
    if storage.compression() != CompressionMethod::Stored {
        return Err("is compressed; torch.save does not".into());
    }
    let start = storage.data_start().ok_or("its place in the archive is not known")?;
    let (start, room) = (usize::try_from(start).ok(), usize::try_from(storage.size()).ok());
    let width = if dtype == Dtype::F32 { 4 } else { 2 };
    let wanted = shape.iter().try_fold(width, |product: usize, n| product.checked_mul(*n));
    let offset = offset.checked_mul(width);
    let inside = wanted.zip(offset).and_then(|(wanted, offset)| wanted.checked_add(offset));
    let first = start.zip(offset).and_then(|(start, offset)| start.checked_add(offset));
    let end = first.zip(wanted).and_then(|(first, wanted)| first.checked_add(wanted));
    match (first, end, inside) {
        (Some(first), Some(end), Some(_)) if inside <= room && end <= length => {
            Ok(Entry { dtype, shape, bytes: first..end })
        }
        _ => Err(format!("{shape:?} does not lie in its storage of {} bytes", storage.size())),
    }
}
