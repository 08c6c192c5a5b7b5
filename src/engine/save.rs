use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Tensor};

use super::{Engine, Run};
use crate::hooks::EditError;

/// A cache that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("{0}: the name should end in .safetensors or .npz")]
    Format(PathBuf),
    #[error("can't write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
}

/// Whether a cache's file name asks for npz, or for safetensors.
///
/// # Errors
/// It asks for neither.
pub fn check_cache_name(path: &Path) -> Result<bool, SaveError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(false),
        Some("npz") => Ok(true),
        _ => Err(SaveError::Format(path.to_path_buf())),
    }
}

/// Write every activation that the run kept, or that can be made of what it kept, under its TransformerLens name, without the batch axis, and `logits` `[pos, vocab]`,
/// all f32: as safetensors, or as npz where the name ends so. The file appears whole or not at all.
///
/// # Errors
/// Another ending, or a file that can't be written; what stood there before is then untouched.
pub fn save_cache(engine: &Engine, run: &Run, path: &Path) -> Result<(), SaveError> {
    let npz = check_cache_name(path)?;
    let failed = |reason: String| SaveError::Write { path: path.to_path_buf(), reason };
    let tensors = tensors(engine, run).map_err(|e| failed(plain(&e)))?;
    let written = write_whole(path, |partial| {
        if npz {
            return Tensor::write_npz(&tensors, partial);
        }
        let map: std::collections::HashMap<&str, Tensor> =
            tensors.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
        candle_core::safetensors::save(&map, partial)
    });
    written.map_err(|error| match error {
        WriteError::Write(e) => failed(plain(&e)),
        WriteError::Rename(e) => failed(e.to_string()),
    })
}

/// A file that could not be written whole.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    #[error("{0}")]
    Write(E),
    #[error("{0}")]
    Rename(std::io::Error),
}

/// Let `write` write a file beside `path` that then takes its place: whole, or not at all.
///
/// # Errors
/// Whatever `write` says, or that the file can't take its place; what stood there before is then untouched.
pub fn write_whole<E>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), WriteError<E>> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = write(&partial).map_err(WriteError::Write);
    let written = written.and_then(|()| std::fs::rename(&partial, path).map_err(WriteError::Rename));
    if written.is_err() {
        // nothing more can be done if the partial file can't be removed either
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// candle's message without the backtrace it appends.
fn plain(error: &impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

fn tensors(engine: &Engine, run: &Run) -> Result<Vec<(String, Tensor)>, EditError> {
    let flat = |t: Tensor| t.squeeze(0)?.to_dtype(DType::F32)?.contiguous();
    let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
    for point in run.cache.points() {
        if let Some(value) = engine.activation(run, point)? {
            all.insert(point.to_string(), flat(value)?);
        }
    }
    all.insert("logits".to_string(), flat(engine.logits(run, 0..run.tokens.len())?)?);
    Ok(all.into_iter().collect())
}
