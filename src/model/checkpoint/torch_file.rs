//! Where tensors lie in a file that `torch.save` wrote: a zip archive with a pickle, and the values of each storage in an
//! uncompressed entry of its own.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use super::{
    entry::{Entry, Found, is_buffer},
    pickle::{Id, Pickle, Value},
};
use crate::fs::TEXT_LIMIT;

/// Tensors in a file, at most.
const LIMIT: usize = 1 << 16;

type Archive<'a> = ZipArchive<BufReader<&'a File>>;

/// The tensors of a file, those without parameters left out.
pub(super) fn entries(mut file: &File) -> Result<Vec<Found>, String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let length = usize::try_from(length).map_err(|e| e.to_string())?;
    let mut archive = match ZipArchive::new(BufReader::new(file)) {
        Ok(archive) => archive,
        Err(e) => {
            let mut start = [0; 4];
            let is_zip = file.seek(SeekFrom::Start(0)).is_ok() && file.read_exact(&mut start).is_ok();
            return Err(match is_zip && start == *b"PK\x03\x04" {
                true => format!("{e}: the end of its zip archive is missing, so it is truncated; fetch it again"),
                false => format!("{e}; PyTorch has written zip archives since 1.6"),
            });
        }
    };
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
    let pickle = Pickle::read(&read(&mut archive, pickle)?).map_err(|e| format!("its pickle, {e}"))?;
    let (mut all, mut left) = (Vec::new(), most_bytes(length));
    for (name, value) in tensors(&pickle)?.into_iter().filter(|(name, _)| !is_buffer(name)) {
        let entry = tensor(&pickle, value).transpose().map(|tensor| {
            let entry = tensor.and_then(|tensor| place(&mut archive, directory, tensor, length))?;
            left = left.checked_sub(size(&entry)).ok_or("repeats far more numbers than the file holds")?;
            Ok(entry)
        });
        let Some(entry) = entry else { continue };
        if all.len() == LIMIT {
            return Err("it holds more tensors than any checkpoint".into());
        }
        all.push((name.to_string(), entry));
    }
    Ok(all)
}

/// The bytes that the tensors of a file of some bytes have together, at most. Tensors may share storages, as tied weights
/// do, and may repeat numbers; but a short file must not stand for more memory than there is.
fn most_bytes(length: usize) -> usize {
    length.saturating_mul(4).saturating_add(64 << 20)
}

/// The bytes of a tensor that lies row by row.
fn size(entry: &Entry) -> usize {
    entry.shape.iter().fold(entry.dtype.bitsize() / 8, |bytes, n| bytes.saturating_mul(*n))
}

/// The dictionary of tensors: what was saved, or a part of it under one of the names that training programs use.
fn tensors(pickle: &Pickle) -> Result<Vec<(&str, Id)>, String> {
    const NAMES: [&str; 3] = ["state_dict", "model", "module"];
    let mut id = pickle.root();
    // such a part may have such a part
    for _ in 0..=NAMES.len() {
        let Some(items) = pickle.dict(id) else { break };
        let named: Vec<(&str, Id)> =
            items.iter().filter_map(|(key, value)| Some((pickle.text(*key)?, *value))).collect();
        let part = named.iter().find(|(name, value)| NAMES.contains(name) && pickle.dict(*value).is_some());
        match part {
            Some((_, part)) => id = *part,
            None => return Ok(named),
        }
    }
    Err(format!("it does not hold a dictionary of tensors, itself or as `{}`", NAMES.join("`, `")))
}

/// What the pickle says of a tensor.
struct Pickled<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// The name of its storage, and where in it the tensor begins, in numbers.
    storage: &'a str,
    offset: usize,
}

