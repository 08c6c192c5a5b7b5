use candle_core::{DType, Tensor};

use super::{Engine, Outcome, Run, Unseen, WithBaseline, host::values};
use crate::hooks::{BlockHook, HookPoint, RunError};

/// Direct logit attribution: what each component of the residual stream contributes to a logit (or to a difference of
/// two), through the final LayerNorm with its divisor held fixed (Elhage et al., "A Mathematical Framework for
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
    /// The part of the logit that does not depend on the input: the biases of the unembedding and of the final
    /// LayerNorm.
    pub constant: f64,
    /// The run's logit, or difference of logits, that is split into the parts.
    pub logit: f64,
}

impl Attribution {
    /// The sum over all components of the residual stream.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.embed + self.heads.iter().flatten().sum::<f64>() + self.mlps.iter().sum::<f64>() + self.bias
    }

    /// The rest of the logit: rounding and, with edits, what they add to the stream outside its components.
    #[must_use]
    pub fn remainder(&self) -> f64 {
        self.logit - self.sum() - self.constant
    }
}

impl Outcome {
    /// The attribution of `target`'s logit at a position, minus `distractor`'s if there is one.
    ///
    /// # Errors
    /// The run did not keep what is needed; tensor errors, including a token outside the vocabulary.
    pub fn attribution(
        &self,
        pos: usize,
        target: u32,
        distractor: Option<u32>,
        engine: &Engine,
    ) -> Result<WithBaseline<Attribution>, Unseen> {
        let parts = |run: &Run| engine.attribution(run, pos, target, distractor);
        let missing = || Unseen::Nothing("this run did not keep what attribution needs".into());
        let run = parts(&self.run)?.ok_or_else(missing)?;
        Ok(WithBaseline { run, baseline: self.unedited().map(parts).transpose()?.flatten() })
    }
}

impl Engine {
    /// The attribution of `target`'s logit at a position, minus `distractor`'s if there is one; None if the run did not
    /// keep what is needed.
    ///
    /// # Errors
    /// Tensor errors, including a token outside the vocabulary.
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
            // hook_result may have been edited
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
