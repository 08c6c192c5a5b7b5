//! The unedited runs that an edited run builds on: what they keep, and where a pass can resume from them.

use std::{collections::BTreeSet, sync::Arc};

use super::{Control, Engine, Run, Spec, dictionaries::Unedited};
use crate::{
    hooks::{ActivationCache, BlockHook, Capture, HookPoint, Interventions, Needs, Plan, References, RunError},
    model::{Earlier, Past, Start},
};

/// The number of unedited runs that are kept.
const KEPT: usize = 2;

/// The unedited runs that an edited run builds on.
pub(super) struct Base {
    pub baseline: Arc<Run>,
    pub contrast: Option<Arc<Run>>,
    /// What edits read from them: the activations kept, and those recomputed because they were left out.
    frozen: ActivationCache,
    patched: ActivationCache,
    pub features: Unedited,
}

impl Base {
    pub fn references(&self) -> References<'_> {
        References { baseline: Some(&self.frozen), contrast: Some(&self.patched), corpus: None }
    }
}

impl Engine {
    /// The unedited runs that edited runs with these plans build on: of the prompt, with at least `capture` kept, and
    /// of the contrast prompt, with what is patched from it.
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
        // unprocessed activations need those of earlier blocks
        let reads = |of: Needs| plans.iter().any(|plan| plan.reads_features(of));
        let capture = if reads(Needs::Baseline) { &Capture::All } else { capture };
        let baseline = self.unedited(&spec.tokens, capture, first, control)?;
        let kept = if reads(Needs::Contrast) { Some(Capture::All) } else { None };
        let contrast = self.contrast(spec, &patched, kept, control)?;
        let patched = contrast.as_ref().map(|run| self.with_read(run, &patched)).transpose()?.unwrap_or_default();
        let features = Unedited {
            baseline: self.unedited_features(&baseline, plans, Needs::Baseline)?,
            contrast: match &contrast {
                Some(contrast) => Arc::new(self.unedited_features(contrast, plans, Needs::Contrast)?),
                None => Arc::default(),
            },
        };
        Ok(Base { frozen: self.with_read(&baseline, &frozen)?, patched, baseline, contrast, features })
    }

    /// The unedited run of the contrast prompt, if there is one and something is patched from it; it keeps what is patched, or
    /// `capture`.
    pub(super) fn contrast(
        &mut self,
        spec: &Spec,
        patched: &BTreeSet<HookPoint>,
        capture: Option<Capture>,
        control: Control<'_>,
    ) -> Result<Option<Arc<Run>>, RunError> {
        let Some(tokens) = spec.contrast.as_ref().filter(|_| !patched.is_empty()) else { return Ok(None) };
        let last = tokens.len().saturating_sub(1);
        let kept = || Capture::Only(patched.iter().map(|point| self.kept_for(*point)).collect());
        let kept = capture.unwrap_or_else(kept);
        Ok(Some(self.unedited(tokens, &kept, last, control)?))
    }

    /// What a run kept, and the activations among `points` that are derived from that.
    pub(super) fn with_read(&self, run: &Run, points: &BTreeSet<HookPoint>) -> Result<ActivationCache, RunError> {
        let mut cache = run.cache.clone();
        for point in points.iter().filter(|point| run.cache.get(**point).is_none()) {
            if let Some(value) = self.activation(run, *point)? {
                cache.insert(*point, value);
            }
        }
        Ok(cache)
    }

    /// The hook that holds the residual stream as it enters `block`.
    pub(super) fn stream_into(&self, block: usize) -> Option<HookPoint> {
        let n_layers = self.schema.dims.n_layers;
        match block {
            _ if block < n_layers => Some(HookPoint::Block(block, BlockHook::ResidPre)),
            _ => n_layers.checked_sub(1).map(|last| HookPoint::Block(last, BlockHook::ResidPost)),
        }
    }

    /// Where a pass with these plans can begin: at the first block and the first position that any of them touches.
    /// None if that is the beginning, or if the baseline does not hold what is needed. Unless `causal`, the pass begins
    /// at the first position.
    pub(super) fn resume<'a>(&self, baseline: &'a Run, plans: &[Plan], causal: bool) -> Option<Start<'a>> {
        // unprocessed activations need those of earlier blocks
        if plans.iter().any(Plan::has_features) {
            return None;
        }
        let (n_layers, n_pos) = (self.schema.dims.n_layers, baseline.tokens.len());
        let block = plans.iter().map(|plan| plan.first_block(n_layers)).min()??;
        let stream = baseline.cache.get(self.stream_into(block)?)?;
        let first = plans.iter().map(|plan| plan.first_position(n_pos)).min()?.min(n_pos - 1);
        let kept = self.keys_and_values().filter(|point| point.block().is_some_and(|of| of >= block));
        let past = Past { positions: first, from: Earlier::Run(&baseline.cache) };
        let exact = self.loaded.model.is_exact_by_position();
        if !causal || !exact || first == 0 || kept.into_iter().any(|point| baseline.cache.get(point).is_none()) {
            return Some(Start::Residual { block, stream: stream.clone(), past: None });
        }
        let stream = stream.narrow(1, first, n_pos - first).and_then(|rest| rest.contiguous()).ok()?;
        Some(Start::Residual { block, stream, past: Some(past) })
    }

    /// What a baseline has to keep so that passes with these plans can resume from it.
    pub(super) fn resumable<'p>(&self, plans: impl Iterator<Item = &'p Plan>, n_pos: usize) -> BTreeSet<HookPoint> {
        let mut needed: BTreeSet<HookPoint> =
            (0..=self.schema.dims.n_layers).filter_map(|block| self.stream_into(block)).collect();
        for plan in plans {
            needed.extend(plan.frozen().map(|point| self.kept_for(point)));
            if plan.first_position(n_pos) > 0 {
                needed.extend(self.keys_and_values());
            }
        }
        needed
    }

    /// The hook that a run keeps so that a path can read `point`: `hook_result`, if off, is computed from `hook_z`.
    pub(super) fn kept_for(&self, point: HookPoint) -> HookPoint {
        match point {
            HookPoint::Block(block, BlockHook::Result) if !self.schema.is_enabled(point) => {
                HookPoint::Block(block, BlockHook::Z)
            }
            other => other,
        }
    }

    /// What later positions read from earlier ones.
    fn keys_and_values(&self) -> impl Iterator<Item = HookPoint> + use<> {
        let of = |block| [BlockHook::RotK, BlockHook::V].map(|hook| HookPoint::Block(block, hook));
        (0..self.schema.dims.n_layers).flat_map(of)
    }

    /// The unedited run of a prompt with at least `capture`, reused if it is kept.
    pub(super) fn unedited(
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
        self.keep_unedited(run.clone());
        Ok(run)
    }

    /// Keep an unedited run for later ones, in the place of an earlier one of the same prompt.
    pub(super) fn keep_unedited(&mut self, run: Arc<Run>) {
        self.unedited.retain(|kept| kept.tokens != run.tokens);
        self.unedited.push(run);
        if self.unedited.len() > KEPT {
            self.unedited.remove(0);
        }
    }
}

fn covers(have: &Capture, want: &Capture) -> bool {
    match (have, want) {
        (Capture::All, _) | (_, Capture::None) => true,
        (Capture::Only(have), Capture::Only(want)) => want.is_subset(have),
        (Capture::None, Capture::Only(_) | Capture::All) | (Capture::Only(_), Capture::All) => false,
    }
}
