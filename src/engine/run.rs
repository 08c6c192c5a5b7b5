//! One forward pass of a model, and the engine that runs it again and again.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use candle_core::Tensor;

use crate::{
    hooks::{
        ActivationCache, Capture, Edit, EditError, Effect, HookPoint, Interventions, Plan, RunError, Schema,
        VectorDefinitions, Vectors,
    },
    model::{Dictionary, Lens, Loaded, PassError, Start},
};

use super::{Control, host::rows, memory};

/// What to run: everything that determines the numbers, given a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    pub tokens: Vec<u32>,
    /// The prompt that `= patch` takes values from.
    pub contrast: Option<Vec<u32>>,
    /// The edits that are switched on, in order.
    pub edits: Vec<Edit>,
    /// The opt-in hooks that are on.
    pub enabled: BTreeSet<HookPoint>,
    /// The vectors that edits name.
    pub vectors: VectorDefinitions,
    /// How many of the last tokens continue the prompt: edits are made there as in a text that grows.
    pub generated: usize,
}

impl Spec {
    /// The number of tokens of the prompt, in which edits count positions.
    #[must_use]
    pub fn prompt_len(&self) -> usize {
        self.tokens.len().saturating_sub(self.generated)
    }

    /// Edits resolved against a model and these tokens.
    ///
    /// # Errors
    /// The first edit that this model or prompt can't carry out, and why.
    pub fn plan(&self, edits: &[Edit], schema: &Schema) -> Result<Plan, EditError> {
        Plan::continued(edits, schema, self.prompt_len(), self.tokens.len(), self.contrast.as_ref().map(Vec::len))
    }

    /// The same without the tokens that continue the prompt.
    #[must_use]
    pub fn of_prompt(&self) -> Self {
        Self { tokens: self.tokens[..self.prompt_len()].to_vec(), generated: 0, ..self.clone() }
    }
}

/// One forward pass.
pub struct Run {
    pub tokens: Vec<u32>,
    pub cache: ActivationCache,
    /// The values that arrived at hooks whose features were edited.
    pub(super) arrived: ActivationCache,
    /// What the unembedding reads, `[1, pos, d_model]`.
    pub(super) normalized: Tensor,
    /// The logits that were computed with the run, those of the last positions: `[1, pos, vocab]`. [`Engine::logits`]
    /// gives any.
    pub logits: Tensor,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
    pub elapsed: Duration,
    pub(super) captured: Capture,
}

impl Run {
    /// The logits that were computed with the run, `[pos][vocab]`, on the host. A reused unedited run may have those of
    /// other positions than requested.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logit_rows(&self) -> Result<Vec<Vec<f32>>, RunError> {
        rows(&self.logits)
    }

    /// The first position whose logits were computed with the run.
    fn first(&self) -> Result<usize, RunError> {
        Ok(self.tokens.len() - self.logits.dim(1)?)
    }
}

/// The only run of an engine without weights.
pub(super) struct Given {
    pub run: Arc<Run>,
    pub schema: Schema,
    pub has_logits: bool,
}

/// A model that is run again and again, keeping what the next run can use.
pub struct Engine {
    pub loaded: Loaded,
    pub schema: Schema,
    /// The lenses that it can read with, the logit lens first.
    pub lenses: Vec<Arc<Lens>>,
    /// The dictionaries that it can read with, by hook; [`Self::use_dictionary`] adds one.
    pub dictionaries: BTreeMap<HookPoint, Arc<Dictionary>>,
    /// Unedited runs, latest last: of the prompt and of the contrast prompt.
    pub(super) unedited: Vec<Arc<Run>>,
    /// The only run there is, if the weights are not here.
    pub(super) given: Option<Given>,
    /// Answers about the weights, latest last.
    pub(super) of_weights: Vec<Box<dyn Any + Send + Sync>>,
    /// The number of scores of a block above which a run leaves them out.
    pub(super) most_scores: usize,
}

/// The most scores of a block that a run keeps: 16 MB, those of 8 heads at 724 tokens.
const SCORES: usize = 1 << 22;

