//! Analyses of the weights alone: tokens that directions promote, circuits of heads, and composition of heads.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{Engine, host::values};
use crate::{
    analysis::{Matrix64, Singular, factored_svd, norm_between},
    hooks::RunError,
    model::HeadMatrix,
};

/// The tokens whose logits a direction raises and lowers most, with the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Promoted {
    pub promoted: Vec<(u32, f32)>,
    pub suppressed: Vec<(u32, f32)>,
}

/// A circuit of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// `W_V W_O`: from what the head reads to what it writes.
    Ov,
    /// `W_Q W_Kᵀ`: the score before the division by `√d_head`, with the rotation of a query `distance` positions after its key.
    Qk { distance: usize },
}

/// A singular direction of a head's circuit: of OV what is read and, written through the unembedding, what is promoted; of QK the
/// query's side and the key's, both through the embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    pub value: f64,
    pub left: Promoted,
    pub right: Promoted,
}

/// A head's QK circuit at one distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtDistance {
    pub distance: usize,
    /// The Frobenius norm of `W_Q R W_Kᵀ / √d_head`.
    pub norm: f64,
    /// The score of the biases alone, which does not depend on the tokens.
    pub bias: f64,
}

/// The input of the later head that the earlier head composes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Composition {
    Q,
    K,
    V,
}

impl Promoted {
    /// Of a number for each token of the vocabulary; `count` of either kind.
    #[must_use]
    pub fn new(numbers: &[f32], count: usize) -> Self {
        let mut order: Vec<usize> = (0..numbers.len()).filter(|at| !numbers[*at].is_nan()).collect();
        order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b)));
        let named = |at: &usize| (u32::try_from(*at).unwrap_or(u32::MAX), numbers[*at]);
        Self {
            promoted: order.iter().take(count).map(named).collect(),
            suppressed: order.iter().rev().take(count).map(named).collect(),
        }
    }
}

impl Direction {
    /// Of a number for each token on both sides; `count` tokens of either kind.
    pub(super) fn new(value: f64, mut read: Vec<f32>, mut written: Vec<f32>, count: usize) -> Self {
        let extreme = written.iter().copied().fold(0.0f32, |m, x| if x.abs() > m.abs() { x } else { m });
        if extreme < 0.0 {
            read.iter_mut().chain(&mut written).for_each(|x| *x = -*x);
        }
        Self { value, left: Promoted::new(&read, count), right: Promoted::new(&written, count) }
    }
}

impl Engine {
    /// The tokens whose logits a neuron raises and lowers most: `W_out W_U`.
    ///
    /// # Errors
    /// There is no such neuron; tensor errors.
    pub fn neuron_tokens(&self, block: usize, neuron: usize, count: usize) -> Result<Promoted, RunError> {
        Ok(Promoted::new(&self.neuron_logits(block, neuron)?, count))
    }

    /// What a neuron adds to the logit of each token: `W_out W_U`.
    pub(super) fn neuron_logits(&self, block: usize, neuron: usize) -> Result<Vec<f32>, RunError> {
        let model = &self.loaded.model;
        let direction = model.neuron_writes(block, neuron)?.unsqueeze(0)?;
        values(&model.promoted(&direction)?)
    }

    /// The strongest singular directions of a head's circuit, with the tokens they are about. The sign of a direction is that in
    /// which the token that it moves most is promoted.
    ///
    /// # Errors
    /// There is no such head, the distance is beyond the context; tensor errors.
    pub fn singular_directions(
        &self,
        (block, head): (usize, usize),
        circuit: Circuit,
        directions: usize,
        count: usize,
    ) -> Result<Vec<Direction>, RunError> {
        let (model, d_model) = (&self.loaded.model, self.schema.dims.d_model);
        let matrix = |which| -> Result<Matrix64, RunError> {
            let found = model.head_matrices(block, which)?.get(head)?;
            Ok(Matrix64::new(found.dim(0)?, &values(&found)?))
        };
        let Singular { values: strengths, left, right } = match circuit {
            Circuit::Ov => factored_svd(&matrix(HeadMatrix::V)?, &matrix(HeadMatrix::O)?),
            Circuit::Qk { distance } => {
                let turned = model.turned_queries(block, head, distance)?.narrow(0, 0, d_model)?.contiguous()?;
                factored_svd(&Matrix64::new(d_model, &values(&turned)?), &matrix(HeadMatrix::K)?.transposed())
            }
        };
        let n = directions.min(strengths.len());
        let (left, right) = (narrow(&left[..n], &model.device)?, narrow(&right[..n], &model.device)?);
        if n == 0 {
            return Ok(vec![]);
        }
        let read = model.embedded_along(&left)?.to_vec2::<f32>()?;
        let written = match circuit {
            Circuit::Ov => model.promoted(&right)?,
            Circuit::Qk { .. } => model.embedded_along(&right)?,
        };
        let named = |((value, read), written)| Direction::new(value, read, written, count);
        Ok(strengths.into_iter().zip(read).zip(written.to_vec2::<f32>()?).map(named).collect())
    }

