//! From a checkpoint's tensors to the weights that the forward pass uses, processed as TransformerLens does.

use std::{fmt, str::FromStr};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Config,
    removed::{Affine, Removed, RemovedOfBlock, Written, wide},
    structure::parameters,
};
use crate::{
    model::{
        ModelError, Placement,
        checkpoint::{Checkpoint, is_buffer},
        kernels::Linear,
    },
    suggest,
};

/// How weights are changed on loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processing {
    /// As `HookedTransformer.from_pretrained`: fold LayerNorm into its readers, centre the weights that write to the
    /// residual stream, centre the unembedding, fold the value biases into `b_O`. The log-probabilities do not change.
    Folded,
    /// As `HookedTransformer.from_pretrained_no_processing`: the checkpoint as it is.
    None,
}

impl Processing {
    #[must_use]
    pub fn is_folded(self) -> bool {
        self == Self::Folded
    }

    /// Its name in headers and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Folded => "processed",
            Self::None => "unprocessed",
        }
    }
}

impl fmt::Display for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Processing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("processing", name, &[Self::Folded, Self::None], Self::name)
    }
}

pub(super) struct BlockWeights {
    pub ln1: Option<Affine>,
    /// The projections to queries, keys and values; rows `(head, d_head)`.
    pub qkv: [Linear; 3],
    pub attn_out: Linear,
    pub ln2: Option<Affine>,
    pub mlp_in: Linear,
    pub mlp_out: Linear,
    /// None without processing.
    pub removed: Option<RemovedOfBlock>,
}

pub(super) struct Weights {
    /// `[vocab, d_model]`
    pub embed: Tensor,
    pub blocks: Vec<BlockWeights>,
    pub ln_final: Option<Affine>,
    /// `[vocab, d_model]`
    pub unembed: Linear,
    /// None without processing.
    pub removed: Option<Removed>,
}

impl Weights {
    /// From a checkpoint that passed [`check`].
    ///
    /// # Errors
    /// A tensor that can't be read, and tensor errors.
    pub(super) fn load(
        checkpoint: &Checkpoint<'_>,
        config: &Config,
        processing: Processing,
        place: &Placement,
    ) -> Result<Self, ModelError> {
        let reader = Reader { checkpoint, folded: processing.is_folded(), place };
        let (vocab, d_model) = (config.d_vocab, config.d_model);

        // the largest first, so that the memory for converting it is free again before the rest is read
        let unembed_name = if config.tied { "gpt_neox.embed_in.weight" } else { "embed_out.weight" };
        let mut unembed = reader.matrix(unembed_name, vocab, d_model)?;
        let mut bias = vec![0.0; if reader.folded { vocab } else { 0 }];
        let ln_final = reader.norm_into("gpt_neox.final_layer_norm", &mut unembed, &mut bias)?;
        let mut removed = None;
        if let Norm::Folded(ln_final) = &ln_final {
            let unembed = Written::new(unembed.centre_columns(), centre(&mut bias), place)?;
            removed = Some((ln_final.clone(), unembed));
        }
        let unembed = linear(unembed, Some(bias).filter(|_| reader.folded), place)?;
        let mut embed = reader.matrix("gpt_neox.embed_in.weight", vocab, d_model)?;
        let removed = match removed {
            Some((ln_final, unembed)) => {
                let embed = wide(embed.centre_rows(), place)?;
                Some(Removed { embed, ln_final, unembed })
            }
            None => None,
        };
        let embed = embed.tensor(place)?;
        let blocks = (0..config.n_layers).map(|i| reader.block(config, i)).collect::<Result<_, _>>()?;
        Ok(Self { embed, blocks, ln_final: ln_final.kept(), unembed, removed })
    }
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint<'a>,
    folded: bool,
    place: &'a Placement,
}

