//! A run that was read from a file: all that can be seen of a model whose weights are not here.

use std::{sync::Arc, time::Duration};

use candle_core::{DType, Tensor};

use super::{Engine, Outcome, Reads, Run, Spec, run::Given};
use crate::{
    hooks::{ActivationCache, Capture, HookPoint, RunError, Schema},
    model::Loaded,
};

impl Engine {
    /// An engine that shows one run, which was made elsewhere. Whatever needs weights is refused.
    ///
    /// # Shapes
    /// `logits`: `[1, pos, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn of_cache(
        loaded: Loaded,
        schema: Schema,
        tokens: Vec<u32>,
        (cache, logits): (ActivationCache, Option<Tensor>),
    ) -> Result<Self, RunError> {
        let device = &loaded.model.device;
        let normalized = Tensor::zeros((1, tokens.len(), 0), DType::F32, device)?;
        let has_logits = logits.is_some();
        let logits = logits.map_or_else(|| Tensor::zeros((1, tokens.len(), 0), DType::F32, device), Ok)?;
        let run = Arc::new(Run {
            tokens,
            cache,
            arrived: ActivationCache::default(),
            normalized,
            logits,
            undefined_rows: 0,
            elapsed: Duration::ZERO,
            captured: Capture::All,
        });
        let mut engine = Self::new(loaded, schema.clone());
        engine.given = Some(Given { run, schema, has_logits });
        Ok(engine)
    }

    /// Why a request can't be answered from the only run there is; None if it can, or if the weights are here.
    pub(super) fn lacks(&self, reads: &Reads) -> Option<String> {
        let given = self.given.as_ref()?;
        let missing = |point: &HookPoint| match self.activation(&given.run, *point) {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!("{point} is not in the cache")),
            Err(error) => Some(error.to_string()),
        };
        match reads {
            Reads::Anything => None,
            Reads::Hooks(points) => points.iter().find_map(missing),
            Reads::EveryBlock(hooks) => {
                let block = |block| hooks.iter().find_map(|hook| missing(&HookPoint::Block(block, *hook)));
                (0..given.schema.dims.n_layers).find_map(block)
            }
            Reads::Logits if given.has_logits => None,
            Reads::Logits => Some("the logits are not in the cache".into()),
            Reads::Weights => Some(RunError::NoWeights("this view").to_string()),
        }
    }
}

impl Given {
    /// The run, if that is what is asked for.
    ///
    /// # Errors
    /// What is asked for would need the weights.
    pub(super) fn outcome(&self, spec: &Spec, is_held: bool) -> Result<Outcome, RunError> {
        let needs = match () {
            () if !spec.edits.is_empty() => "an edit",
            () if spec.tokens != self.run.tokens => "another prompt",
            () if spec.enabled != *self.schema.enabled() => "a change of the hooks that are on",
            () if is_held => "stepping through the pass",
            () => return Ok(Outcome::unedited_run(spec, self.run.clone(), self.run.tokens.len().saturating_sub(1))),
        };
        Err(RunError::NoWeights(needs))
    }
}
