use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use candle_core::{DType, Tensor};

use rayon::prelude::*;

use crate::{
    analysis::kl_divergence,
    hooks::{
        ActivationCache, BlockHook, Capture, Edit, EditError, Effect, HookPoint, Interventions, Plan, References,
        RunError, Schema,
    },
    model::{Loaded, PassError, Past, Start},
};

use super::{EditEffect, Idle, changes::go_on, idle::idle, memory};

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
    /// What the unembedding reads, `[1, pos, d_model]`.
    normalized: Tensor,
    /// Of the last positions, as many as were computed with the run: `[1, pos, vocab]`. [`Engine::logits`] has all.
    pub logits: Tensor,
    /// Attention rows without a finite score, set to 0.
    pub undefined_rows: usize,
    pub elapsed: Duration,
    captured: Capture,
}

impl Run {
    /// The logits that were computed with the run, `[pos][vocab]`, on the host; those of an unedited run may be from before, when
    /// other positions were asked for.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn logit_rows(&self) -> Result<Vec<Vec<f32>>, RunError> {
        rows(&self.logits)
    }

    /// The first position whose logits are there.
    fn first(&self) -> Result<usize, RunError> {
        Ok(self.tokens.len() - self.logits.dim(1)?)
    }
}

/// `[1, pos, vocab]` on the host.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f32>>, RunError> {
    Ok(logits.squeeze(0)?.to_dtype(DType::F32)?.to_vec2()?)
}

/// A run with its baseline and the proof of what each edit did. Without edits, the run is the baseline.
pub struct Outcome {
    pub spec: Spec,
    pub baseline: Arc<Run>,
    pub run: Arc<Run>,
    /// The first position whose prediction was asked for.
    pub first: usize,
    /// KL(baseline || edited) in nats, at each position from that on; empty without edits.
    pub kl: Vec<f64>,
    pub effects: Vec<EditEffect>,
}

/// The unedited runs that an edited one stands on.
pub(super) struct Base {
    pub baseline: Arc<Run>,
    pub contrast: Option<Arc<Run>>,
    /// What edits read of them: what they kept, and what those read that was left out.
    frozen: ActivationCache,
    patched: ActivationCache,
}

impl Base {
    pub fn references(&self) -> References<'_> {
        References { baseline: Some(&self.frozen), contrast: Some(&self.patched) }
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
    /// Scores of a block above which they are left out of what a run keeps.
    most_scores: usize,
}

/// A divergence in nats that is rounding.
const UNFELT: f64 = 1e-10;

/// Scores of a block that a run keeps: 16 MB, those of 8 heads at 724 tokens.
const SCORES: usize = 1 << 22;

/// Positions whose logits are looked through together.
const AT_ONCE: usize = 64;

/// How many unedited runs are kept.
const KEPT: usize = 2;

impl Engine {
    #[must_use]
    pub fn new(loaded: Loaded, schema: Schema) -> Self {
        Self { loaded, schema, unedited: Vec::new(), most_scores: SCORES }
    }

    /// Keep scores and patterns of blocks that have at most so many of either, and compute others when they are looked at.
    #[must_use]
    pub fn keeping_scores(mut self, most: usize) -> Self {
        self.most_scores = most;
        self
    }