impl Reader<'_> {
    fn vector(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.checkpoint.read(name)
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        Ok(Matrix { rows, columns, data: self.checkpoint.read(name)? })
    }

    fn norm(&self, name: &str) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        Ok((self.vector(&format!("{name}.weight"))?, self.vector(&format!("{name}.bias"))?))
    }

    fn affine(&self, name: &str) -> Result<Affine, ModelError> {
        let (weight, bias) = self.norm(name)?;
        Ok(Affine { weight: self.place.vector(weight)?, bias: self.place.vector(bias)? })
    }

    fn block(&self, config: &Config, number: usize) -> Result<BlockWeights, ModelError> {
        let name = |part: &str| format!("gpt_neox.layers.{number}.{part}");
        let (d_model, d_mlp) = (config.d_model, config.d_mlp);
        let read = |part: &str, rows, columns| -> Result<(Matrix, Vec<f32>), ModelError> {
            Ok((
                self.matrix(&name(&format!("{part}.weight")), rows, columns)?,
                self.vector(&name(&format!("{part}.bias")))?,
            ))
        };
        // one weight after the other, so that only one takes extra memory
        let (fused, fused_bias) = read("attention.query_key_value", 3 * d_model, d_model)?;
        let (mut qkv, mut qkv_bias) = (fused.unfuse(config), unfuse(&fused_bias, config, 1));
        let mut value_bias = vec![];
        let ln1 = self.norm_into(&name("input_layernorm"), &mut qkv, &mut qkv_bias)?;
        if self.folded {
            // Patterns sum to 1, so a head's value bias adds the same to every position: it moves into b_O.
            value_bias = qkv_bias[2 * d_model..].to_vec();
            qkv_bias[2 * d_model..].fill(0.0);
        }
        let size = d_model * d_model;
        let part = |at: usize| {
            let (weight, bias) = (&qkv.data[at * size..][..size], &qkv_bias[at * d_model..][..d_model]);
            Linear::new(weight.to_vec(), d_model, Some(bias.to_vec()), self.place)
        };
        let qkv = [part(0)?, part(1)?, part(2)?];
        // the weights that write to the residual stream, and the means of their outputs that centring removed
        let write = |part: &str, columns: usize, value_bias: &[f32]| -> Result<(Linear, Option<Written>), ModelError> {
            let (mut weight, mut bias) = read(part, d_model, columns)?;
            let mut removed = None;
            if self.folded {
                removed = Some(Written::new(weight.centre_columns(), centre(&mut bias), self.place)?);
            }
            if !value_bias.is_empty() {
                weight.add_product(value_bias, &mut bias);
            }
            Ok((linear(weight, Some(bias), self.place)?, removed))
        };
        let (attn_out, attn_removed) = write("attention.dense", d_model, &value_bias)?;
        let (mut mlp_in, mut mlp_in_bias) = read("mlp.dense_h_to_4h", d_mlp, d_model)?;
        let ln2 = self.norm_into(&name("post_attention_layernorm"), &mut mlp_in, &mut mlp_in_bias)?;
        let mlp_in = linear(mlp_in, Some(mlp_in_bias), self.place)?;
        let (mlp_out, mlp_removed) = write("mlp.dense_4h_to_h", d_mlp, &[])?;
        let removed = match (&ln1, &ln2, attn_removed, mlp_removed) {
            (Norm::Folded(ln1), Norm::Folded(ln2), Some(attn), Some(mlp)) => {
                let values = wide(value_bias, self.place)?;
                Some(RemovedOfBlock { ln1: ln1.clone(), ln2: ln2.clone(), values, attn, mlp })
            }
            _ => None,
        };
        Ok(BlockWeights { ln1: ln1.kept(), qkv, attn_out, ln2: ln2.kept(), mlp_in, mlp_out, removed })
    }

    /// Fold a LayerNorm into the weight and bias that read it; without processing, leave it unchanged.
    fn norm_into(&self, name: &str, weight: &mut Matrix, bias: &mut [f32]) -> Result<Norm, ModelError> {
        if !self.folded {
            return self.affine(name).map(Norm::Kept);
        }
        let (w, b) = self.norm(name)?;
        weight.fold_norm(bias, &w, &b);
        Ok(Norm::Folded(Affine { weight: wide(w, self.place)?, bias: wide(b, self.place)? }))
    }
}

/// A LayerNorm's weight and bias: as they are, or, in f32, as they were before they were folded.
enum Norm {
    Kept(Affine),
    Folded(Affine),
}

impl Norm {
    fn kept(self) -> Option<Affine> {
        match self {
            Self::Kept(affine) => Some(affine),
            Self::Folded(_) => None,
        }
    }
}

fn linear(weight: Matrix, bias: Option<Vec<f32>>, place: &Placement) -> Result<Linear, ModelError> {
    Ok(Linear::new(weight.data, weight.columns, bias, place)?)
}

/// Rows of a fused `query_key_value` tensor from the checkpoint's order `(head, q|k|v, d_head)` to
/// `(q|k|v, head, d_head)`.
fn unfuse(fused: &[f32], config: &Config, columns: usize) -> Vec<f32> {
    let rows_of_head = config.d_head * columns;
    let mut out = Vec::with_capacity(fused.len());
    for which in 0..3 {
        for head in 0..config.n_heads {
            let at = (head * 3 + which) * rows_of_head;
            out.extend_from_slice(&fused[at..at + rows_of_head]);
        }
    }
    out
}

/// Subtract the mean, and return it.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sums are kept in f64, results in f32")]
fn centre(values: &mut [f32]) -> f32 {
    let mean = (values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64) as f32;
    for x in values {
        *x -= mean;
    }
    mean
}

