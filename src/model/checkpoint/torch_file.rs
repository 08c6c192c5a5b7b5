//! Locates the tensors in a file of `torch.save`: a zip archive with a pickle, and one uncompressed entry for the values of
//! each storage.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use super::{
    entry::{Entry, Found, MOST_TENSORS, is_buffer},
    pickle::{Id, Pickle, Value},
    torch_tree as tree,
};
use crate::fs::TEXT_LIMIT;

type Archive<'a> = ZipArchive<BufReader<&'a File>>;

/// Where a file keeps its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// In one dictionary: a model's state.
    State,
    /// In a dictionary or in dictionaries inside it, whose tensors are named `OUTER.INNER`.
    Nested,
    /// Anywhere: in dictionaries, lists, tuples and objects, named by the way to them, as in `hidden_states.3`.
    Anywhere,
}

/// The tensors of a file, without buffers.
pub(super) fn entries(mut file: &File, contents: Contents) -> Result<Vec<Found>, String> {
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
    let (mut all, mut budget) = (Vec::new(), max_bytes(length));
    let named = match contents {
        Contents::State => tensors(&pickle)?.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        Contents::Nested => nested(&pickle)?,
        Contents::Anywhere => tree::tensors(&pickle)?,
    };
    let is_wanted = |name: &str| contents == Contents::Anywhere || !is_buffer(name);
    for (name, value) in named.into_iter().filter(|(name, _)| is_wanted(name)) {
        let entry = tensor(&pickle, value).transpose().map(|tensor| {
            let entry = tensor.and_then(|tensor| locate(&mut archive, directory, tensor, length))?;
            budget = budget.checked_sub(size(&entry)).ok_or("repeats far more numbers than the file holds")?;
            Ok(entry)
        });
        let Some(entry) = entry else { continue };
        if all.len() == MOST_TENSORS {
            return Err("it holds more tensors than any checkpoint".into());
        }
        all.push((name, entry));
    }
    Ok(all)
}

/// The largest total size of the tensors in a file of `length` bytes. Tensors may share storages, as tied weights do, and may
/// repeat numbers, but a short file must not expand without bound.
fn max_bytes(length: usize) -> usize {
    length.saturating_mul(4).saturating_add(64 << 20)
}

/// The size of a tensor in bytes once it is contiguous.
fn size(entry: &Entry) -> usize {
    entry.shape.iter().fold(entry.dtype.bitsize() / 8, |bytes, n| bytes.saturating_mul(*n))
}

/// The dictionary of tensors: the saved object itself, or the part of it under one of the names that training programs use.
fn tensors(pickle: &Pickle) -> Result<Vec<(&str, Id)>, String> {
    const NAMES: [&str; 3] = ["state_dict", "model", "module"];
    let mut id = pickle.root();
    // the parts may be nested
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

/// The values of a dictionary and of the dictionaries inside it, whose keys may be numbers.
fn nested(pickle: &Pickle) -> Result<Vec<(String, Id)>, String> {
    let items = pickle.dict(pickle.root()).ok_or("it does not hold a dictionary")?;
    let key = |id| pickle.text(id).map(String::from).or_else(|| pickle.size(id).map(|number| number.to_string()));
    let mut all = Vec::new();
    for (outer, value) in items {
        let Some(outer) = key(*outer) else { continue };
        match pickle.dict(*value) {
            None => all.push((outer, *value)),
            Some(inner) => {
                let named = inner.iter().filter_map(|(name, value)| Some((format!("{outer}.{}", key(*name)?), *value)));
                all.extend(named.take(MOST_TENSORS + 1));
            }
        }
        if all.len() > MOST_TENSORS {
            return Err("it holds more tensors than any checkpoint".into());
        }
    }
    Ok(all)
}

/// The pickled description of a tensor.
struct Pickled<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// The name of its storage, and the element of it at which the tensor begins.
    storage: &'a str,
    offset: usize,
}