impl Engine {
    #[must_use]
    pub fn new(loaded: Loaded, schema: Schema) -> Self {
        let lenses = vec![Arc::new(Lens::logit(schema.dims.n_layers))];
        Self {
            loaded,
            schema,
            lenses,
            dictionaries: BTreeMap::new(),
            unedited: Vec::new(),
            of_weights: Vec::new(),
            given: None,
            most_scores: SCORES,
        }
    }

    /// Keep the scores and patterns of blocks with at most `most` of either; others are recomputed on demand.
    #[must_use]
    pub fn keeping_scores(mut self, most: usize) -> Self {
        self.most_scores = most;
        self
    }

    /// The logits of a run at some positions: those computed with it, or computed now.
    ///
    /// # Shapes
    /// Returns `[1, pos, vocab]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logits(&self, run: &Run, at: Range<usize>) -> Result<Tensor, RunError> {
        let first = run.first()?;
        Ok(match at.start.checked_sub(first) {
            Some(from) => run.logits.narrow(1, from, at.len())?,
            None => self.loaded.model.unembed(&run.normalized.narrow(1, at.start, at.len())?)?,
        })
    }

    /// Turn on the opt-in hooks of `spec` and no others.
    pub(super) fn enable(&mut self, spec: &Spec) {
        if *self.schema.enabled() != spec.enabled {
            // runs that are kept were computed differently, and lack the hooks that are on now
            self.schema.set_enabled(spec.enabled.clone());
            self.unedited.clear();
        }
        if *self.schema.vectors().defined() != spec.vectors {
            *self.schema.vectors_mut() = Vectors::from(spec.vectors.clone());
        }
    }

    pub(super) fn plan(&self, edits: &[Edit], spec: &Spec) -> Result<Plan, EditError> {
        spec.plan(edits, &self.schema)
    }

    pub(super) fn pass(
        &self,
        start: Start<'_>,
        tokens: &[u32],
        hooks: Interventions<'_>,
        first: usize,
        captured: Capture,
        control: Control<'_>,
    ) -> Result<(Run, Vec<Effect>), PassError> {
        if self.given.is_some() {
            return Err(RunError::NoWeights("a run").into());
        }
        let n_layers = self.schema.dims.n_layers;
        let progress = |block| (control.progress)(block, n_layers);
        let leaving_out = captured == Capture::All && self.leaves_out_scores(tokens.len());
        let from = if let Start::Residual { block, .. } = start { block } else { 0 };
        let computed =
            tokens.len() - if let Start::Residual { past: Some(past), .. } = start { past.positions } else { 0 };
        memory::check(&self.loaded.model, &self.schema, &captured, from, computed, leaving_out)?;
        let mut hooks = hooks.cancelled_by(control.cancel).reporting(&progress).leaving_out(leaving_out);
        let began = Instant::now();
        let normalized = self.loaded.model.pass(start, &self.schema, &mut hooks, false)?;
        let asked = normalized.narrow(1, first, normalized.dim(1)? - first)?;
        let logits = self.loaded.model.unembed(&asked)?;
        let elapsed = began.elapsed();
        let Interventions { cache, arrived, effects, undefined_rows, .. } = hooks;
        let run =
            Run { tokens: tokens.to_vec(), cache, arrived, normalized, logits, undefined_rows, elapsed, captured };
        Ok((run, effects.into_iter().next().unwrap_or_default()))
    }
}

impl Engine {
    /// A run that kept no activations, from what its unembedding reads, `[1, pos, d_model]`.
    pub(super) fn run_of(&self, tokens: &[u32], normalized: Tensor) -> Result<Run, RunError> {
        let last = normalized.dim(1)?.saturating_sub(1);
        let logits = self.loaded.model.unembed(&normalized.narrow(1, last, 1)?)?;
        Ok(Run {
            tokens: tokens.to_vec(),
            cache: ActivationCache::default(),
            arrived: ActivationCache::default(),
            normalized,
            logits,
            undefined_rows: 0,
            elapsed: Duration::ZERO,
            captured: Capture::None,
        })
    }
}