/// A weight `[out, in]` while it is processed; sums are kept in f64.
struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Matrix {
    fn tensor(self, place: &Placement) -> Result<Tensor, ModelError> {
        Ok(place.vector(self.data)?.reshape((self.rows, self.columns))?)
    }

    fn unfuse(self, config: &Config) -> Self {
        Self { data: unfuse(&self.data, config, self.columns), ..self }
    }

    /// Make this weight read a LayerNorm without weight `w` and bias `b`, by moving them into it and into its `bias`.
    /// Its input has mean 0, so each row's mean has no effect and is removed.
    #[allow(clippy::cast_possible_truncation, reason = "results are f32")]
    fn fold_norm(&mut self, bias: &mut [f32], w: &[f32], b: &[f32]) {
        self.data.par_chunks_mut(self.columns).zip(bias.par_iter_mut()).for_each(|(row, bias)| {
            let shift: f64 = row.iter().zip(b).map(|(x, b)| f64::from(*x) * f64::from(*b)).sum();
            *bias = (f64::from(*bias) + shift) as f32;
            row.iter_mut().zip(w).for_each(|(x, w)| *x *= w);
            centre(row);
        });
    }

    /// Subtract each row's mean, and return the means.
    fn centre_rows(&mut self) -> Vec<f32> {
        self.data.par_chunks_mut(self.columns).map(centre).collect()
    }

    /// Subtract each column's mean, and return the means.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sums are kept in f64, results in f32"
    )]
    fn centre_columns(&mut self) -> Vec<f32> {
        let zeros = || vec![0.0f64; self.columns];
        let add = |mut sums: Vec<f64>, row: &[f32]| {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            sums
        };
        let merge = |mut a: Vec<f64>, b: Vec<f64>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        let sums = self.data.par_chunks(self.columns).fold(zeros, add).reduce(zeros, merge);
        let means: Vec<f32> = sums.iter().map(|sum| (sum / self.rows as f64) as f32).collect();
        self.data
            .par_chunks_mut(self.columns)
            .for_each(|row| row.iter_mut().zip(&means).for_each(|(x, mean)| *x -= mean));
        means
    }

    /// `out += self · x`
    #[allow(clippy::cast_possible_truncation, reason = "results are f32")]
    fn add_product(&self, x: &[f32], out: &mut [f32]) {
        self.data.par_chunks(self.columns).zip(out.par_iter_mut()).for_each(|(row, out)| {
            let product: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            *out = (f64::from(*out) + product) as f32;
        });
    }
}

/// Check that a checkpoint has every parameter that `config` implies. Returns a sentence about what else it contains,
/// if anything.
///
/// # Errors
/// Every tensor that is missing or has the wrong shape, by name; a tensor that can't be read.
pub(super) fn check(checkpoint: &Checkpoint<'_>, config: &Config) -> Result<Vec<String>, ModelError> {
    const SHOWN: usize = 12;
    let tensors = checkpoint.names().count();
    if config.n_layers > tensors {
        let message = format!("  config.json has {} layers; {tensors} tensors can't hold them", config.n_layers);
        return Err(ModelError::Tensors(vec![message]));
    }
    let expected = parameters(config);
    let mut wrong: Vec<String> = Vec::new();
    for (name, shape) in &expected {
        match checkpoint.shape(name)? {
            None => wrong.push(format!("  missing {name}: expected shape {shape:?}")),
            Some(found) if found != shape => wrong.push(format!("  {name}: expected shape {shape:?}, found {found:?}")),
            Some(_) => {}
        }
    }
    let tied_copy = |name: &str| config.tied && name == "embed_out.weight";
    let known: std::collections::HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let unknown = checkpoint.names().filter(|name| !known.contains(name) && !is_buffer(name) && !tied_copy(name));
    let unknown: Vec<&str> = unknown.collect();
    if wrong.is_empty() {
        return Ok(unused(&unknown).into_iter().collect());
    }
    // an unknown name may be a misspelt missing one
    wrong.extend(unknown.iter().map(|name| format!("  unknown {name}")));
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("  and {more} more"));
    }
    Err(ModelError::Tensors(wrong))
}

/// `the checkpoint has 2 tensors that this model does not use: lora.a, lora.b`
fn unused(names: &[&str]) -> Option<String> {
    const SHOWN: usize = 3;
    let shown = names.get(..SHOWN).unwrap_or(names).join(", ");
    match names.len() {
        0 => None,
        1 => Some(format!("the checkpoint has a tensor that this model does not use: {shown}")),
        n if n <= SHOWN => Some(format!("the checkpoint has {n} tensors that this model does not use: {shown}")),
        n => {
            Some(format!("the checkpoint has {n} tensors that this model does not use: {shown} and {} more", n - SHOWN))
        }
    }
}
