//! A run with its edits, beside its baseline, and the proof of what each edit did.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Control, EditEffect, Engine, NoEffect, Run, Spec, base::Base, control::go_on, edit_effect::no_effect, host::rows,
};
use crate::{
    analysis::kl_divergence,
    hooks::{Capture, Edit, Effect, Interventions, Plan, RunError},
    model::{PassError, Start},
};

/// A run with its baseline and the proof of what each edit did. Without edits, the run is the baseline.
pub struct Outcome {
    pub spec: Spec,
    pub baseline: Arc<Run>,
    pub run: Arc<Run>,
    /// The first position whose prediction was requested.
    pub first: usize,
    /// KL(baseline || edited) in nats, at each position from that on; empty without edits.
    pub kl: Vec<f64>,
    pub effects: Vec<EditEffect>,
}

impl Outcome {
    /// A run without edits, which is its own baseline.
    pub(super) fn unedited_run(spec: &Spec, run: Arc<Run>, first: usize) -> Self {
        Self { spec: spec.clone(), baseline: run.clone(), run, first, kl: Vec::new(), effects: Vec::new() }
    }
}

/// The edits of a run, together and each alone.
struct Plans {
    all: Plan,
    alone: Vec<Plan>,
}

/// A divergence in nats that is rounding.
pub(super) const ROUNDING: f64 = 1e-10;

/// Positions whose logits are processed together.
const AT_ONCE: usize = 64;

impl Engine {
    /// Run `spec`, keeping the activations that `keep` names (after the edits), and predict the next token at the
    /// positions from `first` on. In a short prompt the unembedding is most of the work, so other predictions wait
    /// until they are requested.
    ///
    /// The baseline is run first, unless it is kept from an earlier run. The edited run then starts from the baseline's
    /// residual stream at the first block that an edit touches, and computes only the positions from the first edited
    /// one on.
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
        self.ready(spec, control)?;
        let first = first.min(spec.tokens.len().saturating_sub(1));
        let plans = self.plans(spec)?;
        let base = self.base_of(spec, keep, first, &plans, control)?;
        if spec.edits.is_empty() {
            return Ok(Outcome::unedited_run(spec, base.baseline, first));
        }
        let (run, applied) = self.edited(&spec.edits, &plans.all, keep, first, &base, control)?;
        self.compared_with(&base, spec, &plans, (run, applied), first, control)
    }

    /// The outcome of a run that was made another way, whose edits did this.
    pub(super) fn outcome_of(
        &mut self,
        spec: &Spec,
        run: Run,
        applied: Vec<Effect>,
        first: usize,
        control: Control<'_>,
    ) -> Result<Outcome, RunError> {
        if spec.edits.is_empty() {
            let run = Arc::new(run);
            self.keep_unedited(run.clone());
            return Ok(Outcome::unedited_run(spec, run, first));
        }
        let plans = self.plans(spec)?;
        let base = self.base_of(spec, &Capture::All, first, &plans, control)?;
        self.compared_with(&base, spec, &plans, (run, applied), first, control)
    }

    fn plans(&self, spec: &Spec) -> Result<Plans, RunError> {
        // each of several edits is also run alone, from where it begins
        let alone = |edit: &Edit| self.plan(std::slice::from_ref(edit), spec);
        let alone = spec.edits.iter().map(alone).collect::<Result<_, _>>()?;
        Ok(Plans { all: self.plan(&spec.edits, spec)?, alone })
    }

    /// The unedited runs that a run and its comparison stand on.
    fn base_of(
        &mut self,
        spec: &Spec,
        keep: &Capture,
        first: usize,
        plans: &Plans,
        control: Control<'_>,
    ) -> Result<Base, RunError> {
        let all: Vec<&Plan> = plans.alone.iter().chain([&plans.all]).collect();
        let mut needed = BTreeSet::new();
        if !plans.alone.is_empty() {
            needed.extend(self.resumable(all.iter().copied(), spec.tokens.len()));
        }
        let from_baseline = match keep {
            Capture::All => Capture::All,
            Capture::None => Capture::Only(needed),
            Capture::Only(points) => Capture::Only(points.iter().copied().chain(needed).collect()),
        };
        self.base(spec, &from_baseline, first, &all, control)
    }

    /// Compare an edited run with the baseline, and each of its edits by itself.
    fn compared_with(
        &self,
        base: &Base,
        spec: &Spec,
        plans: &Plans,
        (run, applied): (Run, Vec<Effect>),
        first: usize,
        control: Control<'_>,
    ) -> Result<Outcome, RunError> {
        let (baseline, plan) = (base.baseline.clone(), &plans.all);
        let kl_of = |run: &Run, at: Range<usize>| -> Result<Vec<f64>, RunError> {
            let (before, after) = (rows(&self.logits(&baseline, at.clone())?)?, rows(&self.logits(run, at)?)?);
            Ok(before.par_iter().zip(&after).map(|(before, after)| kl_divergence(before, after)).collect())
        };
        let asked = first..spec.tokens.len();
        let kl = kl_of(&run, asked.clone())?;
        // whether no prediction moved, at the requested positions and at those before
        let no_output_change = || -> Result<bool, RunError> {
            let felt = |kl: &[f64]| kl.iter().any(|kl| *kl >= ROUNDING || kl.is_nan());
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
                let (run, _) = self.edited(alone, &plans.alone[number], &Capture::None, first, base, control)?;
                kl_of(&run, asked.clone())?
            };
            let no_effect = no_effect(number, &spec.edits, plan, &applied, &self.schema);
            let no_effect = match no_effect {
                // an edit without an effect alone may have one beside other edits
                None if spec.edits.len() == 1 && no_output_change()? => Some(NoEffect::NoOutputChange),
                known => known,
            };
            effects.push(EditEffect { effect, kl, no_effect });
        }
        Ok(Outcome { spec: spec.clone(), baseline, run: Arc::new(run), first, kl, effects })
    }

    /// The edited run, from where it can resume.
    pub(super) fn edited(
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
                Start::Next { past, .. } => (None, past.positions),
            };
            let hooks = Interventions::new(plans, edits, keep.clone(), base.references(), self.schema.dims.d_vocab);
            let dictionaries = self.dictionaries(&baseline.tokens, &base.features);
            let passed = self.pass(
                start,
                &baseline.tokens,
                hooks.after(past).with_dictionaries(&dictionaries),
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
}
