//! The files of a checkpoint directory.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{fs, model::ModelError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// The format of `torch.save`: a zip archive with a pickle that locates the tensors.
    Torch,
    /// The format of `numpy.savez`: a zip archive of arrays.
    Npz,
}

/// The files that hold a checkpoint's weights.
pub(in crate::model) struct Files {
    pub paths: Vec<PathBuf>,
    pub(super) format: Format,
}

/// The names under which weights are published, in order of preference.
pub(in crate::model) const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The files of a checkpoint directory: the first of [`WEIGHTS`] that exists, as one file or as the shards in its index.
pub(in crate::model) fn files(dir: &Path) -> Result<Files, ModelError> {
    for (name, format) in WEIGHTS.into_iter().zip([Format::Safetensors, Format::Torch]) {
        let single = dir.join(name);
        if single.is_file() {
            return Ok(Files { paths: vec![single], format });
        }
        let index = dir.join(index_of(name));
        if index.is_file() {
            let paths: Vec<PathBuf> = shards(&index)?.into_iter().map(|shard| dir.join(shard)).collect();
            return match paths.iter().find(|path| !path.is_file()) {
                Some(missing) => Err(ModelError::MissingShard(index, missing.clone())),
                None => Ok(Files { paths, format }),
            };
        }
    }
    Err(ModelError::MissingFile(dir.to_path_buf(), "model.safetensors or pytorch_model.bin"))
}

/// The name of the index, which maps tensors to shards.
pub(in crate::model) fn index_of(weights: &str) -> String {
    format!("{weights}.index.json")
}

/// The names of the shards in an index.
pub(in crate::model) fn shards(index: &Path) -> Result<Vec<String>, ModelError> {
    let text = fs::read_text(index, fs::TEXT_LIMIT).map_err(ModelError::read(index))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(ModelError::json(index))?;
    let broken = |reason: &str| ModelError::Broken { path: index.into(), reason: reason.into() };
    let map = json.get("weight_map").and_then(|m| m.as_object()).ok_or_else(|| broken("it has no weight_map"))?;
    let shards: Option<BTreeSet<&str>> = map.values().map(|file| file.as_str()).collect();
    let shards = shards.filter(|s| !s.is_empty()).ok_or_else(|| broken("its weight_map does not name files"))?;
    // shards are beside the index; a path that leads elsewhere is an attack
    match shards.iter().find(|name| Path::new(name).file_name().is_none_or(|f| f != **name)) {
        Some(name) => Err(broken(&format!("shard {name:?} is not a file name"))),
        None => Ok(shards.into_iter().map(String::from).collect()),
    }
}
