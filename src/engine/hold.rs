//! A pass that is held: it stops at a hook and goes on from there, computing nothing twice. Edits may change while it is held.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use candle_core::{DType, Tensor};

use super::{
    Control, EditEffect, Engine, Outcome, Run, Spec,
    base::Base,
    dictionaries::Unedited,
    edit_effect::no_effect,
    find::{FindError, show},
    hit::Hit,
    memory, request,
};
use crate::{
    hooks::{
        ActivationCache, BlockHook, Capture, Effect, Held, HookPoint, Interventions, Needs, Plan, References, RunError,
        Stepper,
    },
    model::Start,
    predicate::{Match, Predicate, Program, Search},
};

/// How far a held pass is to go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hold {
    /// The hook to stop at; None to go to the end.
    pub until: Option<HookPoint>,
    /// Predicates that stop the pass at the first hook after `after` where they hold somewhere.
    pub breakpoints: Vec<Predicate>,
    /// Where the pass was held before.
    pub after: Option<HookPoint>,
}

/// A pass that can stop and go on.
pub struct HeldPass {
    pub spec: Spec,
    plan: Plan,
    held: Held,
    elapsed: Duration,
}

/// Shown in place of what a held pass has not reached.
pub const NOT_YET: &str = "not computed yet";

/// Where a pass is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopped {
    pub at: HookPoint,
    /// The breakpoints that stopped it there; none where it reached the hook that it was to go to.
    pub hits: Vec<Hit>,
}

impl Stopped {
    /// Why a request with these needs has no answer, if what it needs is not computed.
    #[must_use]
    pub fn lacks(&self, needs: request::Needs) -> Option<String> {
        let there = match needs {
            request::Needs::Pass => false,
            request::Needs::Hook(point) => point <= self.at,
            request::Needs::Nothing => true,
        };
        (!there).then(|| NOT_YET.into())
    }
}

impl HeldPass {
    /// The last hook that was computed.
    #[must_use]
    pub fn reached(&self) -> Option<HookPoint> {
        self.held.reached()
    }

    /// What the pass has computed, after the edits.
    #[must_use]
    pub fn cache(&self) -> &ActivationCache {
        &self.held.cache
    }
}

impl Engine {
    /// Hold a pass of `spec`: of an earlier one what does not depend on what changed since stays. Nothing but the edits' vectors is
    /// computed yet.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, tensor errors.
    pub fn hold(&mut self, spec: &Spec, earlier: Option<HeldPass>) -> Result<HeldPass, RunError> {
        let cancel = AtomicBool::new(false);
        self.ready(spec, Control { cancel: &cancel, progress: &|_, _| {} })?;
        let plan = self.plan(&spec.edits, spec)?;
        let patches = |plan: &Plan| plan.patched().next().is_some() || plan.reads_features(Needs::Contrast);
        let same = |pass: &HeldPass| {
            let contrast = pass.spec.contrast == spec.contrast || !(patches(&pass.plan) || patches(&plan));
            pass.spec.tokens == spec.tokens && pass.spec.enabled == spec.enabled && contrast
        };
        let Some(mut pass) = earlier.filter(same) else {
            return Ok(HeldPass { spec: spec.clone(), plan, held: Held::default(), elapsed: Duration::ZERO });
        };
        let sent = |point: HookPoint, cache: &ActivationCache| match point {
            HookPoint::Block(block, BlockHook::Result) if !self.schema.is_enabled(point) => {
                let z = cache.get(HookPoint::Block(block, BlockHook::Z));
                z.map(|z| self.loaded.model.head_results(block, z)).transpose()
            }
            other => Ok(cache.get(other).cloned()),
        };
        pass.held.replan(&pass.plan, &plan, sent)?;
        (pass.spec, pass.plan) = (spec.clone(), plan);
        Ok(pass)
    }

