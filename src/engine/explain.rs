//! Explanations of a number: an attention score by upstream components on the query's and on the key's side, or a logit
//! by component and source position.

use candle_core::{DType, Tensor};

use super::{Engine, Run, host::values};
use crate::hooks::{BlockHook, HookPoint, RunError};

/// A number split into parts that sum to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The number, as the run computed it.
    pub score: f64,
    /// The names of the rows and of the columns: components, or source positions.
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    pub matrix: Vec<Vec<f64>>,
    /// The sum of the whole matrix: the score, except for rounding and for what edits add outside the parts.
    pub sum: f64,
}

/// Why a number can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("key {key} comes after query {query}: its score is masked to -inf, which no components sum to")]
    Masked { query: usize, key: usize },
    #[error("the explanation needs {0}, which the run did not keep")]
    NotKept(HookPoint),
    #[error(
        "with hook_attn_in, hook_q_input, hook_k_input or hook_v_input on, heads read separate streams, which no components \
         sum to: leave out --enable"
    )]
    OwnStreams,
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ExplainError {
    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Masked { .. } | Self::OwnStreams => true,
            Self::NotKept(_) => false,
            Self::Run(reason) => reason.is_usage(),
        }
    }
}

impl From<candle_core::Error> for ExplainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Run(error.into())
    }
}

/// A cell of a head's scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreCell {
    pub block: usize,
    pub head: usize,
    pub query: usize,
    pub key: usize,
}

impl Engine {
    /// An attention score, split by upstream component on the query's side (rows) and on the key's (columns): through
    /// LayerNorm with its scale held fixed, the projection and the rotation. `bias` is the sum of the earlier `b_O`,
    /// LayerNorm's bias, and `b_Q` or `b_K`.
    ///
    /// # Errors
    /// A masked cell, a run that kept too little, tensor errors.
    pub fn explain_score(&self, run: &Run, cell: ScoreCell) -> Result<Explained, ExplainError> {
        let ScoreCell { block, head, query, key } = cell;
        if key > query {
            return Err(ExplainError::Masked { query, key });
        }
        if self.schema.ln1_per_head(block) {
            return Err(ExplainError::OwnStreams);
        }
        let names = self.part_names(block);
        let side = |which: usize, pos: usize| -> Result<Vec<Vec<f64>>, ExplainError> {
            let parts = self.parts_before(run, block, pos)?;
            let scale = self.kept(run, HookPoint::Block(block, BlockHook::Ln1Scale))?;
            let scale = f64::from(values(&scale.get(0)?.get(pos)?)?[0]);
            let read = self.loaded.model.head_reads(block, which, head, pos, scale, &parts)?;
            let wide = |row: Vec<f32>| row.into_iter().map(f64::from).collect();
            let mut read: Vec<Vec<f64>> = read.to_vec2::<f32>()?.into_iter().map(wide).collect();
            // what does not depend on the input goes to the biases
            if let (Some(constant), Some(bias)) = (read.pop(), read.last_mut()) {
                bias.iter_mut().zip(constant).for_each(|(x, more)| *x += more);
            }
            Ok(read)
        };
        let (queries, keys) = (side(0, query)?, side(1, key)?);
        #[allow(clippy::cast_precision_loss, reason = "d_head is small")]
        let root = (self.schema.dims.d_head as f64).sqrt();
        let product = |q: &Vec<f64>, k: &Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / root;
        let matrix: Vec<Vec<f64>> = queries.iter().map(|q| keys.iter().map(|k| product(q, k)).collect()).collect();
        let scores = self.attention(run, block, BlockHook::AttnScores, Some((head, query..query + 1)))?;
        let scores = scores.ok_or(ExplainError::NotKept(HookPoint::Block(block, BlockHook::AttnScores)))?;
        let score = values(&scores)?.get(key).map_or(f64::NAN, |x| f64::from(*x));
        let sum = matrix.iter().flatten().sum();
        Ok(Explained { score, rows: names.clone(), columns: names, matrix, sum })
    }

