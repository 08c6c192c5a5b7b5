//! The tensors of a checkpoint, read when asked for.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{
    entry::{Entry, Found},
    files::{Files, Format, files},
    safetensors_file, sniff, torch_file,
};
use crate::{fs, model::ModelError};

/// A file that holds tensors.
enum Shard {
    File(File, PathBuf),
    Embedded(&'static [u8]),
}

/// Whether what takes long is still wanted.
pub type GoOn<'a> = &'a dyn Fn() -> bool;

/// Named tensors, read when asked for.
pub(in crate::model) struct Checkpoint<'a> {
    shards: Vec<Shard>,
    /// Each with the number of its shard.
    tensors: BTreeMap<String, (usize, Result<Entry, String>)>,
    go_on: GoOn<'a>,
}

impl<'a> Checkpoint<'a> {
    /// Open the weights of a checkpoint directory, to be read as long as `go_on` says so.
    pub(in crate::model) fn open(dir: &Path, go_on: GoOn<'a>) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), go_on };
        let Files { paths, format } = files(dir)?;
        for path in paths {
            let file = fs::open(&path).map_err(ModelError::read(&path))?;
            let broken = |reason| {
                // a cut archive is a zip archive all the same
                let what = sniff::explain(&path).filter(|_| !(format == Format::Torch && is_zip(&path)));
                ModelError::Broken { path: path.clone(), reason: what.map_or(reason, String::from) }
            };
            let entries = match format {
                Format::Safetensors => {
                    let length = file.metadata().map_err(ModelError::io(&path))?.len();
                    let length = usize::try_from(length).map_err(|e| broken(e.to_string()))?;
                    safetensors_file::entries(&map(&file, &(0..length)).map_err(ModelError::io(&path))?)
                }
                Format::Torch => torch_file::entries(&file),
            };
            checkpoint.add(Shard::File(file, path.clone()), entries.map_err(broken)?);
        }
        Ok(checkpoint)
    }

    pub(in crate::model) fn embedded(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new(), go_on: &|| true };
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

    /// The shape of a tensor.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub(in crate::model) fn shape(&self, name: &str) -> Result<Option<&[usize]>, ModelError> {
        match self.tensors.get(name) {
            None => Ok(None),
            Some((_, Ok(entry))) => Ok(Some(entry.shape.as_slice())),
            Some((shard, Err(reason))) => Err(self.broken(*shard, format!("{name} {reason}"))),
        }
    }

    /// The values of a tensor, row-major, as f32 whatever they are stored as.
    ///
    /// # Errors
    /// It is not there, of another type, or not wanted any longer.
    pub(in crate::model) fn read(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        if !(self.go_on)() {
            return Err(ModelError::Stopped);
        }
        let Some((shard, Ok(entry))) = self.tensors.get(name) else {
            return Err(ModelError::Tensors(vec![format!("  missing {name}")]));
        };
        let values = match &self.shards[*shard] {
            Shard::Embedded(bytes) => to_f32(&bytes[entry.bytes.clone()], entry.dtype),
            // mapped only as long as it is read, so that no file stays in memory beside the weights made of it
            Shard::File(file, path) => to_f32(&map(file, &entry.bytes).map_err(ModelError::io(path))?, entry.dtype),
        };
        let values = values.map_err(|e| ModelError::Tensors(vec![format!("  {name} {e}")]))?;
        Ok(match &entry.strides {
            None => values,
            Some(strides) => row_by_row(&values, &entry.shape, strides),
        })
    }

    fn broken(&self, shard: usize, reason: String) -> ModelError {
        let path = match &self.shards[shard] {
            Shard::File(_, path) => path.clone(),
            Shard::Embedded(_) => "embedded model".into(),
        };
        ModelError::Broken { path, reason }
    }
}

/// The values of a tensor in row-major order, of which neighbours along each axis lie `strides` apart.
fn row_by_row(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let mut places = vec![0];
    for (n, stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|place| (0..*n).map(move |i| place + i * stride)).collect();
    }
    places.into_iter().map(|place| values[place]).collect()
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

/// Values row-major, whatever they are stored as.
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

/// Convert in parallel, a chunk at a time.
fn widen(bytes: &[u8], convert: impl Fn(&[u8], &mut [f32]) + Sync, width: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 14;
    let mut out = vec![0.0; bytes.len() / width];
    out.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * width)).for_each(|(out, bytes)| convert(bytes, out));
    out
}
