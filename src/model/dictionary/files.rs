//! The files of a dictionary: configs whose every field is known, and tensors of the shapes that they imply.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::{
    fs,
    hooks::{BlockHook, HookPoint},
    model::{ModelError, checkpoint::Checkpoint},
};

/// How a library lays out a dictionary's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Sparsify,
    SaeLens,
    DictionaryLearning,
    Mlsae,
}

impl Layout {
    pub const ALL: [Self; 4] = [Self::Sparsify, Self::SaeLens, Self::DictionaryLearning, Self::Mlsae];

    /// The config, and the file of tensors.
    #[must_use]
    pub fn files(self) -> [&'static str; 2] {
        match self {
            Self::Sparsify => ["cfg.json", "sae.safetensors"],
            Self::SaeLens => ["cfg.json", "sae_weights.safetensors"],
            Self::DictionaryLearning => ["config.json", "ae.pt"],
            Self::Mlsae => ["config.json", "model.safetensors"],
        }
    }

    /// The layout of a directory, by its file of tensors.
    pub(super) fn of(directory: &Path) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|layout| directory.join(layout.files()[1]).is_file());
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|layout| layout.files()[1]).collect();
            misfit(directory, &format!("there is no dictionary; expected a directory with one of {}", known.join(", ")))
        })
    }
}

pub(super) fn misfit(path: &Path, reason: &str) -> ModelError {
    ModelError::Misfit { path: path.to_path_buf(), reason: reason.into() }
}

/// A config, read field by field.
pub(super) struct Fields {
    pub path: PathBuf,
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let text = fs::read_text(&path, fs::TEXT_LIMIT).map_err(ModelError::read(&path))?;
        Self::parse(path, &text)
    }

    /// The fields of a text, which messages call `path`.
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, ModelError> {
        let json: Value = serde_json::from_str(fs::without_mark(text)).map_err(ModelError::json(&path))?;
        match json {
            Value::Object(map) => Ok(Self { path, map }),
            _ => Err(misfit(&path, "expected a JSON object")),
        }
    }

    /// An object inside, whose fields are read in the same way.
    pub(super) fn inner(&self, name: &str) -> Option<Self> {
        let map = self.map.get(name)?.as_object()?.clone();
        Some(Self { path: self.path.clone(), map })
    }

    pub(super) fn misfit(&self, reason: &str) -> ModelError {
        misfit(&self.path, reason)
    }

    /// Refuse fields that are not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ModelError> {
        match self.map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(self.misfit(&format!("unknown field {name:?}, which could change the numbers"))),
            None => Ok(()),
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ModelError> {
        let text = |value: &'_ Value| value.as_str().is_some();
        match self.get(name) {
            None => Ok(None),
            Some(value) if text(value) => Ok(value.as_str()),
            Some(other) => Err(self.misfit(&format!("{name} is {other}; expected a string"))),
        }
    }

    pub(super) fn size(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.map(Some).ok_or_else(|| self.misfit(&format!("{name} is {value}; expected a whole number")))
    }

    pub(super) fn required(&self, name: &str) -> Result<usize, ModelError> {
        self.size(name)?.ok_or_else(|| self.misfit(&format!("it has no {name}")))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.misfit(&format!("{name} is {other}; expected true or false"))),
        }
    }

    /// Refuse a flag that is on.
    pub(super) fn off(&self, name: &str) -> Result<(), ModelError> {
        match self.flag(name, false)? {
            true => Err(self.misfit(&format!("{name} is true, which is not supported"))),
            false => Ok(()),
        }
    }
}

/// The tensors of a dictionary.
pub(super) struct Weights {
    pub path: PathBuf,
    file: Checkpoint<'static>,
}

impl Weights {
    pub(super) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let file = Checkpoint::file(&path, &|| true)?;
        Ok(Self { path, file })
    }

    pub(super) fn embedded(bytes: &'static [u8]) -> Result<Self, ModelError> {
        Ok(Self { path: "embedded dictionary".into(), file: Checkpoint::embedded(bytes)? })
    }

    /// The two sizes of a matrix.
    pub(super) fn sizes(&self, name: &str) -> Result<(usize, usize), ModelError> {
        match self.file.shape(name)? {
            Some([rows, columns]) => Ok((*rows, *columns)),
            Some(other) => Err(misfit(&self.path, &format!("{name} has shape {other:?}; expected a matrix"))),
            None => Err(misfit(&self.path, &format!("it has no tensor {name}"))),
        }
    }

    pub(super) fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ModelError> {
        match self.file.shape(name)? {
            Some(found) if found == expected => self.file.read(name),
            Some(found) => Err(misfit(&self.path, &format!("{name} has shape {found:?}; expected {expected:?}"))),
            None => Err(misfit(&self.path, &format!("it has no tensor {name} of shape {expected:?}"))),
        }
    }

    /// A matrix of this shape with its axes swapped.
    pub(super) fn transposed(&self, name: &str, [rows, columns]: [usize; 2]) -> Result<Vec<f32>, ModelError> {
        /// Columns that are read together.
        const TOGETHER: usize = 16;
        let values = self.read(name, &[rows, columns])?;
        let mut out = vec![0.0; values.len()];
        out.par_chunks_mut((TOGETHER * rows).max(1)).enumerate().for_each(|(number, out)| {
            for (i, row) in values.chunks(columns).enumerate() {
                for (j, x) in row.iter().skip(number * TOGETHER).take(TOGETHER).enumerate() {
                    out[j * rows + i] = *x;
                }
            }
        });
        Ok(out)
    }
}

/// The hook that a module's output is: `layers.3`, `layers.3.mlp`, `layers.3.attention`, with any prefix.
pub(super) fn module_hook(name: &str) -> Option<HookPoint> {
    let rest = name.rsplit_once("layers.").map(|(_, rest)| rest)?;
    let (number, part) = rest.split_once('.').map_or((rest, ""), |(number, part)| (number, part));
    let hook = match part {
        "" => BlockHook::ResidPost,
        "mlp" => BlockHook::MlpOut,
        "attention" => BlockHook::AttnOut,
        _ => return None,
    };
    Some(HookPoint::Block(number.parse().ok()?, hook))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_lead_to_hooks() {
        for (name, hook) in [
            ("layers.3", Some("blocks.3.hook_resid_post")),
            ("layers.11.mlp", Some("blocks.11.hook_mlp_out")),
            ("gpt_neox.layers.0.attention", Some("blocks.0.hook_attn_out")),
            ("layers.0.attention.dense", None),
            ("embed_in", None),
            ("layers.x", None),
        ] {
            assert_eq!(module_hook(name).map(|point| point.to_string()), hook.map(String::from), "{name}");
        }
    }
}
