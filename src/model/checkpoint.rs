//! Tensors of a checkpoint in safetensors files: one, or shards with an index.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use super::ModelError;

enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}

struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// Named tensors, read from memory-mapped files when asked for.
pub(super) struct Checkpoint {
    shards: Vec<Bytes>,
    tensors: BTreeMap<String, Entry>,
}

impl Checkpoint {
    /// Open `model.safetensors` in `dir`, or the shards that `model.safetensors.index.json` names.
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        for path in files(dir)? {
            let file = File::open(&path).map_err(ModelError::io(&path))?;
            // SAFETY: the map is only read, and every read stays inside the length checked here. Should another process
            // truncate the file meanwhile, the access faults, as it would for any program that maps its weights.
            #[allow(unsafe_code, reason = "memory-mapping is what makes large checkpoints load without a second copy")]
            let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io(&path))?;
            checkpoint.add(Bytes::Mapped(map), &path)?;
        }
        Ok(checkpoint)
    }

    pub(super) fn embedded(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        checkpoint.add(Bytes::Embedded(bytes), Path::new("embedded model"))?;
        Ok(checkpoint)
    }

    fn add(&mut self, bytes: Bytes, path: &Path) -> Result<(), ModelError> {
        let broken = |reason: String| ModelError::Broken { path: path.to_path_buf(), reason };
        let (header, metadata) = SafeTensors::read_metadata(bytes.as_slice()).map_err(|e| broken(e.to_string()))?;
        let data = 8 + header;
        for (name, info) in metadata.tensors() {
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            if range.end > bytes.as_slice().len() {
                return Err(broken(format!("{name} ends beyond the file")));
            }
            let entry = Entry { shard: self.shards.len(), dtype: info.dtype, shape: info.shape.clone(), bytes: range };
            self.tensors.insert(name, entry);
        }
        self.shards.push(bytes);
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The values of a tensor, row-major, as f32 whatever they are stored as.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(ModelError::Tensors(vec![format!("  missing {name}")]));
        };
        let bytes = &self.shards[entry.shard].as_slice()[entry.bytes.clone()];
        match entry.dtype {
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
            other => {
                Err(ModelError::Tensors(vec![format!("  {name} is stored as {other:?}; expected F16, BF16 or F32")]))
            }
        }
    }
}

/// Convert in parallel, a chunk at a time.
fn widen(bytes: &[u8], convert: impl Fn(&[u8], &mut [f32]) + Sync, width: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 14;
    let mut out = vec![0.0; bytes.len() / width];
    out.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * width)).for_each(|(out, bytes)| convert(bytes, out));
    out
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    if !index.is_file() {
        return Err(ModelError::MissingFile(dir.to_path_buf(), "model.safetensors"));
    }
    let text = std::fs::read_to_string(&index).map_err(ModelError::io(&index))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|source| ModelError::Json { path: index.clone(), source })?;
    let broken = |reason: &str| ModelError::Broken { path: index.clone(), reason: reason.into() };
    let map = json.get("weight_map").and_then(|m| m.as_object()).ok_or_else(|| broken("it has no weight_map"))?;
    let shards: Option<BTreeSet<&str>> = map.values().map(|file| file.as_str()).collect();
    let shards = shards.filter(|s| !s.is_empty()).ok_or_else(|| broken("its weight_map does not name files"))?;
    // A shard is a file beside the index; a path elsewhere is nothing that a checkpoint writer makes.
    match shards.iter().find(|name| Path::new(name).file_name().is_none_or(|f| f != **name)) {
        Some(name) => Err(broken(&format!("shard {name:?} is not a file name"))),
        None => Ok(shards.into_iter().map(|shard| dir.join(shard)).collect()),
    }
}