/// The tensor that a value is, also as a parameter; None where it is something else.
fn tensor(pickle: &Pickle, mut value: Id) -> Result<Option<Pickled<'_>>, String> {
    // a parameter in a tensor's subclass is as deep as it gets
    for _ in 0..4 {
        let Value::Call { function, arguments } = pickle.get(value) else { return Ok(None) };
        let (Some((module, name)), Some(arguments)) = (pickle.class(*function), pickle.tuple(*arguments)) else {
            return Ok(None);
        };
        match (module, name, arguments) {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [data, ..]) => value = *data,
            ("torch._tensor", "_rebuild_from_type_v2", [function, _, arguments, ..]) => {
                if pickle.class(*function) != Some(("torch._utils", "_rebuild_tensor_v2")) {
                    return Err(UNKNOWN.into());
                }
                let Some(arguments) = pickle.tuple(*arguments) else { return Err(UNKNOWN.into()) };
                return rebuilt(pickle, arguments).map(Some);
            }
            ("torch._utils", "_rebuild_tensor_v2", arguments) => return rebuilt(pickle, arguments).map(Some),
            ("torch._utils" | "torch._tensor", ..) => return Err(UNKNOWN.into()),
            _ => return Ok(None),
        }
    }
    Err(UNKNOWN.into())
}

const UNKNOWN: &str = "is not pickled as PyTorch does it";

/// The tensor of a call of `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)`.
fn rebuilt<'a>(pickle: &'a Pickle, arguments: &[Id]) -> Result<Pickled<'a>, String> {
    let known = || -> Option<Result<Pickled<'a>, String>> {
        let [storage, offset, shape, strides, rest @ ..] = arguments else { return None };
        // values that are to be negated or conjugated when they are read
        if rest.get(2).is_some_and(|marks| pickle.dict(*marks).is_some_and(|marks| !marks.is_empty())) {
            return Some(Err(
                "has its values negated or conjugated on reading; save it with .resolve_neg().clone()".into()
            ));
        }
        let Value::Persistent(storage) = pickle.get(*storage) else { return None };
        // ("storage", class, name, device, length)
        let [_, class, storage, ..] = pickle.tuple(*storage)? else { return None };
        let dtype = match pickle.class(*class)?.1 {
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "FloatStorage" => Dtype::F32,
            "DoubleStorage" => Dtype::F64,
            "LongStorage" => Dtype::I64,
            "IntStorage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" => Dtype::I8,
            "ByteStorage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            other => {
                return Some(Err(format!(
                    "is kept in a {other}; expected a HalfStorage, BFloat16Storage or FloatStorage"
                )));
            }
        };
        let (shape, strides) = (pickle.sizes(*shape)?, pickle.sizes(*strides)?);
        let (storage, offset) = (pickle.text(*storage)?, pickle.size(*offset)?);
        (shape.len() == strides.len()).then_some(Ok(Pickled { dtype, shape, strides, storage, offset }))
    };
    known().unwrap_or_else(|| Err(UNKNOWN.into()))
}

/// An entry of the archive, which checks its checksum. What an entry of text is packed from is bounded, too.
fn read(archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let entry = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    entry.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    if bytes.len() as u64 > TEXT_LIMIT { Err(format!("{name} is larger than any checkpoint's")) } else { Ok(bytes) }
}

/// Where a tensor lies in a file of a length.
fn place(archive: &mut Archive<'_>, directory: &str, tensor: Pickled<'_>, length: usize) -> Result<Entry, String> {
    let Pickled { dtype, shape, strides, storage, offset } = tensor;
    let name = format!("{directory}/{storage}");
    let storage = archive.by_name(&name).map_err(|e| format!("{name}: {e}"))?;
    if storage.compression() != CompressionMethod::Stored {
        return Err("is compressed; torch.save does not".into());
    }
    let start = storage.data_start().ok_or("its place in the archive is not known")?;
    let width = dtype.bitsize() / 8;
    let bytes = || {
        let start = usize::try_from(start).ok()?;
        let first = offset.checked_mul(width)?;
        let end = first.checked_add(span(&shape, &strides)?.checked_mul(width)?)?;
        let inside = end <= usize::try_from(storage.size()).ok()? && start.checked_add(end)? <= length;
        inside.then_some(start + first..start + end)
    };
    let bytes = bytes().ok_or_else(|| format!("{shape:?} does not lie in its storage of {} bytes", storage.size()))?;
    let strides = (!is_contiguous(&shape, &strides)).then_some(strides);
    Ok(Entry { dtype, shape, bytes, strides })
}