    /// Run `spec`, keeping the activations that `keep` names (after the edits), and predict the next token at the positions
    /// from `first` on. In a short prompt the unembedding is most of a run's work; what is not looked at can wait.
    ///
    /// The baseline is run first unless it is kept from before; the edited run then starts at the first block that an
    /// edit touches, from the baseline's residual stream, and computes the positions from the first that one touches.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn run(
        &mut self,
        spec: &Spec,
        keep: &Capture,
        first: usize,
        control: Control<'_>,
    ) -> Result<Outcome, RunError> {
        self.enable(spec);
        let first = first.min(spec.tokens.len().saturating_sub(1));
        let plan = self.plan(&spec.edits, spec)?;
        // each of several edits is also run alone, from where it begins
        let alone = |edit: &Edit| self.plan(std::slice::from_ref(edit), spec);
        let plans: Vec<Plan> = spec.edits.iter().map(alone).collect::<Result<_, _>>()?;
        let mut needed = BTreeSet::new();
        if !plans.is_empty() {
            needed.extend(self.resumable(plans.iter().chain([&plan]), spec.tokens.len()));
        }
        let from_baseline = match keep {
            Capture::All => Capture::All,
            Capture::None => Capture::Only(needed),
            Capture::Only(points) => Capture::Only(points.iter().copied().chain(needed).collect()),
        };
        let all: Vec<&Plan> = plans.iter().chain([&plan]).collect();
        let base = self.base(spec, &from_baseline, first, &all, control)?;
        let baseline = base.baseline.clone();
        if spec.edits.is_empty() {
            return Ok(Outcome {
                spec: spec.clone(),
                run: baseline.clone(),
                baseline,
                first,
                kl: Vec::new(),
                effects: Vec::new(),
            });
        }
        let (run, applied) = self.edited(&spec.edits, &plan, keep, first, &base, control)?;

        let kl_of = |run: &Run, at: Range<usize>| -> Result<Vec<f64>, RunError> {
            let (before, after) = (rows(&self.logits(&baseline, at.clone())?)?, rows(&self.logits(run, at)?)?);
            Ok(before.par_iter().zip(&after).map(|(before, after)| kl_divergence(before, after)).collect())
        };
        let asked = first..spec.tokens.len();
        let kl = kl_of(&run, asked.clone())?;
        // whether no prediction moved, at the positions that were asked for and at those before
        let unfelt = || -> Result<bool, RunError> {
            let felt = |kl: &[f64]| kl.iter().any(|kl| *kl >= UNFELT || kl.is_nan());
            if felt(&kl) {
                return Ok(false);
            }
            let exact = self.loaded.model.is_exact_by_position();
            let begin = if exact { plan.first_position(spec.tokens.len()) } else { 0 };
            for from in (begin.min(first)..first).step_by(AT_ONCE) {
                go_on(control.cancel)?;
                if felt(&kl_of(&run, from..(from + AT_ONCE).min(first))?) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let mut effects = Vec::with_capacity(spec.edits.len());
        for (number, effect) in applied.iter().copied().enumerate() {
            let alone = std::slice::from_ref(&spec.edits[number]);
            let kl = if spec.edits.len() == 1 {
                kl.clone()
            } else {
                let (run, _) = self.edited(alone, &plans[number], &Capture::None, first, &base, control)?;
                kl_of(&run, asked.clone())?
            };
            let idle = idle(number, &spec.edits, &plan, &applied, &self.schema);
            let idle = match idle {
                // beside others an edit may well be felt that is not by itself
                None if spec.edits.len() == 1 && unfelt()? => Some(Idle::Unfelt),
                known => known,
            };
            effects.push(EditEffect { effect, kl, idle });
        }
        Ok(Outcome { spec: spec.clone(), baseline, run: Arc::new(run), first, kl, effects })
    }

    /// The logits of a run at some positions: as they were computed with it, or computed now.
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
            // what was kept was computed another way, and lacks what is now on
            self.schema.set_enabled(spec.enabled.clone());
            self.unedited.clear();
        }
    }

    /// The unedited runs that edited ones with these plans stand on: of the prompt with at least `capture`, and of the
    /// contrast prompt with what is patched from it.
    pub(super) fn base(
        &mut self,
        spec: &Spec,
        capture: &Capture,
        first: usize,
        plans: &[&Plan],
        control: Control<'_>,
    ) -> Result<Base, RunError> {
        let frozen: BTreeSet<HookPoint> = plans.iter().flat_map(|plan| plan.frozen()).collect();
        let patched: BTreeSet<HookPoint> = plans.iter().flat_map(|plan| plan.patched()).collect();
        let baseline = self.unedited(&spec.tokens, capture, first, control)?;
        let contrast = match &spec.contrast {
            Some(tokens) if !patched.is_empty() => {
                let last = tokens.len().saturating_sub(1);
                Some(self.unedited(tokens, &Capture::Only(patched.clone()), last, control)?)
            }
            _ => None,
        };
        let read = |run: &Run, points: BTreeSet<HookPoint>| -> Result<ActivationCache, RunError> {
            let mut cache = run.cache.clone();
            for point in points.into_iter().filter(|point| run.cache.is_left_out(*point)) {
                if let Some(value) = self.activation(run, point)? {
                    cache.insert(point, value);
                }
            }
            Ok(cache)
        };
        let patched = contrast.as_ref().map(|run| read(run, patched)).transpose()?.unwrap_or_default();
        Ok(Base { frozen: read(&baseline, frozen)?, patched, baseline, contrast })
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

    /// Where a pass with these plans can begin: at the first block, and the first position, that one of them touches.
    /// None if that is the beginning, or if the baseline does not hold what it takes. Unless `causal`, at the first position
    /// of all.
    pub(super) fn resume<'a>(&self, baseline: &'a Run, plans: &[Plan], causal: bool) -> Option<Start<'a>> {
        let (n_layers, n_pos) = (self.schema.dims.n_layers, baseline.tokens.len());
        let block = plans.iter().map(|plan| plan.first_block(n_layers)).min()??;
        let stream = baseline.cache.get(self.stream_into(block)?)?;
        let first = plans.iter().map(|plan| plan.first_position(n_pos)).min()?.min(n_pos - 1);
        let kept = self.keys_and_values().filter(|point| point.block().is_some_and(|of| of >= block));
        let past = Past { positions: first, cache: &baseline.cache };
        let exact = self.loaded.model.is_exact_by_position();
        if !causal || !exact || first == 0 || kept.into_iter().any(|point| baseline.cache.get(point).is_none()) {
            return Some(Start::Residual { block, stream: stream.clone(), past: None });
        }
        let stream = stream.narrow(1, first, n_pos - first).and_then(|rest| rest.contiguous()).ok()?;
        Some(Start::Residual { block, stream, past: Some(past) })
    }

    /// What a baseline has to hold so that passes with these plans can resume from it.
    pub(super) fn resumable<'p>(&self, plans: impl Iterator<Item = &'p Plan>, n_pos: usize) -> BTreeSet<HookPoint> {
        let mut needed: BTreeSet<HookPoint> =
            (0..=self.schema.dims.n_layers).filter_map(|block| self.stream_into(block)).collect();
        for plan in plans {
            needed.extend(plan.frozen());
            if plan.first_position(n_pos) > 0 {
                needed.extend(self.keys_and_values());
            }
        }
        needed
    }

    /// What later positions read of earlier ones.
    fn keys_and_values(&self) -> impl Iterator<Item = HookPoint> + use<> {
        let of = |block| [BlockHook::RotK, BlockHook::V].map(|hook| HookPoint::Block(block, hook));
        (0..self.schema.dims.n_layers).flat_map(of)
    }

    /// The unedited run of a prompt with at least `capture`, kept from before if it was.
    fn unedited(
        &mut self,
        tokens: &[u32],
        capture: &Capture,
        first: usize,
        control: Control<'_>,
    ) -> Result<Arc<Run>, RunError> {
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
        let (run, _) = self.pass(Start::Tokens(&rows), tokens, hooks, first, capture.clone(), control)?;
        let run = Arc::new(run);
        self.unedited.push(run.clone());
        if self.unedited.len() > KEPT {
            self.unedited.remove(0);
        }
        Ok(run)
    }

    /// The edited run, from where it can begin.
    fn edited(
        &self,
        edits: &[Edit],
        plan: &Plan,
        keep: &Capture,
        first: usize,
        base: &Base,
        control: Control<'_>,
    ) -> Result<(Run, Vec<Effect>), RunError> {
        let baseline = &base.baseline;
        let (plans, rows) = (std::slice::from_ref(plan), [baseline.tokens.clone()]);
        let mut causal = true;
        loop {
            let start = self.resume(baseline, plans, causal).unwrap_or(Start::Tokens(&rows));
            let (block, past) = match &start {
                Start::Residual { block, past, .. } => (Some(*block), past.map_or(0, |past| past.positions)),
                Start::Tokens(_) => (None, 0),
            };
            let hooks = Interventions::new(plans, edits, keep.clone(), base.references(), self.schema.dims.d_vocab);
            let passed = self.pass(
                start,
                &baseline.tokens,
                hooks.after(past),
                first.saturating_sub(past),
                keep.clone(),
                control,
            );
            let (mut run, effects) = match passed {
                Err(PassError::NotCausal) if causal => {
                    causal = false;
                    continue;
                }
                passed => passed?,
            };
            if past > 0 {
                run.cache.complete(|point| self.activation(baseline, point), past, &self.schema)?;
                run.normalized = Tensor::cat(&[&baseline.normalized.narrow(1, 0, past)?, &run.normalized], 1)?;
                if first < past {
                    run.logits = Tensor::cat(&[&self.logits(baseline, first..past)?, &run.logits], 1)?;
                }
            }
            if let (Some(block), Capture::All) = (block, keep) {
                run.cache.share_before(&baseline.cache, block, self.schema.dims.n_layers);
            }
            return Ok((run, effects));
        }
    }

    fn pass(
        &self,
        start: Start<'_>,
        tokens: &[u32],
        hooks: Interventions<'_>,
        first: usize,
        captured: Capture,
        control: Control<'_>,
    ) -> Result<(Run, Vec<Effect>), PassError> {
        let n_layers = self.schema.dims.n_layers;
        let progress = |block| (control.progress)(block, n_layers);
        let squares = self.schema.dims.n_heads * tokens.len() * tokens.len();
        let leaving_out = captured == Capture::All && squares > self.most_scores;
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
        let Interventions { cache, effects, undefined_rows, .. } = hooks;
        let run = Run { tokens: tokens.to_vec(), cache, normalized, logits, undefined_rows, elapsed, captured };
        Ok((run, effects.into_iter().next().unwrap_or_default()))
    }
}

fn covers(have: &Capture, want: &Capture) -> bool {
    match (have, want) {
        (Capture::All, _) | (_, Capture::None) => true,
        (Capture::Only(have), Capture::Only(want)) => want.is_subset(have),
        (Capture::None, Capture::Only(_) | Capture::All) | (Capture::Only(_), Capture::All) => false,
    }
}
