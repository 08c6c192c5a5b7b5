use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use candle_core::{DType, Tensor};

use rayon::prelude::*;

use crate::{
    analysis::kl_divergence,
    hooks::{
        ActivationCache, BlockHook, Capture, Edit, EditError, Effect, HookPoint, Interventions, Plan, References,
        Schema,
    },
    model::{Loaded, Start},
};

use super::{EditEffect, idle::idle};

/// What to run: everything that decides the numbers, given a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    pub tokens: Vec<u32>,
    /// The prompt that `= patch` takes values from.
    pub contrast: Option<Vec<u32>>,
    /// The edits that are switched on, in order.
    pub edits: Vec<Edit>,
    /// The opt-in hooks that are on.
    pub enabled: BTreeSet<HookPoint>,
}

/// One forward pass.
pub struct Run {
    pub tokens: Vec<u32>,
    pub cache: ActivationCache,
    /// `[1, pos, vocab]`
    pub logits: Tensor,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
    pub elapsed: Duration,
    captured: Capture,
}

impl Run {
    /// The logits of each position, `[pos][vocab]`, on the host.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logit_rows(&self) -> Result<Vec<Vec<f32>>, EditError> {
        Ok(self.logits.squeeze(0)?.to_dtype(DType::F32)?.to_vec2()?)
    }
}

/// A run with its baseline and the proof of what each edit did. Without edits, the run is the baseline.
pub struct Outcome {
    pub spec: Spec,
    pub baseline: Arc<Run>,
    pub run: Arc<Run>,
    /// KL(baseline || edited) in nats, at each position; empty without edits.
    pub kl: Vec<f64>,
    pub effects: Vec<EditEffect>,
}

/// The unedited runs that an edited one stands on.
pub(super) struct Base {
    pub baseline: Arc<Run>,
    pub contrast: Option<Arc<Run>>,
}

impl Base {
    pub fn references(&self) -> References<'_> {
        References { baseline: Some(&self.baseline.cache), contrast: self.contrast.as_ref().map(|run| &run.cache) }
    }
}

/// How a caller follows and stops a run.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    pub cancel: &'a AtomicBool,
    /// Called with (blocks entered, blocks in all).
    pub progress: &'a dyn Fn(usize, usize),
}

/// A model that is run again and again, keeping what the next run can use.
pub struct Engine {
    pub loaded: Loaded,
    pub schema: Schema,
    /// Unedited runs, latest last: of the prompt and of the contrast prompt.
    unedited: Vec<Arc<Run>>,
}

/// How many unedited runs are kept.
const KEPT: usize = 2;

impl Engine {
    #[must_use]
    pub fn new(loaded: Loaded, schema: Schema) -> Self {
        Self { loaded, schema, unedited: Vec::new() }
    }

    /// Run `spec`, keeping the activations that `keep` names (after the edits).
    ///
    /// The baseline is run first unless it is kept from before; the edited run then starts at the first block that an
    /// edit touches, from the baseline's residual stream.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn run(&mut self, spec: &Spec, keep: &Capture, control: Control<'_>) -> Result<Outcome, EditError> {
        self.enable(spec);
        let plan = self.plan(&spec.edits, spec)?;
        let resume = plan.first_block(self.schema.dims.n_layers);
        let mut needed: BTreeSet<HookPoint> = plan.frozen().collect();
        needed.extend(resume.and_then(|block| self.stream_into(block)));
        if spec.edits.len() > 1 {
            // each edit is also run alone, from where it begins
            needed.extend((0..=self.schema.dims.n_layers).filter_map(|block| self.stream_into(block)));
        }
        let from_baseline = match keep {
            Capture::All => Capture::All,
            Capture::None => Capture::Only(needed),
            Capture::Only(points) => Capture::Only(points.iter().copied().chain(needed).collect()),
        };
        let patched: BTreeSet<HookPoint> = plan.patched().collect();
        let base = self.base(spec, &from_baseline, patched, control)?;
        let baseline = base.baseline.clone();
        if spec.edits.is_empty() {
            return Ok(Outcome {
                spec: spec.clone(),
                run: baseline.clone(),
                baseline,
                kl: Vec::new(),
                effects: Vec::new(),
            });
        }
        let references = base.references();
        let (run, applied) = self.edited(&spec.edits, &plan, keep, &baseline, references, control)?;

