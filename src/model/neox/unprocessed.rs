//! Activations as the model without processing has them, from those of a processed run. Processing centres what is written to
//! the residual stream, moves the biases of values behind attention, and folds LayerNorm's weight and bias into what reads it;
//! all of that is known from the weights, so it is added again to what the run has.

use candle_core::{DType, Result, Tensor};

use super::{Model, block::Block, removed::Affine};
use crate::hooks::{ActivationCache, BlockHook, HookPoint};

/// Gives the unprocessed activations of a run; of a model without processing, those of the run itself.
///
/// What edits changed stays changed: the value of a hook is its value in the run and, added to it, what processing would have
/// left there. So an edit that means the same with and without processing gives what the unprocessed model would.
pub struct Unprocessed<'a> {
    pub(super) model: &'a Model,
    cache: &'a ActivationCache,
    /// The mean of the stream into each block and out of the last, as far as the run kept what it takes: `[batch, pos, 1]`.
    means: Vec<Tensor>,
}

impl Model {
    /// The unprocessed activations of a run of `tokens`. It has to have kept `hook_z` and `mlp.hook_post` of the blocks before a
    /// hook, and of its own block what comes before the hook.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn unprocessed<'a>(&'a self, tokens: &[u32], cache: &'a ActivationCache) -> Result<Unprocessed<'a>> {
        self.unprocessed_from(self.embedded_mean(tokens, cache)?, cache)
    }

    /// The mean of what the embedding of `tokens`, or of the run's `hook_tokens`, writes: `[batch, pos, 1]`; None without
    /// processing.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn embedded_mean(&self, tokens: &[u32], cache: &ActivationCache) -> Result<Option<Tensor>> {
        let Some(removed) = &self.removed else { return Ok(None) };
        // edited, perhaps
        let tokens = match cache.get(HookPoint::Tokens) {
            Some(kept) => kept.clone(),
            None => Tensor::from_vec(tokens.to_vec(), (1, tokens.len()), &self.device)?,
        };
        let (batch, n_pos) = tokens.dims2()?;
        removed.embed.index_select(&tokens.flatten_all()?, 0)?.reshape((batch, n_pos, 1)).map(Some)
    }

    /// As [`Self::unprocessed`], for a run that began with embeddings of this mean.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn unprocessed_from<'a>(
        &'a self,
        embedded_mean: Option<Tensor>,
        cache: &'a ActivationCache,
    ) -> Result<Unprocessed<'a>> {
        let mut all = Unprocessed { model: self, cache, means: Vec::new() };
        let Some(mut mean) = embedded_mean else { return Ok(all) };
        all.means.push(mean.clone());
        for block in &self.blocks {
            let (Some(attn), Some(mlp)) = (all.attn_mean(block)?, all.mlp_mean(block)?) else { break };
            mean = mean.broadcast_add(&attn)?.broadcast_add(&mlp)?;
            all.means.push(mean.clone());
        }
        Ok(all)
    }
}

