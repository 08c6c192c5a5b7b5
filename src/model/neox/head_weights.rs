//! Weights of single heads and neurons, as TransformerLens shapes them, in f32 and as the run uses them: processed or not.

use candle_core::{DType, Result, Tensor};

use super::{Model, block::Block};

/// One of a head's four matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadMatrix {
    Q,
    K,
    V,
    O,
}

impl Model {
    fn of_block(&self, number: usize) -> Result<&Block> {
        let missing = || candle_core::Error::Msg(format!("there is no block {number}"));
        self.blocks.get(number).ok_or_else(missing)
    }

    /// A matrix of every head of a block.
    ///
    /// # Shapes
    /// `W_Q`, `W_K` and `W_V`: `[head, d_model, d_head]`; `W_O`: `[head, d_head, d_model]`.
    ///
    /// # Errors
    /// There is no such block; tensor errors.
    pub fn head_matrices(&self, block: usize, which: HeadMatrix) -> Result<Tensor> {
        let attn = &self.of_block(block)?.attn;
        let linear = match which {
            HeadMatrix::Q => &attn.qkv[0],
            HeadMatrix::K => &attn.qkv[1],
            HeadMatrix::V => &attn.qkv[2],
            HeadMatrix::O => &attn.out,
        };
        let weight = linear.weight()?.to_dtype(DType::F32)?;
        let by_head = match which {
            HeadMatrix::Q | HeadMatrix::K | HeadMatrix::V => weight,
            HeadMatrix::O => weight.t()?.contiguous()?,
        };
        let by_head = by_head.reshape((attn.n_heads, attn.d_head, ()))?;
        match which {
            HeadMatrix::Q | HeadMatrix::K | HeadMatrix::V => by_head.transpose(1, 2)?.contiguous(),
            HeadMatrix::O => Ok(by_head),
        }
    }

    /// A head's `W_Q` with `b_Q` as its last row, turned as a query is that lies this many positions after its key.
    ///
    /// # Shapes
    /// Returns `[d_model + 1, d_head]`.
    ///
    /// # Errors
    /// There is no such block or head, the distance is longer than the context; tensor errors.
    pub fn turned_queries(&self, block: usize, head: usize, distance: usize) -> Result<Tensor> {
        let attn = &self.of_block(block)?.attn;
        let rows = self.with_bias(block, head, HeadMatrix::Q)?;
        let n = rows.dim(0)?;
        attn.rotary.apply_in_f32(&rows.reshape((n, 1, 1, attn.d_head))?, distance)?.reshape((n, attn.d_head))
    }

    /// A head's `W_Q` or `W_K` with its bias as the last row: `[d_model + 1, d_head]`.
    ///
    /// # Errors
    /// There is no such block or head; tensor errors.
    pub fn with_bias(&self, block: usize, head: usize, which: HeadMatrix) -> Result<Tensor> {
        let weight = self.head_matrices(block, which)?.get(head)?;
        let attn = &self.of_block(block)?.attn;
        let bias = match which {
            HeadMatrix::Q => &attn.qkv[0].bias,
            HeadMatrix::K => &attn.qkv[1].bias,
            HeadMatrix::V => &attn.qkv[2].bias,
            HeadMatrix::O => &None,
        };
        let bias = match bias {
            Some(bias) => bias.narrow(0, head * attn.d_head, attn.d_head)?.to_dtype(DType::F32)?.unsqueeze(0)?,
            None => weight.narrow(0, 0, 1)?.zeros_like()?,
        };
        Tensor::cat(&[&weight, &bias], 0)
    }

    /// What a neuron writes to the stream: its row of `W_out`, `[d_model]`.
    ///
    /// # Errors
    /// There is no such block or neuron; tensor errors.
    pub fn neuron_writes(&self, block: usize, neuron: usize) -> Result<Tensor> {
        let weight = self.of_block(block)?.mlp.w_out.weight()?.to_dtype(DType::F32)?;
        weight.t()?.get(neuron)?.contiguous()
    }

    /// What directions of the stream add to each token's logit, past the final LayerNorm's division: `x W_U`.
    ///
    /// # Shapes
    /// `[n, d_model]`, f32, to `[n, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn promoted(&self, directions: &Tensor) -> Result<Tensor> {
        self.unembed.without_bias(&directions.to_dtype(self.dtype)?)?.to_dtype(DType::F32)
    }

    /// How far each token's embedding lies along directions of the stream: `W_E x`.
    ///
    /// # Shapes
    /// `[n, d_model]`, f32, to `[n, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn embedded_along(&self, directions: &Tensor) -> Result<Tensor> {
        directions.matmul(&self.embedding().to_dtype(DType::F32)?.t()?)
    }
}