        let before = baseline.logit_rows()?;
        let kl_of = |run: &Run| -> Result<Vec<f64>, EditError> {
            let after = run.logit_rows()?;
            Ok(before.par_iter().zip(&after).map(|(before, after)| kl_divergence(before, after)).collect())
        };
        let kl = kl_of(&run)?;
        let mut effects = Vec::with_capacity(spec.edits.len());
        for (number, effect) in applied.into_iter().enumerate() {
            let alone = std::slice::from_ref(&spec.edits[number]);
            let kl = if spec.edits.len() == 1 {
                kl.clone()
            } else {
                let plan = self.plan(alone, spec)?;
                kl_of(&self.edited(alone, &plan, &Capture::None, &baseline, references, control)?.0)?
            };
            let idle = idle(number, &spec.edits, &plan, &effect, &self.schema);
            effects.push(EditEffect { effect, kl, idle });
        }
        Ok(Outcome { spec: spec.clone(), baseline, run: Arc::new(run), kl, effects })
    }

    /// Turn on the opt-in hooks of `spec` and no others.
    pub(super) fn enable(&mut self, spec: &Spec) {
        if *self.schema.enabled() != spec.enabled {
            // what was kept was computed another way, and lacks what is now on
            self.schema.set_enabled(spec.enabled.clone());
            self.unedited.clear();
        }
    }

    /// The unedited runs that edited ones stand on: of the prompt with at least `capture`, and of the contrast prompt with
    /// what is patched from it.
    pub(super) fn base(
        &mut self,
        spec: &Spec,
        capture: &Capture,
        patched: BTreeSet<HookPoint>,
        control: Control<'_>,
    ) -> Result<Base, EditError> {
        let baseline = self.unedited(&spec.tokens, capture, control)?;
        let contrast = match &spec.contrast {
            Some(tokens) if !patched.is_empty() => Some(self.unedited(tokens, &Capture::Only(patched), control)?),
            _ => None,
        };
        Ok(Base { baseline, contrast })
    }

    fn plan(&self, edits: &[Edit], spec: &Spec) -> Result<Plan, EditError> {
        Plan::resolve(edits, &self.schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len))
    }

    /// The hook that holds the residual stream as it enters `block`.
    pub(super) fn stream_into(&self, block: usize) -> Option<HookPoint> {
        let n_layers = self.schema.dims.n_layers;
        match block {
            _ if block < n_layers => Some(HookPoint::Block(block, BlockHook::ResidPre)),
            _ => n_layers.checked_sub(1).map(|last| HookPoint::Block(last, BlockHook::ResidPost)),
        }
    }

    /// The unedited run of a prompt with at least `capture`, kept from before if it was.
    fn unedited(&mut self, tokens: &[u32], capture: &Capture, control: Control<'_>) -> Result<Arc<Run>, EditError> {
        if let Some(at) = self.unedited.iter().position(|run| run.tokens == tokens) {
            let run = self.unedited.remove(at);
            let enough = covers(&run.captured, capture);
            if enough {
                self.unedited.push(run.clone());
                return Ok(run);
            }
        }
        let plans = [Plan::default()];
        let hooks = Interventions::new(&plans, &[], capture.clone(), References::default(), self.schema.dims.d_vocab);
        let rows = [tokens.to_vec()];
        let (run, _) = self.pass(Start::Tokens(&rows), tokens, hooks, capture.clone(), control)?;
        let run = Arc::new(run);
        self.unedited.push(run.clone());
        if self.unedited.len() > KEPT {
            self.unedited.remove(0);
        }
        Ok(run)
    }

    fn edited(
        &self,
        edits: &[Edit],
        plan: &Plan,
        keep: &Capture,
        baseline: &Run,
        references: References<'_>,
        control: Control<'_>,
    ) -> Result<(Run, Vec<Effect>), EditError> {
        let n_layers = self.schema.dims.n_layers;
        let rows = [baseline.tokens.clone()];
        let resumed = plan.first_block(n_layers).and_then(|block| {
            let stream = baseline.cache.get(self.stream_into(block)?)?;
            Some((block, stream.clone()))
        });
        let (start, shared) = match resumed {
            Some((block, stream)) => (Start::Residual { block, stream }, Some(block)),
            None => (Start::Tokens(&rows), None),
        };
        let hooks =
            Interventions::new(std::slice::from_ref(plan), edits, keep.clone(), references, self.schema.dims.d_vocab);
        let (mut run, effects) = self.pass(start, &baseline.tokens, hooks, keep.clone(), control)?;
        if let (Some(block), Capture::All) = (shared, keep) {
            run.cache.share_before(&baseline.cache, block, n_layers);
        }
        Ok((run, effects))
    }

    fn pass(
        &self,
        start: Start<'_>,
        tokens: &[u32],
        hooks: Interventions<'_>,
        captured: Capture,
        control: Control<'_>,
    ) -> Result<(Run, Vec<Effect>), EditError> {
        let n_layers = self.schema.dims.n_layers;
        let progress = |block| (control.progress)(block, n_layers);
        let mut hooks = hooks.cancelled_by(control.cancel).reporting(&progress);
        let began = Instant::now();
        let logits = self.loaded.model.forward(start, &self.schema, &mut hooks)?;
        let elapsed = began.elapsed();
        let Interventions { cache, effects, undefined_rows, .. } = hooks;
        let run = Run { tokens: tokens.to_vec(), cache, logits, undefined_rows, elapsed, captured };
        Ok((run, effects.into_iter().next().unwrap_or_default()))
    }
}

fn covers(have: &Capture, want: &Capture) -> bool {
    match (have, want) {
        (Capture::All, _) | (_, Capture::None) => true,
        (Capture::Only(have), Capture::Only(want)) => want.is_subset(have),
        _ => false,
    }
}
