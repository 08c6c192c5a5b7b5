//! The tensors of a checkpoint, read on demand.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
};

use flate2::read::DeflateDecoder;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{
    entry::{Entry, Found, MOST_TENSORS, Packed},
    files::{Files, Format, files},
    npz_file, safetensors_file, sniff,
    torch_file::{self, Contents},
};
use crate::{fs, model::ModelError};

/// A file that holds tensors.
enum Shard {
    File(File, PathBuf),
    Embedded(&'static [u8]),
}

/// Whether a long operation should continue.
pub type KeepGoing<'a> = &'a dyn Fn() -> bool;

/// Named tensors, read on demand.
pub(in crate::model) struct Checkpoint<'a> {
    shards: Vec<Shard>,
    /// Each with the index of its shard.
    tensors: BTreeMap<String, (usize, Result<Entry, String>)>,
    keep_going: KeepGoing<'a>,
}

impl<'a> Checkpoint<'a> {
    /// Open the weights of a checkpoint directory. Reading stops when `keep_going` returns false.
    pub(in crate::model) fn open(dir: &Path, keep_going: KeepGoing<'a>) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), keep_going };
        let Files { paths, format } = files(dir)?;
        for path in paths {
            checkpoint.add_file(path, format, Contents::State)?;
        }
        Ok(checkpoint)
    }

    /// Open one file of tensors, which are named as in [`Contents::Nested`]: of safetensors by its ending, else of `PyTorch`.
    pub(in crate::model) fn file(path: &Path, keep_going: KeepGoing<'a>) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), keep_going };
        let safetensors = path.extension().is_some_and(|ending| ending == "safetensors");
        let format = if safetensors { Format::Safetensors } else { Format::Torch };
        checkpoint.add_file(path.to_path_buf(), format, Contents::Nested)?;
        Ok(checkpoint)
    }