    /// Let a held pass go on; where it stopped, or None at the end.
    ///
    /// # Errors
    /// A breakpoint that does not fit, cancellation, tensor errors. What was computed until then stays.
    pub fn go_on(
        &mut self,
        pass: &mut HeldPass,
        hold: &Hold,
        control: Control<'_>,
    ) -> Result<Option<Stopped>, FindError> {
        let spec = pass.spec.clone();
        self.enable(&spec);
        let n_pos = spec.tokens.len();
        let programs = hold.breakpoints.iter().map(|predicate| Program::new(predicate, &self.schema, n_pos));
        let programs = programs.collect::<Result<Vec<_>, _>>()?;
        let compares = !spec.edits.is_empty() && programs.iter().any(Program::needs_baseline);
        let base = self.base_of_held(pass, compares, control)?;
        let baseline = base.as_ref().filter(|_| compares).map(|base| base.baseline.clone());
        let mut searches: Vec<(&Program, Search<'_>)> =
            programs.iter().map(|program| (program, Search::new(program, &spec.tokens))).collect();
        let mut hits: Vec<Hit> = vec![];
        let engine = &*self;
        let mut look = |point: HookPoint, value: &Tensor| -> Result<bool, RunError> {
            hits.clear();
            for (breakpoint, (program, search)) in searches.iter_mut().enumerate() {
                if !program.wants(point) {
                    continue;
                }
                let before = baseline.as_ref().map(|run| engine.activation(run, point)).transpose()?.flatten();
                let mut hit: Option<Hit> = None;
                let mut found = |found: &Match| {
                    let hit = hit.get_or_insert_with(|| Hit { breakpoint, first: found.clone(), places: 0 });
                    hit.places += 1;
                    std::ops::ControlFlow::Continue(())
                };
                // it never breaks
                let _ = show(search, point, value, before.as_ref(), &mut found)?;
                hits.extend(hit);
            }
            Ok(!hits.is_empty() && hold.after.is_none_or(|after| point > after))
        };
        // what was computed before is passed over at once
        let known: BTreeSet<HookPoint> = pass.held.cache.points();
        for point in known {
            let value = pass.held.cache.get(point).cloned();
            let stops = value.map(|value| look(point, &value)).transpose()?.unwrap_or(false);
            if stops || hold.until == Some(point) {
                return Ok(Some(Stopped { at: point, hits: if stops { hits } else { vec![] } }));
            }
        }
        if hold.until.is_some_and(|until| pass.held.reached() >= Some(until)) {
            return Ok(hold.until.map(|at| Stopped { at, hits: vec![] }));
        }
        if pass.held.reached() == Some(HookPoint::LnFinalNormalized) {
            return Ok(None);
        }
        let mut stopped_by_breakpoint = false;
        let mut reached = |point: HookPoint, value: &Tensor| -> Result<bool, RunError> {
            stopped_by_breakpoint = look(point, value)?;
            Ok(stopped_by_breakpoint)
        };
        let leaving_out = self.leaves_out_scores(n_pos);
        memory::check(&self.loaded.model, &self.schema, &Capture::All, 0, n_pos, leaving_out)?;
        let n_layers = self.schema.dims.n_layers;
        let progress = |block| (control.progress)(block, n_layers);
        let plans = [pass.plan.clone()];
        let nothing = Unedited::default();
        let dictionaries = self.dictionaries(&spec.tokens, base.as_ref().map_or(&nothing, |base| &base.features));
        let references = base.as_ref().map_or_else(References::default, Base::references);
        let inner = Interventions::new(&plans, &spec.edits, Capture::All, references, self.schema.dims.d_vocab)
            .cancelled_by(control.cancel)
            .reporting(&progress)
            .leaving_out(leaving_out)
            .with_dictionaries(&dictionaries);
        let began = Instant::now();
        let rows = [spec.tokens.clone()];
        let (passed, stopped) = {
            let mut stepper = Stepper::new(inner, &mut pass.held, &self.schema, hold.until, &mut reached);
            let passed = self.loaded.model.normalized(Start::Tokens(&rows), &self.schema, &mut stepper);
            (passed, stepper.stopped)
        };
        pass.elapsed += began.elapsed();
        match (passed, stopped) {
            (Ok(_), _) => Ok(None),
            (Err(RunError::Cancelled), Some(at)) => {
                Ok(Some(Stopped { at, hits: if stopped_by_breakpoint { hits } else { vec![] } }))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The unedited runs that a held pass reads: what its edits read, and with `compares` all of the prompt's.
    fn base_of_held(
        &mut self,
        pass: &HeldPass,
        compares: bool,
        control: Control<'_>,
    ) -> Result<Option<Base>, RunError> {
        let plan = &pass.plan;
        let features = [Needs::Baseline, Needs::Contrast].into_iter().any(|of| plan.reads_features(of));
        if !compares && !features && plan.frozen().next().is_none() && plan.patched().next().is_none() {
            return Ok(None);
        }
        let last = pass.spec.tokens.len().saturating_sub(1);
        let kept = if compares {
            Capture::All
        } else {
            Capture::Only(plan.frozen().map(|point| self.kept_for(point)).collect())
        };
        self.base(&pass.spec, &kept, last, &[plan], control).map(Some)
    }

    /// What a held pass shows at a hook: a run that kept what was computed as far as that, beside the baseline, with what the
    /// edits did so far. It has no logits, so nothing that comes from them.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn held_at(&mut self, pass: &HeldPass, at: HookPoint, control: Control<'_>) -> Result<Outcome, RunError> {
        let mut cache = pass.held.cache.clone();
        cache.forget_after(at);
        let none = |width| Tensor::zeros((1, 0, width), DType::F32, &candle_core::Device::Cpu);
        let dims = &self.schema.dims;
        let run = Arc::new(Run {
            tokens: pass.spec.tokens.clone(),
            cache,
            arrived: ActivationCache::default(),
            normalized: none(dims.d_model)?,
            logits: none(dims.d_vocab)?,
            undefined_rows: pass.held.undefined_rows(),
            elapsed: pass.elapsed,
            captured: Capture::All,
        });
        let edited = !pass.spec.edits.is_empty();
        let base = if edited { self.base_of_held(pass, true, control)? } else { None };
        let baseline = base.map_or_else(|| run.clone(), |base| base.baseline);
        let first = pass.spec.tokens.len().saturating_sub(1);
        let effects = self.effects_so_far(pass, at);
        Ok(Outcome { spec: pass.spec.clone(), baseline, run, first, kl: vec![], effects })
    }

    /// What each edit of a held pass did up to a hook. Why it has no effect is known once the pass is past all its hooks.
    fn effects_so_far(&self, pass: &HeldPass, at: HookPoint) -> Vec<EditEffect> {
        let (plan, lines) = (&pass.plan, &pass.spec.edits);
        let applied = pass.held.effects(plan, at);
        let of = |(number, effect): (usize, &Effect)| {
            let done = plan.steps.iter().filter(|step| step.edit == number).all(|step| step.point <= at);
            let no_effect = if done { no_effect(number, lines, plan, &applied, &self.schema) } else { None };
            EditEffect { effect: *effect, kl: vec![], no_effect }
        };
        applied.iter().enumerate().map(of).collect()
    }

    /// The outcome of a held pass that came to its end, as [`Engine::run`] gives it.
    ///
    /// # Errors
    /// The pass is not at its end, cancellation, tensor errors.
    pub fn finish(&mut self, pass: &HeldPass, first: usize, control: Control<'_>) -> Result<Outcome, RunError> {
        self.enable(&pass.spec);
        let (n_pos, cache) = (pass.spec.tokens.len(), pass.held.cache.clone());
        let first = first.min(n_pos.saturating_sub(1));
        let unfinished = || candle_core::Error::Msg("the pass is held".into());
        let normalized = cache.get(HookPoint::LnFinalNormalized).ok_or_else(unfinished)?;
        let normalized = normalized.to_dtype(self.loaded.model.dtype)?;
        let logits = self.loaded.model.unembed(&normalized.narrow(1, first, n_pos - first)?)?;
        let run = Run {
            tokens: pass.spec.tokens.clone(),
            cache,
            arrived: pass.held.arrived(&pass.plan),
            normalized,
            logits,
            undefined_rows: pass.held.undefined_rows(),
            elapsed: pass.elapsed,
            captured: Capture::All,
        };
        let effects = pass.held.effects(&pass.plan, HookPoint::LnFinalNormalized);
        self.outcome_of(&pass.spec, run, effects, first, control)
    }
}
