//! Lenses: what the residual stream of a layer would predict, read through a map to the end of the model.

mod jacobian;
mod tuned;

use std::path::Path;

use candle_core::{DType, Tensor};

use super::{ModelError, checkpoint::Checkpoint, kernels::Linear};
use crate::hooks::{BlockHook, HookPoint};

pub(crate) use jacobian::FILE_ENDING;
pub(crate) use tuned::FILES;

/// How a lens maps the stream to the end of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LensKind {
    /// Not at all (nostalgebraist, 2020).
    Logit,
    /// By an affine map for each layer, trained to predict what the model predicts (Belrose et al., 2023).
    Tuned,
    /// By the mean Jacobian of the last layer's output with respect to each layer's (Gurnee et al., 2026).
    Jacobian,
}

impl LensKind {
    pub const ALL: [Self; 3] = [Self::Logit, Self::Tuned, Self::Jacobian];

    /// As arguments and JSON call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logit => "logit",
            Self::Tuned => "tuned",
            Self::Jacobian => "jacobian",
        }
    }
}

/// A layer that a lens reads.
pub struct LensRow {
    /// Its number in the lens's own count.
    pub layer: usize,
    pub point: HookPoint,
    map: Map,
}

/// What a lens does to the unprocessed stream before the final LayerNorm.
enum Map {
    Nothing,
    /// x + W x + b
    Added(Linear),
    /// W x
    Linear(Linear),
}

/// A lens for a model: its layers, the earliest first.
pub struct Lens {
    pub kind: LensKind,
    pub rows: Vec<LensRow>,
    /// Sentences about what does not match the model, for the user to judge.
    pub notes: Vec<String>,
}

impl LensRow {
    fn last(layer: usize, n_layers: usize) -> Self {
        Self { layer, point: HookPoint::Block(n_layers.saturating_sub(1), BlockHook::ResidPost), map: Map::Nothing }
    }

    /// The stream as the lens passes it to the final LayerNorm.
    ///
    /// # Shapes
    /// `stream`, unprocessed, and the result, in f32: `[batch, pos, d_model]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn map(&self, stream: &Tensor) -> candle_core::Result<Tensor> {
        let stream = stream.to_dtype(DType::F32)?;
        match &self.map {
            Map::Nothing => Ok(stream),
            Map::Added(map) => &stream + map.forward(&stream)?,
            Map::Linear(map) => map.forward(&stream),
        }
    }
}

impl Lens {
    /// The logit lens: what enters each block, and what leaves the last.
    #[must_use]
    pub fn logit(n_layers: usize) -> Self {
        let pre =
            |block| LensRow { layer: block, point: HookPoint::Block(block, BlockHook::ResidPre), map: Map::Nothing };
        let rows = (0..n_layers).map(pre).chain([LensRow::last(n_layers, n_layers)]).collect();
        Self { kind: LensKind::Logit, rows, notes: Vec::new() }
    }
}

/// A tensor that has to have this shape.
fn read(file: &Checkpoint<'_>, path: &Path, name: &str, expected: &[usize]) -> Result<Vec<f32>, ModelError> {
    match file.shape(name)? {
        Some(found) if found == expected => file.read(name),
        Some(found) => Err(misfit(path, &format!("{name} has shape {found:?}; for this model it is {expected:?}"))),
        None => Err(misfit(path, &format!("it has no tensor {name} of shape {expected:?}"))),
    }
}

fn misfit(path: &Path, reason: &str) -> ModelError {
    ModelError::Misfit { path: path.to_path_buf(), reason: reason.into() }
}