impl Unprocessed<'_> {
    /// The unprocessed value at a hook, from the run's own there; in f32 where they differ.
    ///
    /// # Shapes
    /// `value` and the result: `[batch, axes of the hook]`.
    ///
    /// # Errors
    /// The run kept too little; tensor errors.
    pub fn at(&self, point: HookPoint, value: &Tensor) -> Result<Tensor> {
        let Some(removed) = &self.model.removed else { return Ok(value.clone()) };
        let plus = |more: Tensor| value.to_dtype(DType::F32)?.broadcast_add(&more);
        match point {
            HookPoint::Tokens | HookPoint::LnFinalScale => Ok(value.clone()),
            HookPoint::Embed => plus(self.mean_into(0)?),
            HookPoint::LnFinalNormalized => affine(value, &removed.ln_final),
            HookPoint::Block(block, hook) => self.in_block(block, hook, value),
        }
    }

    /// The value of the run that stands for `value` of the unprocessed model: the reverse of [`Self::at`]. Both differ by what
    /// does not depend on the value, or by a factor.
    ///
    /// # Shapes
    /// `change`: of the unprocessed value, `[batch, axes of the hook]`; returns the change of the run's value.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn change_back(&self, point: HookPoint, change: &Tensor) -> Result<Tensor> {
        let Some(removed) = &self.model.removed else { return Ok(change.clone()) };
        let of_block = |block: usize| self.model.blocks.get(block).and_then(|block| block.removed.as_ref());
        let norm = match point {
            HookPoint::LnFinalNormalized => Some(&removed.ln_final),
            HookPoint::Block(block, BlockHook::Ln1Normalized) => of_block(block).map(|removed| &removed.ln1),
            HookPoint::Block(block, BlockHook::Ln2Normalized) => of_block(block).map(|removed| &removed.ln2),
            HookPoint::Tokens | HookPoint::Embed | HookPoint::LnFinalScale | HookPoint::Block(..) => None,
        };
        match norm {
            Some(norm) => change.to_dtype(DType::F32)?.broadcast_div(&norm.weight),
            None => Ok(change.clone()),
        }
    }

    /// The unprocessed logits, from the run's and from what its unembedding read.
    ///
    /// # Shapes
    /// `logits`: `[batch, pos, vocab]`; `normalized`: `[batch, pos, d_model]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logits(&self, logits: &Tensor, normalized: &Tensor) -> Result<Tensor> {
        match self.logit_shift(normalized)? {
            Some(shift) => logits.to_dtype(DType::F32)?.broadcast_add(&shift),
            None => Ok(logits.clone()),
        }
    }

    /// What unprocessed logits have more than the run's; None without processing.
    ///
    /// # Shapes
    /// `normalized`: `[batch, pos, d_model]`; returns `[batch, pos, 1]`, f32.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logit_shift(&self, normalized: &Tensor) -> Result<Option<Tensor>> {
        self.model.removed.as_ref().map(|removed| removed.unembed.mean(normalized)).transpose()
    }

    fn in_block(&self, number: usize, hook: BlockHook, value: &Tensor) -> Result<Tensor> {
        use BlockHook::{
            AttnIn, AttnOut, AttnScores, K, KInput, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, MlpIn, MlpOut,
            MlpPost, MlpPre, Pattern, Q, QInput, ResidMid, ResidPost, ResidPre, Result, RotK, RotQ, V, VInput, Z,
        };
        let Some((block, removed)) = self.block(number) else { return Ok(value.clone()) };
        let plus = |more: Tensor| value.to_dtype(DType::F32)?.broadcast_add(&more);
        let kept = |mean: Option<Tensor>| mean.ok_or_else(|| missing(number));
        match hook {
            Ln1Scale | Q | K | RotQ | RotK | AttnScores | Pattern | Ln2Scale | MlpPre | MlpPost => Ok(value.clone()),
            ResidPre => plus(self.mean_into(number)?),
            AttnIn | QInput | KInput | VInput => plus(self.mean_into(number)?.unsqueeze(2)?),
            ResidPost => plus(self.mean_into(number + 1)?),
            Ln1Normalized => affine(value, &removed.ln1),
            Ln2Normalized => affine(value, &removed.ln2),
            V | Z => self.with_biases(block, value),
            Result => {
                let z = kept(self.cache.get(HookPoint::Block(number, Z)).cloned())?;
                let z = self.with_biases(block, &z)?;
                let own = block.attn.results(&self.biases(block)?.to_dtype(self.model.dtype)?)?;
                plus(own.to_dtype(DType::F32)?)?.broadcast_add(&removed.attn.mean_by_head(&z)?)
            }
            AttnOut => plus(kept(self.attn_mean(block)?)?),
            ResidMid | MlpIn => {
                let mean = self.mean_into(number)?;
                match block.parallel {
                    true if hook == MlpIn => plus(mean),
                    _ => plus(mean.broadcast_add(&kept(self.attn_mean(block)?)?)?),
                }
            }
            MlpOut => plus(kept(self.mlp_mean(block)?)?),
        }
    }

    pub(super) fn block(&self, number: usize) -> Option<(&Block, &super::removed::RemovedOfBlock)> {
        let block = self.model.blocks.get(number)?;
        Some((block, block.removed.as_ref()?))
    }

    fn mean_into(&self, block: usize) -> Result<Tensor> {
        self.means.get(block).cloned().ok_or_else(|| missing(block.saturating_sub(1)))
    }

    /// The biases of values, `[1, 1, head, d_head]`.
    fn biases(&self, block: &Block) -> Result<Tensor> {
        let shape = (1, 1, block.attn.n_heads, block.attn.d_head);
        match &block.removed {
            Some(removed) => removed.values.reshape(shape),
            None => Tensor::zeros(shape, DType::F32, &self.model.device),
        }
    }

    /// `hook_v` or `hook_z` with the biases of values, f32: patterns sum to 1, so that `hook_z` has them once.
    fn with_biases(&self, block: &Block, value: &Tensor) -> Result<Tensor> {
        value.to_dtype(DType::F32)?.broadcast_add(&self.biases(block)?)
    }

    fn attn_mean(&self, block: &Block) -> Result<Option<Tensor>> {
        let z = self.cache.get(HookPoint::Block(block.number, BlockHook::Z));
        let (Some(z), Some(removed)) = (z, &block.removed) else { return Ok(None) };
        removed.attn.mean(&self.with_biases(block, z)?.flatten_from(2)?).map(Some)
    }

    fn mlp_mean(&self, block: &Block) -> Result<Option<Tensor>> {
        let post = self.cache.get(HookPoint::Block(block.number, BlockHook::MlpPost));
        let (Some(post), Some(removed)) = (post, &block.removed) else { return Ok(None) };
        removed.mlp.mean(post).map(Some)
    }
}

/// A LayerNorm's output with the weight and bias that processing folded into what reads it.
fn affine(value: &Tensor, Affine { weight, bias }: &Affine) -> Result<Tensor> {
    value.to_dtype(DType::F32)?.broadcast_mul(weight)?.broadcast_add(bias)
}

fn missing(block: usize) -> candle_core::Error {
    candle_core::Error::Msg(format!(
        "the run kept no blocks.{block}.attn.hook_z or blocks.{block}.mlp.hook_post, which unprocessed activations take"
    ))
}