    /// Open a file of activations, whose tensors are named as in [`Contents::Anywhere`]: safetensors, npz or of `PyTorch`, by its
    /// ending.
    pub(in crate::model) fn cache(path: &Path) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), keep_going: &|| true };
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let format = match ending.as_deref() {
            Some("safetensors") => Format::Safetensors,
            Some("npz") => Format::Npz,
            Some("pt" | "pth" | "bin") => Format::Torch,
            _ => {
                let reason = "expected a name that ends in .safetensors, .npz or .pt".into();
                return Err(ModelError::Misfit { path: path.into(), reason });
            }
        };
        checkpoint.add_file(path.to_path_buf(), format, Contents::Anywhere)?;
        Ok(checkpoint)
    }

    fn add_file(&mut self, path: PathBuf, format: Format, contents: Contents) -> Result<(), ModelError> {
        let file = fs::open(&path).map_err(ModelError::read(&path))?;
        let broken = |reason| {
            // a truncated zip archive is still recognised as one, which explains nothing
            let what = sniff::explain(&path).filter(|_| format == Format::Safetensors || !is_zip(&path));
            ModelError::Broken { path: path.clone(), reason: what.map_or(reason, String::from) }
        };
        let entries = match format {
            Format::Safetensors => {
                let length = file.metadata().map_err(ModelError::io(&path))?.len();
                let length = usize::try_from(length).map_err(|e| broken(e.to_string()))?;
                safetensors_file::entries(&map(&file, &(0..length)).map_err(ModelError::io(&path))?)
            }
            Format::Torch => torch_file::entries(&file, contents),
            Format::Npz => npz_file::entries(&file),
        };
        let entries = entries.map_err(broken)?;
        self.add(Shard::File(file, path), entries);
        Ok(())
    }

    pub(in crate::model) fn embedded(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), keep_going: &|| true };
        let broken = |reason| ModelError::Broken { path: "embedded model".into(), reason };
        checkpoint.add(Shard::Embedded(bytes), safetensors_file::entries(bytes).map_err(broken)?);
        Ok(checkpoint)
    }

    fn add(&mut self, shard: Shard, entries: Vec<Found>) {
        let number = self.shards.len();
        self.tensors.extend(entries.into_iter().map(|(name, entry)| (name, (number, entry))));
        self.shards.push(shard);
    }

    pub(in crate::model) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor; None if there is none of this name.
    ///
    /// # Errors
    /// The tensor can't be read.
    pub(in crate::model) fn shape(&self, name: &str) -> Result<Option<&[usize]>, ModelError> {
        match self.tensors.get(name) {
            None => Ok(None),
            Some((_, Ok(entry))) => Ok(Some(entry.shape.as_slice())),
            Some((shard, Err(reason))) => Err(self.broken(*shard, format!("{name} {reason}"))),
        }
    }

    /// Replace a tensor by those along its first axis, `NAME[0]` and so on, if it has values and there are not too many.
    pub(in crate::model) fn split(&mut self, name: &str) {
        let Some((shard, Ok(entry))) = self.tensors.get(name) else { return };
        if entry.shape.contains(&0) || entry.shape.first().is_none_or(|count| *count > MOST_TENSORS) {
            return;
        }
        let (shard, all) = (*shard, entry.split());
        self.tensors.remove(name);
        let named = all.into_iter().enumerate().map(|(at, entry)| (format!("{name}[{at}]"), (shard, Ok(entry))));
        self.tensors.extend(named);
    }

    /// The values of a tensor, row-major, converted to f32.
    ///
    /// # Errors
    /// There is no such tensor, its type is not supported, or `keep_going` returned false.
    pub(in crate::model) fn read(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.convert(name, to_f32)
    }

    /// The values of a tensor of whole numbers, row-major.
    ///
    /// # Errors
    /// As [`Self::read`], and a number that is negative or too large for a token id.
    pub(in crate::model) fn read_ids(&self, name: &str) -> Result<Vec<u32>, ModelError> {
        self.convert(name, to_ids)
    }

    fn convert<T: Copy>(
        &self,
        name: &str,
        convert: fn(&[u8], Dtype) -> Result<Vec<T>, String>,
    ) -> Result<Vec<T>, ModelError> {
        if !(self.keep_going)() {
            return Err(ModelError::Stopped);
        }
        let Some((shard, Ok(entry))) = self.tensors.get(name) else {
            return Err(ModelError::Tensors(vec![format!("  missing {name}")]));
        };
        let values = match &self.shards[*shard] {
            Shard::Embedded(bytes) => convert(&bytes[entry.bytes.clone()], entry.dtype),
            // mapped only while it is read, so that the file does not stay in memory beside the weights
            Shard::File(file, path) => {
                let mapped = map(file, &entry.bytes).map_err(ModelError::io(path))?;
                match &entry.packed {
                    None => convert(&mapped, entry.dtype),
                    Some(packed) => inflate(&mapped, packed).and_then(|bytes| convert(&bytes, entry.dtype)),
                }
            }
        };
        let values = values.map_err(|e| ModelError::Tensors(vec![format!("  {name} {e}")]))?;
        Ok(match &entry.strides {
            None => values,
            Some(strides) => contiguous(&values, &entry.shape, strides),
        })
    }

    /// The type of a tensor; None if there is none of this name, or it can't be read.
    pub(in crate::model) fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name)?.1.as_ref().ok().map(|entry| entry.dtype)
    }

    fn broken(&self, shard: usize, reason: String) -> ModelError {
        let path = match &self.shards[shard] {
            Shard::File(_, path) => path.clone(),
            Shard::Embedded(_) => "embedded model".into(),
        };
        ModelError::Broken { path, reason }
    }
}

/// The names of the tensors in a file of `torch.save` or `numpy.savez`; that of a tensor that was saved by itself is empty.
///
/// # Errors
/// The file can't be read.
pub fn saved_tensors(path: &Path) -> Result<Vec<String>, ModelError> {
    Ok(Checkpoint::cache(path)?.names().map(String::from).collect())
}

/// The shape and the values of a tensor in such a file, row-major, converted to f32.
///
/// # Errors
/// The file or the tensor can't be read.
pub fn saved_tensor(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
    let file = Checkpoint::cache(path)?;
    let shape = file.shape(name)?.map(<[usize]>::to_vec).unwrap_or_default();
    Ok((shape, file.read(name)?))
}

