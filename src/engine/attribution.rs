use candle_core::{DType, Tensor};

use super::{Engine, Run, effects::values};
use crate::hooks::{BlockHook, HookPoint, RunError};

/// Direct logit attribution: the part of a logit (or of a difference of two) that each component of the residual stream
/// gives, through the final LayerNorm with its divisor held fixed (Elhage et al., "A Mathematical Framework for
/// Transformer Circuits", 2021).
///
/// Equal to TransformerLens's `logit_attrs` on `get_full_resid_decomposition(expand_neurons=False)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribution {
    pub embed: f64,
    /// `[layer][head]`
    pub heads: Vec<Vec<f64>>,
    /// `[layer]`
    pub mlps: Vec<f64>,
    /// Every layer's `b_O`.
    pub bias: f64,
    /// What the logit has without any input: the unembedding's bias, and what the final LayerNorm's bias makes of it.
    pub constant: f64,
    /// The run's logit, or difference of logits, that the parts are of.
    pub logit: f64,
}

impl Attribution {
    /// Of all components of the residual stream.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.embed + self.heads.iter().flatten().sum::<f64>() + self.mlps.iter().sum::<f64>() + self.bias
    }

    /// What is left of the logit: rounding; or, with edits, what they put into the stream past its components.
    #[must_use]
    pub fn remainder(&self) -> f64 {
        self.logit - self.sum() - self.constant
    }
}

impl Engine {
    /// The attribution of `target`'s logit at a position, less `distractor`'s where there is one; None if the run did not
    /// keep what it takes.
    ///
    /// # Errors
    /// Tensor errors, a token outside the vocabulary among them.
    pub fn attribution(
        &self,
        run: &Run,
        pos: usize,
        target: u32,
        distractor: Option<u32>,
    ) -> Result<Option<Attribution>, RunError> {
        let model = &self.loaded.model;
        let (mut direction, mut constant) = model.logit_direction(target)?;
        let logits = self.logits(run, pos..pos + 1)?.flatten_all()?.to_dtype(DType::F32)?;
        let logit = |token: u32| logits.get(token as usize)?.to_scalar::<f32>().map(f64::from);
        let mut of = logit(target)?;
        if let Some(other) = distractor {
            let (away, bias) = model.logit_direction(other)?;
            direction = (direction - away)?;
            constant -= bias;
            of -= logit(other)?;
        }
        // Reading a centred stream is reading the stream along a centred direction.
        let direction = direction.broadcast_sub(&direction.mean_keepdim(0)?)?;
        let Some(scale) = run.cache.get(HookPoint::LnFinalScale) else { return Ok(None) };
        let scale = f64::from(values(&scale.get(0)?.get(pos)?)?[0]);
        let host = values(&direction)?;
        let along = |t: &Tensor| -> Result<f64, RunError> { Ok(dot(&values(&t.get(0)?.get(pos)?)?, &host) / scale) };
        let kept = |point: HookPoint| run.cache.get(point);

        let Some(embed) = kept(HookPoint::Embed) else { return Ok(None) };
        let mut parts = Attribution { embed: along(embed)?, constant, logit: of, ..Attribution::default() };
        for block in 0..self.schema.dims.n_layers {
            let at = |hook| HookPoint::Block(block, hook);
            let (Some(z), Some(mlp)) = (kept(at(BlockHook::Z)), kept(at(BlockHook::MlpOut))) else { return Ok(None) };
            let (through, bias) = model.through_output(block, &direction)?;
            parts.bias += bias / scale;
            parts.mlps.push(along(mlp)?);
            // what went on from hook_result may have been edited
            parts.heads.push(if let Some(result) = kept(at(BlockHook::Result)) {
                let all = values(&result.get(0)?.get(pos)?)?;
                all.chunks(host.len()).map(|head| dot(head, &host) / scale).collect()
            } else {
                let (z, through) = (values(&z.get(0)?.get(pos)?)?, values(&through)?);
                let heads = z.chunks(self.schema.dims.d_head).zip(through.chunks(self.schema.dims.d_head));
                heads.map(|(z, through)| dot(z, through) / scale).collect()
            });
        }
        Ok(Some(parts))
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
