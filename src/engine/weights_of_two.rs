//! How the weights of two models differ. Their streams have no common basis, but their tokens are the same.

use candle_core::{DType, Device, Tensor};

use super::{Circuit, Compare, Direction, Engine, Promoted};
use crate::{
    analysis::{Matrix64, Singular, norm_between, svd_between},
    hooks::RunError,
    model::HeadMatrix,
};

/// Singular values below this share of the norm of the larger circuit are rounding.
const LEAST: f64 = 1e-7;

/// The difference of a head's circuit in two models.
#[derive(Clone, Debug, PartialEq)]
pub struct Differing {
    /// The strongest singular directions of this circuit minus that one, each side a vector of length 1 over the tokens.
    pub directions: Vec<Direction>,
    /// `‖this − that‖ / ‖that‖` (Frobenius).
    pub relative: f64,
}

impl Engine {
    /// The difference of a head's circuit in this model and in another of the same sizes. Both are taken from token to token, through
    /// each model's own embedding and unembedding: `W_E W_V W_O W_U`, and `W_E W_Q R W_Kᵀ W_Eᵀ`.
    ///
    /// # Errors
    /// There is no such head, the distance is beyond the context; tensor errors.
    pub fn differing_directions(
        &self,
        that: &Self,
        head: (usize, usize),
        circuit: Circuit,
        directions: usize,
        count: usize,
    ) -> Result<Differing, RunError> {
        let ([left, right], [other_left, other_right]) =
            (self.between_tokens(head, circuit)?, that.between_tokens(head, circuit)?);
        let d_head = left.dim(0)?;
        // this - that = [left other_left] [right; -other_right]
        let left = Tensor::cat(&[left, other_left], 0)?;
        let right = Tensor::cat(&[right, other_right.neg()?], 0)?;
        let (gram_left, gram_right) = (gram(&left)?, gram(&right)?);
        let Singular { values: strengths, left: of_left, right: of_right } = svd_between(&gram_left, &gram_right);
        let norm = |from: usize| {
            norm_between(&part(&gram_left, from, d_head), &Matrix64::identity(d_head), &part(&gram_right, from, d_head))
        };
        let (this_norm, that_norm) = (norm(0), norm(d_head));
        let is_seen = |value: &&f64| **value > LEAST * this_norm.max(that_norm);
        let seen = strengths.iter().filter(is_seen).count();
        let relative = strengths[..seen].iter().map(|value| value * value).sum::<f64>().sqrt() / that_norm;
        let n = seen.min(directions);
        if n == 0 {
            return Ok(Differing { directions: vec![], relative });
        }
        let over_tokens = |weights: &[Vec<f64>], of: &Tensor| -> Result<Vec<Vec<f32>>, RunError> {
            let weights = Tensor::from_vec(weights.concat(), (weights.len(), 2 * d_head), &Device::Cpu)?;
            Ok(weights.matmul(of)?.to_dtype(DType::F32)?.to_vec2()?)
        };
        let sides = over_tokens(&of_left[..n], &left)?.into_iter().zip(over_tokens(&of_right[..n], &right)?);
        let named = |(value, (read, written))| Direction::new(value, read, written, count);
        Ok(Differing { directions: strengths.into_iter().zip(sides).map(named).collect(), relative })
    }

    /// Both factors of a head's circuit from token to token, each `[d_head, vocab]` in f64.
    fn between_tokens(&self, (block, head): (usize, usize), circuit: Circuit) -> Result<[Tensor; 2], RunError> {
        let model = &self.loaded.model;
        let matrix = |which| -> Result<Tensor, RunError> { Ok(model.head_matrices(block, which)?.get(head)?) };
        let read =
            |weight: Tensor| -> Result<Tensor, RunError> { Ok(model.embedded_along(&weight.t()?.contiguous()?)?) };
        let [left, right] = match circuit {
            Circuit::Ov => [read(matrix(HeadMatrix::V)?)?, model.promoted(&matrix(HeadMatrix::O)?)?],
            Circuit::Qk { distance } => {
                let turned = model.turned_queries(block, head, distance)?.narrow(0, 0, self.schema.dims.d_model)?;
                [read(turned)?, read(matrix(HeadMatrix::K)?)?]
            }
        };
        let exact = |side: &Tensor| side.to_device(&Device::Cpu)?.to_dtype(DType::F64);
        Ok([exact(&left)?, exact(&right)?])
    }

    /// The tokens to whose logits a neuron adds most, and least, in this model compared with another.
    ///
    /// # Errors
    /// There is no such neuron; tensor errors.
    pub fn differing_neuron_tokens(
        &self,
        that: &Self,
        (block, neuron): (usize, usize),
        count: usize,
    ) -> Result<Promoted, RunError> {
        let (this, that) = (self.neuron_logits(block, neuron)?, that.neuron_logits(block, neuron)?);
        let less: Vec<f32> = this.iter().zip(&that).map(|(this, that)| Compare::Difference.of(*this, *that)).collect();
        Ok(Promoted::new(&less, count))
    }
}

/// `rows rowsᵀ`.
fn gram(rows: &Tensor) -> Result<Matrix64, RunError> {
    let n = rows.dim(0)?;
    let data = rows.matmul(&rows.t()?)?.flatten_all()?.to_vec1()?;
    Ok(Matrix64 { rows: n, columns: n, data })
}

/// `n` rows and columns of a square matrix, from one on.
fn part(square: &Matrix64, from: usize, n: usize) -> Matrix64 {
    let data = (from..from + n).flat_map(|i| square.row(i)[from..from + n].to_vec()).collect();
    Matrix64 { rows: n, columns: n, data }
}