/// How many numbers lie between the first and the last one of a tensor, both included.
fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    // however often numbers are repeated, they can be counted
    let count = shape.iter().try_fold(1usize, |count, n| count.checked_mul(*n))?;
    if count == 0 {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1usize, |span, (n, stride)| span.checked_add((n - 1).checked_mul(*stride)?))
}

/// Whether the numbers lie row by row.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(n, stride)| {
        let here = *n <= 1 || *stride == expected;
        expected = expected.saturating_mul(*n);
        here
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// The tensors of a file with a pickle and one storage, of 8 bytes.
    fn found(pickle: &[u8]) -> Result<Vec<Found>, String> {
        let mut archive = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, bytes) in [("archive/data.pkl", pickle), ("archive/data/0", &[0; 8])] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        entries(&archive.finish().unwrap())
    }

    /// Instructions that make a tensor of f16, in a storage of a name.
    fn tensor(storage: &str, shape: &str, strides: &str) -> String {
        let class = "ctorch\nHalfStorage\n";
        let storage = format!("(Vstorage\n{class}V{storage}\nVcpu\nI4\ntQ");
        format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{shape}{strides}I00\n}}tR")
    }

    /// A pickle of one tensor under a name, again and again, each time at the cost of what it takes to recall both.
    fn repeated(name: &str, tensor: &str, times: usize) -> Vec<u8> {
        let mut pickle = format!("}}V{name}\np0\n0{tensor}p1\n0").into_bytes();
        pickle.extend(b"h\x00h\x01s".repeat(times));
        pickle.push(b'.');
        pickle
    }

    #[test]
    fn what_a_pickle_repeats_at_no_cost_is_bounded() {
        let (shape, strides) = ("(I2\nI2\nt", "(I2\nI1\nt");
        let plain = tensor("0", shape, strides);
        let tensors = found(&repeated("w", &plain, 3)).unwrap();
        assert!(tensors.iter().all(|(name, entry)| name == "w" && entry.as_ref().unwrap().shape == [2, 2]));
        assert!(found(&repeated("w", &plain, 1 << 17)).err().unwrap().contains("more tensors than any checkpoint"));
        // a long name, a storage's, and a long shape, each in many tensors
        let long = "x".repeat(1 << 12);
        assert!(found(&repeated(&long, &plain, 1000)).unwrap().is_empty());
        let axes = format!("({}t", "I1\n".repeat(1 << 10));
        for tensor in [tensor(&long, shape, strides), tensor("0", &axes, &axes)] {
            let tensors = found(&repeated("w", &tensor, 1000)).unwrap();
            assert!(tensors.iter().all(|(_, entry)| entry.as_ref().is_err_and(|reason| reason == UNKNOWN)));
        }
    }

    #[test]
    fn tensors_that_share_a_storage_come_to_no_more_than_memory_has() {
        let huge = tensor("0", "(I4194304\nI4194304\nt", "(I0\nI0\nt");
        let tensors = found(&repeated("w", &huge, 1)).unwrap();
        assert!(tensors[0].1.as_ref().is_err_and(|reason| reason.contains("far more numbers than the file holds")));
        let large = tensor("0", "(I1048576\nt", "(I0\nt");
        let tensors = found(&repeated("w", &large, 100)).unwrap();
        assert_eq!(tensors.iter().filter(|(_, entry)| entry.is_ok()).count(), 32);
    }
}