    /// The norm of a head's QK circuit at each distance, and the score of the biases alone.
    ///
    /// # Errors
    /// There is no such head, a distance is beyond the context; tensor errors.
    pub fn by_distance(&self, (block, head): (usize, usize), distances: usize) -> Result<Vec<AtDistance>, RunError> {
        let (model, dims) = (&self.loaded.model, self.schema.dims);
        #[allow(clippy::cast_precision_loss, reason = "d_head is small")]
        let root = (dims.d_head as f64).sqrt();
        let split = |rows: &Tensor| -> Result<(Matrix64, Vec<f64>), RunError> {
            let all = Matrix64::new(dims.d_model + 1, &values(rows)?);
            let bias = all.row(dims.d_model).to_vec();
            Ok((Matrix64 { rows: dims.d_model, data: all.data[..dims.d_model * dims.d_head].to_vec(), ..all }, bias))
        };
        let (keys, key_bias) = split(&model.with_bias(block, head, HeadMatrix::K)?)?;
        let keys = keys.gram();
        let identity = Matrix64::identity(dims.d_head);
        let at = |distance: usize| -> Result<AtDistance, RunError> {
            let (queries, query_bias) = split(&model.turned_queries(block, head, distance)?)?;
            let bias = query_bias.iter().zip(&key_bias).map(|(q, k)| q * k).sum::<f64>() / root;
            Ok(AtDistance { distance, norm: norm_between(&queries.gram(), &identity, &keys) / root, bias })
        };
        (0..distances).map(at).collect()
    }

    /// Composition scores between all heads, `[layer][head][later layer][head]`, 0 where the second is not in a later layer: the
    /// norm of the product of both circuits over the product of their norms (Elhage et al., 2021), as TransformerLens's
    /// `all_composition_scores`. Rotation is left out there, and here.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn composition_scores(&self, kind: Composition) -> Result<Vec<Vec<Vec<Vec<f64>>>>, RunError> {
        let (model, dims) = (&self.loaded.model, self.schema.dims);
        let (n_layers, heads, d_head) = (dims.n_layers, dims.n_heads, dims.d_head);
        // right = into · onᵀ
        let (into, on) = match kind {
            Composition::Q => (HeadMatrix::Q, HeadMatrix::K),
            Composition::K => (HeadMatrix::K, HeadMatrix::Q),
            Composition::V => (HeadMatrix::V, HeadMatrix::O),
        };
        let host = |layer: usize, which: HeadMatrix| -> Result<Vec<Matrix64>, RunError> {
            let all = model.head_matrices(layer, which)?;
            let one = |head: usize| -> Result<Matrix64, RunError> {
                let found = all.get(head)?;
                let found = Matrix64::new(found.dim(0)?, &values(&found)?);
                Ok(if which == HeadMatrix::O { found.transposed() } else { found })
            };
            (0..heads).map(one).collect()
        };
        let grams = |which| -> Result<Vec<Vec<Matrix64>>, RunError> {
            (0..n_layers).map(|layer| Ok(host(layer, which)?.iter().map(Matrix64::gram).collect())).collect()
        };
        let (values_of, outputs, into_of, on_of) =
            (grams(HeadMatrix::V)?, grams(HeadMatrix::O)?, grams(into)?, grams(on)?);
        let eye = Matrix64::identity(d_head);
        let flat = |layer, which| -> Result<Tensor, RunError> {
            let all = model.head_matrices(layer, which)?;
            Ok(match which {
                HeadMatrix::O => all.reshape((heads * d_head, ()))?,
                HeadMatrix::Q | HeadMatrix::K | HeadMatrix::V => {
                    all.transpose(1, 2)?.contiguous()?.reshape((heads * d_head, ()))?
                }
            })
        };
        let mut scores = vec![vec![vec![vec![0.0; heads]; n_layers]; heads]; n_layers];
        for first in 0..n_layers {
            let written = flat(first, HeadMatrix::O)?;
            for second in first + 1..n_layers {
                let product = written.matmul(&flat(second, into)?.t()?)?.to_device(&Device::Cpu)?;
                let product: Vec<Vec<f32>> = product.to_dtype(DType::F32)?.to_vec2()?;
                let score = |pair: usize| {
                    let (h, g) = (pair / heads, pair % heads);
                    let rows = product[h * d_head..][..d_head].iter();
                    let middle: Vec<f32> = rows.flat_map(|row| &row[g * d_head..][..d_head]).copied().collect();
                    let middle = Matrix64::new(d_head, &middle);
                    let left = norm_between(&values_of[first][h], &eye, &outputs[first][h]);
                    let right = norm_between(&into_of[second][g], &eye, &on_of[second][g]);
                    norm_between(&values_of[first][h], &middle, &on_of[second][g]) / right / left
                };
                let found: Vec<f64> = (0..heads * heads).into_par_iter().map(score).collect();
                for (pair, score) in found.into_iter().enumerate() {
                    scores[first][pair / heads][second][pair % heads] = score;
                }
            }
        }
        Ok(scores)
    }
}

/// Vectors as rows of a tensor in f32.
fn narrow(rows: &[Vec<f64>], device: &Device) -> Result<Tensor, RunError> {
    #[allow(clippy::cast_possible_truncation, reason = "directions of f32 weights")]
    let flat: Vec<f32> = rows.iter().flatten().map(|x| *x as f32).collect();
    Ok(Tensor::from_vec(flat, (rows.len(), rows.first().map_or(0, Vec::len)), device)?)
}
