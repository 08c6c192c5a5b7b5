//! Sparse dictionaries of activations: `features = act(W_enc (norm(x) - b_dec) + b_enc)`, and back by `W_dec` and `b_dec`.

mod activation;
mod dictionary_learning;
mod edit;
mod files;
mod gradient;
mod mlsae;
mod normalisation;
mod sae_lens;
mod sparsify;

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::{
    ModelError, Placement,
    kernels::{Linear, with_values},
};
use crate::hooks::HookPoint;

pub use activation::Activation as DictionaryActivation;
use activation::Activation;
pub use files::Layout;
use files::misfit;
use normalisation::{Normalisation, Statistics};

/// A dictionary of the activations at a hook.
pub struct Dictionary {
    /// The name that its own library gives it.
    pub architecture: String,
    pub layout: Layout,
    pub d_in: usize,
    pub d_sae: usize,
    /// The hook that it was trained at, where its config says so.
    pub hook: Option<HookPoint>,
    /// Labels of features.
    pub labels: BTreeMap<u32, String>,
    /// Rows `[d_sae]`; the bias is the activation's where it is gated.
    encoder: Linear,
    /// `[d_sae, d_in]`, row-major.
    decoder: Vec<f32>,
    /// `[d_in]`
    b_dec: Vec<f32>,
    /// Whether `b_dec` is subtracted from what the encoder reads.
    subtracts: bool,
    normalisation: Normalisation,
    activation: Activation,
}

/// The features of some activations.
pub struct Encoded {
    /// By position: the features that are not 0, by number.
    pub features: Vec<Vec<(u32, f32)>>,
    statistics: Vec<Statistics>,
}

impl Dictionary {
    /// A dictionary from a directory in any known layout.
    ///
    /// # Errors
    /// No known layout; a file that is missing or can't be read; a field, an architecture or a shape that is not supported.
    pub fn open(directory: &Path, place: &Placement) -> std::result::Result<Self, ModelError> {
        let place = Placement { dtype: DType::F32, ..place.clone() };
        match Layout::of(directory)? {
            Layout::Sparsify => sparsify::read(directory, &place),
            Layout::SaeLens => sae_lens::read(directory, &place),
            Layout::DictionaryLearning => dictionary_learning::read(directory, &place),
            Layout::Mlsae => mlsae::read(directory, &place),
        }
    }

    /// The demo's own dictionary.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn demo(place: &Placement) -> std::result::Result<Self, ModelError> {
        sparsify::demo(&Placement { dtype: DType::F32, ..place.clone() })
    }

    /// The features of unprocessed activations.
    ///
    /// # Shapes
    /// `x`: `[pos, d_in]`, f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn encode(&self, x: &Tensor) -> Result<Encoded> {
        let (n_pos, d_in) = x.dims2()?;
        let mut rows = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let statistics: Vec<Statistics> = rows
            .par_chunks_mut(d_in)
            .map(|row| {
                let statistics = self.normalisation.apply(row);
                if self.subtracts {
                    row.iter_mut().zip(&self.b_dec).for_each(|(x, b)| *x -= b);
                }
                statistics
            })
            .collect();
        let pre = self.encoder.forward(&Tensor::from_vec(rows, (n_pos, d_in), x.device())?)?;
        let active = |row: &[f32]| self.activation.active(row);
        let features = with_values(&pre, |pre| pre.par_chunks(self.d_sae).map(active).collect())?;
        Ok(Encoded { features, statistics })
    }

    /// The reconstruction from the features: `[pos][d_in]`.
    #[must_use]
    pub fn decode(&self, encoded: &Encoded) -> Vec<Vec<f32>> {
        let row = |(features, statistics): (&Vec<(u32, f32)>, &Statistics)| {
            let mut row = self.b_dec.clone();
            for (feature, value) in features {
                row.iter_mut().zip(self.direction(*feature as usize)).for_each(|(x, d)| *x += value * d);
            }
            statistics.restore(&mut row);
            row
        };
        encoded.features.par_iter().zip(&encoded.statistics).map(row).collect()
    }

    /// A feature's row of the decoder, `[d_in]`.
    #[must_use]
    pub fn direction(&self, feature: usize) -> &[f32] {
        self.decoder.get(feature * self.d_in..(feature + 1) * self.d_in).unwrap_or_default()
    }
}

impl Dictionary {
    /// How much each feature reads from a vector: the product with the encoder's rows.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn read_of(&self, vector: &[f32], device: &Device) -> Result<Vec<f32>> {
        let vector = Tensor::from_vec(vector.to_vec(), (1, vector.len()), device)?;
        self.encoder.without_bias(&vector)?.flatten_all()?.to_vec1()
    }

    /// What a feature reads: its row of the encoder, `[d_in]`.
    ///
    /// # Errors
    /// There is no such feature; tensor errors.
    pub fn read_by(&self, feature: usize) -> Result<Vec<f32>> {
        self.encoder.rows(feature..feature + 1)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
    }

    /// How much each feature writes along a vector: the product with the decoder's rows.
    #[must_use]
    pub fn written_along(&self, vector: &[f32]) -> Vec<f32> {
        let along = |row: &[f32]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
        self.decoder.par_chunks(self.d_in.max(1)).map(along).collect()
    }
}

/// The parts of a dictionary, as read.
struct Parts {
    architecture: String,
    layout: Layout,
    hook: Option<HookPoint>,
    d_in: usize,
    d_sae: usize,
    /// `[d_sae, d_in]`
    encoder: Vec<f32>,
    bias: Option<Vec<f32>>,
    /// `[d_sae, d_in]`
    decoder: Vec<f32>,
    b_dec: Vec<f32>,
    subtracts: bool,
    normalisation: Normalisation,
    activation: Activation,
}

impl Parts {
    fn build(self, path: &Path, place: &Placement) -> std::result::Result<Dictionary, ModelError> {
        if let Activation::TopK(k) = self.activation
            && (k == 0 || k > self.d_sae)
        {
            return Err(misfit(path, &format!("k is {k}; expected 1 to {}, the number of features", self.d_sae)));
        }
        Ok(Dictionary {
            encoder: Linear::new(self.encoder, self.d_in, self.bias, place)?,
            architecture: self.architecture,
            layout: self.layout,
            d_in: self.d_in,
            d_sae: self.d_sae,
            hook: self.hook,
            labels: BTreeMap::new(),
            decoder: self.decoder,
            b_dec: self.b_dec,
            subtracts: self.subtracts,
            normalisation: self.normalisation,
            activation: self.activation,
        })
    }
}
