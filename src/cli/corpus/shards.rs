//! Activations of a corpus as files of bounded size.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use candle_core::{DType, Tensor};
use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::corpus_args::{CorpusArgs, SaveDtype},
    setup::Set,
};
use crate::{
    engine::BatchOutcome,
    experiment::Entry,
    fs::{Readers, write_atomic, write_text},
    hooks::HookPoint,
};

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shard {
    file: String,
    positions: u64,
    prompts: u64,
}

/// Collects activations, and writes a file when there are enough.
pub(super) struct Shards {
    directory: PathBuf,
    dtype: SaveDtype,
    hooks: Vec<Hook>,
    /// For each position that is collected: its prompt, its place in it, its token.
    places: [Vec<i64>; 3],
    prompts: u64,
    bytes: usize,
    /// Finite numbers that are infinite in f16.
    overflows: u64,
    /// What the index says beside the files.
    about: serde_json::Value,
}

struct Hook {
    point: HookPoint,
    /// The axes after `pos`.
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// About how many bytes of activations are in a file.
const SIZE: usize = 64 << 20;

impl Shards {
    pub fn new(args: &CorpusArgs, set: &Set, directory: &Path) -> Self {
        let schema = &set.engine.schema;
        let hook =
            |point: &HookPoint| Hook { point: *point, shape: schema.shape(*point, 1)[1..].to_vec(), bytes: vec![] };
        let hooks: Vec<Hook> = set.saved.iter().map(hook).collect();
        let described = hooks.iter().map(|hook| {
            let axes: Vec<&str> = schema.axes(hook.point)[1..].iter().map(|axis| axis.name()).collect();
            json!({"hook": hook.point.to_string(), "axes": axes, "shape": hook.shape})
        });
        let loaded = &set.engine.loaded;
        let about = json!({
            "version": 1,
            "model": loaded.name,
            "revision": loaded.revision,
            "processing": loaded.model.processing.name(),
            "device": loaded.model.place().to_string(),
            "corpus": set.corpus.path.display().to_string(),
            "edits": set.task.spec.edits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "dtype": name(args.save_dtype),
            "hooks": described.collect::<Vec<_>>(),
        });
        Self {
            directory: directory.to_path_buf(),
            dtype: args.save_dtype,
            hooks,
            places: [vec![], vec![], vec![]],
            prompts: 0,
            bytes: 0,
            overflows: 0,
            about,
        }
    }

    /// Add the prompts of a batch that are new.
    pub fn add(&mut self, entries: &[&Entry], new: &[usize], outcome: &BatchOutcome) -> Result<()> {
        for hook in &mut self.hooks {
            let missing = || anyhow::anyhow!("the run kept no {}", hook.point);
            let value: &Tensor = outcome.cache.get(hook.point).ok_or_else(missing)?;
            let before = hook.bytes.len();
            for row in new {
                let values: Vec<f32> = value.get(*row)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
                match self.dtype {
                    SaveDtype::F32 => hook.bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
                    SaveDtype::F16 => {
                        for x in values {
                            let half = f16::from_f32(x);
                            self.overflows += u64::from(x.is_finite() && half.is_infinite());
                            hook.bytes.extend(half.to_le_bytes());
                        }
                    }
                }
            }
            self.bytes += hook.bytes.len() - before;
        }
        let [prompts, positions, tokens] = &mut self.places;
        for entry in new.iter().map(|at| entries[*at]) {
            let number = i64::try_from(entry.number).unwrap_or(i64::MAX);
            for (pos, token) in (0..).zip(&entry.prompt.tokens) {
                prompts.push(number);
                positions.push(pos);
                tokens.push((*token).into());
            }
        }
        self.prompts += new.len() as u64;
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= SIZE
    }

    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Write what is collected as the file with this number; None if there is nothing.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&mut self, number: usize) -> Result<Option<Shard>> {
        let positions = self.places[0].len();
        if positions == 0 {
            return Ok(None);
        }
        let file = format!("activations-{number:05}.safetensors");
        let dtype = match self.dtype {
            SaveDtype::F16 => Dtype::F16,
            SaveDtype::F32 => Dtype::F32,
        };
        let places: Vec<Vec<u8>> =
            self.places.iter().map(|all| all.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let mut tensors = BTreeMap::new();
        for hook in &self.hooks {
            let shape = std::iter::once(positions).chain(hook.shape.iter().copied()).collect();
            tensors.insert(hook.point.to_string(), TensorView::new(dtype, shape, &hook.bytes)?);
        }
        for (name, bytes) in ["prompt", "pos", "token"].into_iter().zip(&places) {
            tensors.insert(name.into(), TensorView::new(Dtype::I64, vec![positions], bytes)?);
        }
        let bytes = safetensors::serialize(tensors, None)?;
        write_atomic(&self.directory.join(&file), Readers::AsBefore, |to| to.write_all(&bytes))?;
        let shard = Shard { file, positions: positions as u64, prompts: self.prompts };
        self.hooks.iter_mut().for_each(|hook| hook.bytes.clear());
        self.places.iter_mut().for_each(Vec::clear);
        (self.prompts, self.bytes) = (0, 0);
        Ok(Some(shard))
    }

    /// Write which files there are.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_index(&self, shards: &[Shard], complete: bool) -> Result<()> {
        let mut index = self.about.clone();
        index["complete"] = complete.into();
        index["shards"] = json!(shards);
        let text = serde_json::to_string_pretty(&index)? + "\n";
        Ok(write_text(&self.directory.join("index.json"), Readers::AsBefore, &text)?)
    }

    /// What a run has to keep.
    pub fn points(&self) -> impl Iterator<Item = HookPoint> {
        self.hooks.iter().map(|hook| hook.point)
    }
}

pub(super) fn name(dtype: SaveDtype) -> &'static str {
    match dtype {
        SaveDtype::F16 => "f16",
        SaveDtype::F32 => "f32",
    }
}