/// The values of a strided tensor in row-major order.
fn contiguous<T: Copy>(values: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
    let mut offsets = vec![0];
    for (n, stride) in shape.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|offset| (0..*n).map(move |i| offset + i * stride)).collect();
    }
    offsets.into_iter().map(|offset| values[offset]).collect()
}

/// The values of deflated bytes.
fn inflate(bytes: &[u8], packed: &Packed) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let most = packed.skip.saturating_add(packed.size) as u64;
    let read = DeflateDecoder::new(bytes).take(most).read_to_end(&mut unpacked);
    read.map_err(|e| format!("can't be unpacked: {e}"))?;
    match unpacked.get(packed.skip..) {
        Some(values) if values.len() == packed.size => Ok(values.to_vec()),
        _ => Err("ends early".into()),
    }
}

fn is_zip(path: &Path) -> bool {
    let mut start = [0; 4];
    fs::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *b"PK\x03\x04"
}

#[allow(unsafe_code, reason = "memory-mapping is what makes large checkpoints load without a second copy")]
fn map(file: &File, bytes: &Range<usize>) -> std::io::Result<Mmap> {
    // SAFETY: the map is only read, inside the length that the file had when it was opened. Should another process truncate
    // it meanwhile, the access faults, as it would for any program that maps its weights.
    unsafe { MmapOptions::new().offset(bytes.start as u64).len(bytes.len()).map(file) }
}

/// Convert little-endian values to f32.
fn to_f32(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>, String> {
    match dtype {
        Dtype::F16 => Ok(widen(
            bytes,
            |b, out| {
                let half: Vec<f16> = b.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
                half.convert_to_f32_slice(out);
            },
            2,
        )),
        Dtype::BF16 => Ok(widen(
            bytes,
            |b, out| {
                for (b, x) in b.chunks_exact(2).zip(out) {
                    *x = bf16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            },
            2,
        )),
        Dtype::F32 => Ok(widen(
            bytes,
            |b, out| {
                for (b, x) in b.chunks_exact(4).zip(out) {
                    *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            },
            4,
        )),
        Dtype::F64 => Ok(widen(
            bytes,
            |b, out| {
                for (b, x) in b.as_chunks::<8>().0.iter().zip(out) {
                    #[allow(clippy::cast_possible_truncation, reason = "weights are f32 from here on")]
                    let narrow = f64::from_le_bytes(*b) as f32;
                    *x = narrow;
                }
            },
            8,
        )),
        other => Err(format!("is stored as {other:?}; expected F16, BF16, F32 or F64")),
    }
}

/// Convert little-endian whole numbers to token ids.
fn to_ids(bytes: &[u8], dtype: Dtype) -> Result<Vec<u32>, String> {
    let id = |n: i64| u32::try_from(n).map_err(|_| format!("holds {n}; expected token ids, whole numbers from 0"));
    match dtype {
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| id(i64::from_le_bytes(*b))).collect(),
        Dtype::I32 => bytes.as_chunks::<4>().0.iter().map(|b| id(i32::from_le_bytes(*b).into())).collect(),
        Dtype::U32 => Ok(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()),
        Dtype::F32 => {
            // as `run --save-cache` writes them
            let whole = |x: f32| -> Result<u32, String> {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
                let id = x as u32;
                #[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "exact below 2^24")]
                let same = id as f32 == x && id < 1 << 24;
                if same { Ok(id) } else { Err(format!("holds {x}; expected token ids, whole numbers from 0")) }
            };
            bytes.as_chunks::<4>().0.iter().map(|b| whole(f32::from_le_bytes(*b))).collect()
        }
        other => Err(format!("is stored as {other:?}; expected token ids, I64 or I32")),
    }
}

/// Convert values of `width` bytes in parallel, in chunks.
fn widen(bytes: &[u8], convert: impl Fn(&[u8], &mut [f32]) + Sync, width: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 14;
    let mut out = vec![0.0; bytes.len() / width];
    out.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * width)).for_each(|(out, bytes)| convert(bytes, out));
    out
}