    /// A token's logit at a position, split by component (rows) and by source position (columns): a head's part goes
    /// through its pattern, everything else is at the position itself. Through the final LayerNorm with its scale held
    /// fixed; `bias` is the sum of every `b_O`, the final LayerNorm's bias and the unembedding's.
    ///
    /// # Errors
    /// A run that kept too little; tensor errors, including a token outside the vocabulary.
    pub fn explain_logit(&self, run: &Run, pos: usize, token: u32) -> Result<Explained, ExplainError> {
        let model = &self.loaded.model;
        let (n_layers, heads, d_head) = (self.schema.dims.n_layers, self.schema.dims.n_heads, self.schema.dims.d_head);
        let (direction, constant) = model.logit_direction(token)?;
        let direction = direction.broadcast_sub(&direction.mean_keepdim(0)?)?;
        let scale = f64::from(values(&self.kept(run, HookPoint::LnFinalScale)?.get(0)?.get(pos)?)?[0]);
        let host = values(&direction)?;
        let along = |x: &[f32]| x.iter().zip(&host).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum::<f64>() / scale;
        let at_pos =
            |point| -> Result<f64, ExplainError> { Ok(along(&values(&self.kept(run, point)?.get(0)?.get(pos)?)?)) };
        let own = |value: f64| (0..=pos).map(|source| if source == pos { value } else { 0.0 }).collect::<Vec<f64>>();
        let mut matrix = vec![own(at_pos(HookPoint::Embed)?)];
        let mut bias = constant;
        for block in 0..n_layers {
            let (through, of_bias) = model.through_output(block, &direction)?;
            bias += of_bias / scale;
            let through = values(&through)?;
            let v = self.kept(run, HookPoint::Block(block, BlockHook::V))?;
            for head in 0..heads {
                let pattern = self.attention(run, block, BlockHook::Pattern, Some((head, pos..pos + 1)))?;
                let pattern = pattern.ok_or(ExplainError::NotKept(HookPoint::Block(block, BlockHook::Pattern)))?;
                let v = values(&v.get(0)?.narrow(0, 0, pos + 1)?.narrow(1, head, 1)?)?;
                let reads = &through[head * d_head..][..d_head];
                let of = |v: &[f32]| v.iter().zip(reads).map(|(v, w)| f64::from(*v) * f64::from(*w)).sum::<f64>();
                let sources = values(&pattern)?.into_iter().zip(v.chunks(d_head));
                matrix.push(sources.map(|(share, v)| f64::from(share) * of(v) / scale).collect());
            }
            matrix.push(own(at_pos(HookPoint::Block(block, BlockHook::MlpOut))?));
        }
        matrix.push(own(bias));
        let logits = values(&self.logits(run, pos..pos + 1)?)?;
        let sum = matrix.iter().flatten().sum();
        Ok(Explained {
            score: logits.get(token as usize).map_or(f64::NAN, |x| f64::from(*x)),
            rows: self.part_names(n_layers),
            columns: (0..=pos).map(|source| source.to_string()).collect(),
            matrix,
            sum,
        })
    }

    /// The components that write to the stream before a block, as TransformerLens names them, and the biases.
    fn part_names(&self, block: usize) -> Vec<String> {
        let heads = self.schema.dims.n_heads;
        let of =
            |layer: usize| (0..heads).map(move |head| format!("L{layer}H{head}")).chain([format!("{layer}_mlp_out")]);
        ["embed".to_string()].into_iter().chain((0..block).flat_map(of)).chain(["bias".to_string()]).collect()
    }

    /// What each of them writes at a position: `[part, d_model]`, f32.
    fn parts_before(&self, run: &Run, block: usize, pos: usize) -> Result<Tensor, ExplainError> {
        let model = &self.loaded.model;
        let mut rows = vec![self.kept(run, HookPoint::Embed)?.get(0)?.narrow(0, pos, 1)?.to_dtype(DType::F32)?];
        let mut bias = rows[0].zeros_like()?;
        for before in 0..block {
            let at = |hook| HookPoint::Block(before, hook);
            // hook_result may have been edited
            let results = match run.cache.get(at(BlockHook::Result)) {
                Some(results) => results.narrow(1, pos, 1)?,
                None => model.head_results(before, &self.kept(run, at(BlockHook::Z))?.narrow(1, pos, 1)?)?,
            };
            rows.push(results.squeeze(0)?.squeeze(0)?.to_dtype(DType::F32)?);
            rows.push(self.kept(run, at(BlockHook::MlpOut))?.get(0)?.narrow(0, pos, 1)?.to_dtype(DType::F32)?);
            if let Some(of_block) = model.output_bias(before)? {
                bias = bias.broadcast_add(&of_block)?;
            }
        }
        rows.push(bias);
        Ok(Tensor::cat(&rows, 0)?)
    }

    fn kept(&self, run: &Run, point: HookPoint) -> Result<Tensor, ExplainError> {
        self.activation(run, point)?.ok_or(ExplainError::NotKept(point))
    }
}