/// The tensor, or the parameter's tensor, that a value describes; None if it describes something else.
fn tensor(pickle: &Pickle, mut value: Id) -> Result<Option<Pickled<'_>>, String> {
    // the deepest nesting is a parameter in a subclass of Tensor
    for _ in 0..4 {
        let Value::Call { function, arguments, .. } = pickle.get(value) else { return Ok(None) };
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

/// The tensor that `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)` would return.
fn rebuilt<'a>(pickle: &'a Pickle, arguments: &[Id]) -> Result<Pickled<'a>, String> {
    let known = || -> Option<Result<Pickled<'a>, String>> {
        let [storage, offset, shape, strides, rest @ ..] = arguments else { return None };
        // flags for values to negate or conjugate on reading
        if rest.get(2).is_some_and(|flags| pickle.dict(*flags).is_some_and(|flags| !flags.is_empty())) {
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

/// The bytes of an archive entry, at most [`TEXT_LIMIT`] once decompressed. The archive verifies its checksum.
fn read(archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let entry = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    entry.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    if bytes.len() as u64 > TEXT_LIMIT { Err(format!("{name} is larger than any checkpoint's")) } else { Ok(bytes) }
}

/// The position of a tensor in a file of `length` bytes.
fn locate(archive: &mut Archive<'_>, directory: &str, tensor: Pickled<'_>, length: usize) -> Result<Entry, String> {
    let Pickled { dtype, shape, strides, storage, offset } = tensor;
    let name = format!("{directory}/{storage}");
    let storage = archive.by_name(&name).map_err(|e| format!("{name}: {e}"))?;
    if storage.compression() != CompressionMethod::Stored {
        return Err("is compressed; torch.save does not compress".into());
    }
    let start = storage.data_start().ok_or("its position in the archive is unknown")?;
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
    Ok(Entry { dtype, shape, bytes, strides, packed: None })
}

/// The number of elements from the first to the last of a tensor, both included; None if it overflows.
fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    // the element count must not overflow either, even if strides of 0 repeat elements
    let count = shape.iter().try_fold(1usize, |count, n| count.checked_mul(*n))?;
    if count == 0 {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1usize, |span, (n, stride)| span.checked_add((n - 1).checked_mul(*stride)?))
}

/// Whether the elements are contiguous in row-major order.
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

    /// The tensors of a file with this pickle and one storage of 8 bytes.
    fn found(pickle: &[u8]) -> Result<Vec<Found>, String> {
        let mut archive = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, bytes) in [("archive/data.pkl", pickle), ("archive/data/0", &[0; 8])] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        entries(&archive.finish().unwrap(), Contents::State)
    }

    /// The instructions for an f16 tensor in a named storage.
    fn tensor(storage: &str, shape: &str, strides: &str) -> String {
        let class = "ctorch\nHalfStorage\n";
        let storage = format!("(Vstorage\n{class}V{storage}\nVcpu\nI4\ntQ");
        format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{shape}{strides}I00\n}}tR")
    }

    /// A pickle that maps a name to a tensor `times` times; each repetition takes only the bytes to recall both from the
    /// memo.
    fn repeated(name: &str, tensor: &str, times: usize) -> Vec<u8> {
        let mut pickle = format!("}}V{name}\np0\n0{tensor}p1\n0").into_bytes();
        pickle.extend(b"h\x00h\x01s".repeat(times));
        pickle.push(b'.');
        pickle
    }

    #[test]
    fn repeated_tensors_and_names_are_bounded() {
        let (shape, strides) = ("(I2\nI2\nt", "(I2\nI1\nt");
        let plain = tensor("0", shape, strides);
        let tensors = found(&repeated("w", &plain, 3)).unwrap();
        assert!(tensors.iter().all(|(name, entry)| name == "w" && entry.as_ref().unwrap().shape == [2, 2]));
        assert!(found(&repeated("w", &plain, 1 << 17)).err().unwrap().contains("more tensors than any checkpoint"));
        // a long tensor name, storage name and shape, each in many tensors
        let long = "x".repeat(1 << 12);
        assert!(found(&repeated(&long, &plain, 1000)).unwrap().is_empty());
        let axes = format!("({}t", "I1\n".repeat(1 << 10));
        for tensor in [tensor(&long, shape, strides), tensor("0", &axes, &axes)] {
            let tensors = found(&repeated("w", &tensor, 1000)).unwrap();
            assert!(tensors.iter().all(|(_, entry)| entry.as_ref().is_err_and(|reason| reason == UNKNOWN)));
        }
    }

    #[test]
    fn nested_dictionaries_name_their_tensors_by_both_keys() {
        let (shape, strides) = ("(I2\nI2\nt", "(I2\nI1\nt");
        let inner = format!("}}I3\n{}s", tensor("0", shape, strides));
        let pickle = format!("}}VJ\n{inner}sVn\nI7\ns.");
        let mut archive = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, bytes) in [("archive/data.pkl", pickle.as_bytes()), ("archive/data/0", &[0; 8])] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        let tensors = entries(&archive.finish().unwrap(), Contents::Nested).unwrap();
        assert!(matches!(&tensors[..], [(name, Ok(entry))] if name == "J.3" && entry.shape == [2, 2]));
    }

    #[test]
    fn tensors_that_share_a_storage_are_bounded_in_total() {
        let huge = tensor("0", "(I4194304\nI4194304\nt", "(I0\nI0\nt");
        let tensors = found(&repeated("w", &huge, 1)).unwrap();
        assert!(tensors[0].1.as_ref().is_err_and(|reason| reason.contains("far more numbers than the file holds")));
        let large = tensor("0", "(I1048576\nt", "(I0\nt");
        let tensors = found(&repeated("w", &large, 100)).unwrap();
        assert_eq!(tensors.iter().filter(|(_, entry)| entry.is_ok()).count(), 32);
    }
}
