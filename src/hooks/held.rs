//! A pass that stops at a hook and goes on from there: what it has computed, and the hooks that compute no more than is missing.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{
    ActivationCache, BlockHook, Effect, HookPoint, Hooks, Interventions, Known, Plan, Received, RunError, Schema, Step,
    features::reads, path_deltas::Written,
};

/// A hook, and how often it fired before in the same pass: LayerNorm runs on each input of a block whose queries, keys and values
/// read streams of their own.
type Firing = (HookPoint, u8);

/// Inputs of such a block.
const INPUTS: u8 = 3;

/// What a pass has computed so far.
#[derive(Default)]
pub struct Held {
    /// Activations after the edits.
    pub cache: ActivationCache,
    /// The last hook that was reached.
    reached: Option<HookPoint>,
    returned: BTreeMap<Firing, Tensor>,
    /// The same before the edits.
    computed: BTreeMap<Firing, Tensor>,
    /// What paths made of readers' inputs.
    received: BTreeMap<HookPoint, Vec<Received>>,
    written: Written,
    /// What the edits did at a hook, in their order.
    effects: BTreeMap<Firing, Vec<Effect>>,
    /// By block, the attention rows that were set to 0.
    undefined: BTreeMap<usize, usize>,
}

impl Held {
    /// The last hook that was reached.
    #[must_use]
    pub fn reached(&self) -> Option<HookPoint> {
        self.reached
    }

    /// Attention rows without a finite score, set to 0.
    #[must_use]
    pub fn undefined_rows(&self) -> usize {
        self.undefined.values().sum()
    }

    /// Go on with another plan: what depends on none of its differences stays.
    ///
    /// # Errors
    /// Those of `sent`, which gives what a sender wrote whose hook is off.
    pub fn replan(
        &mut self,
        old: &Plan,
        new: &Plan,
        sent: impl Fn(HookPoint, &ActivationCache) -> Result<Option<Tensor>, RunError>,
    ) -> Result<(), RunError> {
        let points = old.steps.iter().chain(&new.steps).map(|step| step.point);
        if let Some(first) = points.filter(|point| !same_at(*point, old, new)).min() {
            self.forget_from(first);
        }
        let senders = new.steps.iter().filter_map(|step| step.sent.as_ref()).map(|sent| sent.point);
        for point in senders.filter(|point| self.reached.is_some_and(|reached| *point <= reached)) {
            if let Some(value) = sent(point, &self.cache)? {
                self.written.insert(point, value);
            }
        }
        Ok(())
    }

    /// Forget what the pass made of the value at `point`, which itself stays as it was computed.
    fn forget_from(&mut self, point: HookPoint) {
        self.cache.forget_from(point);
        self.returned.retain(|(at, _), _| *at < point);
        self.computed.retain(|(at, _), _| *at <= point);
        self.effects.retain(|(at, _), _| *at < point);
        self.received.retain(|at, _| *at < point);
        self.written.forget_from(point);
        self.undefined.retain(|block, _| HookPoint::Block(*block, BlockHook::Pattern) <= point);
        self.reached = self.cache.points().last().copied();
    }

    /// The values that arrived at hooks whose features a plan edits.
    #[must_use]
    pub fn arrived(&self, plan: &Plan) -> ActivationCache {
        let mut arrived = ActivationCache::default();
        for step in plan.steps.iter().filter(|step| step.features) {
            if let Some(value) = self.computed.get(&(step.point, 0)) {
                arrived.insert(step.point, value.clone());
            }
        }
        arrived
    }

    /// What each edit of the plan did, at the hooks up to `at`.
    #[must_use]
    pub fn effects(&self, plan: &Plan, at: HookPoint) -> Vec<Effect> {
        let mut all = vec![Effect::default(); plan.edits];
        for ((point, _), effects) in self.effects.iter().filter(|((point, _), _)| *point <= at) {
            for (edit, effect) in edits_at(*point, plan).into_iter().zip(effects) {
                let sum = &mut all[edit];
                sum.touched += effect.touched;
                sum.changed += effect.changed;
                sum.delta_l2 = sum.delta_l2.hypot(effect.delta_l2);
            }
        }
        all
    }
}

/// The edits that do something at a hook, in order.
fn edits_at(point: HookPoint, plan: &Plan) -> Vec<usize> {
    let mut edits: Vec<usize> = plan.steps.iter().filter(|step| step.point == point).map(|step| step.edit).collect();
    edits.dedup();
    edits
}

/// Whether two plans do the same at a hook, whatever the numbers of their edits.
fn same_at(point: HookPoint, a: &Plan, b: &Plan) -> bool {
    let at = |plan: &Plan| -> Vec<Step> {
        let steps = plan.steps.iter().filter(|step| step.point == point);
        steps.map(|step| Step { edit: 0, ..step.clone() }).collect()
    };
    at(a) == at(b) && edits_at(point, a).len() == edits_at(point, b).len()
}

/// Sees a value that a held pass reached, after the edits; says whether the pass is to stop there.
pub type Reached<'a> = dyn FnMut(HookPoint, &Tensor) -> Result<bool, RunError> + 'a;

/// Lets a pass compute what is missing of [`Held`], and stops it with [`RunError::Cancelled`] at the hook it is to go to.
pub struct Stepper<'a> {
    inner: Interventions<'a>,
    held: &'a mut Held,
    schema: &'a Schema,
    until: Option<HookPoint>,
    reached: &'a mut Reached<'a>,
    fired: BTreeMap<HookPoint, u8>,
    /// Where it stopped the pass.
    pub stopped: Option<HookPoint>,
}

impl<'a> Stepper<'a> {
    /// Go on as far as `until`, or to the end. `inner` carries out the edits of one plan.
    #[must_use]
    pub fn new(
        mut inner: Interventions<'a>,
        held: &'a mut Held,
        schema: &'a Schema,
        until: Option<HookPoint>,
        reached: &'a mut Reached<'a>,
    ) -> Self {
        inner.cache = std::mem::take(&mut held.cache);
        for (point, value) in inner.cache.iter().filter(|(point, _)| reads(*point)) {
            inner.before.insert(point, value.clone());
        }
        inner.written = std::mem::take(&mut held.written);
        Self { inner, held, schema, until, reached, fired: BTreeMap::new(), stopped: None }
    }

    fn firing(&self, point: HookPoint) -> Firing {
        (point, self.fired.get(&point).copied().unwrap_or(0))
    }

    fn count(&mut self, point: HookPoint) {
        *self.fired.entry(point).or_default() += 1;
    }

    /// Whether the hook fires again in this pass.
    fn fires_again(&self, (point, before): Firing) -> bool {
        let HookPoint::Block(block, BlockHook::Ln1Scale | BlockHook::Ln1Normalized) = point else { return false };
        self.schema.is_split(block) && before + 1 < INPUTS
    }

    /// What the edits did since the last call.
    fn take_effects(&mut self, firing: Firing) {
        let plan = self.inner.plan();
        let all = &mut self.inner.effects[0];
        let effects = edits_at(firing.0, plan).into_iter().map(|edit| std::mem::take(&mut all[edit])).collect();
        self.held.effects.insert(firing, effects);
    }
}

impl Drop for Stepper<'_> {
    fn drop(&mut self) {
        self.held.cache = std::mem::take(&mut self.inner.cache);
        self.held.written = std::mem::take(&mut self.inner.written);
    }
}

impl Hooks for Stepper<'_> {
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let firing = self.firing(point);
        self.held.computed.insert(firing, value.clone());
        let value = self.inner.at(point, value)?;
        self.take_effects(firing);
        self.held.returned.insert(firing, value.clone());
        self.count(point);
        if self.fires_again(firing) {
            // what a run keeps is of the last time
            self.inner.cache.forget(point);
        } else {
            self.held.reached = self.held.reached.max(Some(point));
            let stops = (self.reached)(point, &value)?;
            if stops || self.until.is_some_and(|until| point >= until) {
                self.stopped = Some(point);
                return Err(RunError::Cancelled);
            }
        }
        Ok(value)
    }

    fn known(&mut self, point: HookPoint) -> Option<Known> {
        let firing = self.firing(point);
        if let Some(value) = self.held.returned.get(&firing).cloned() {
            self.count(point);
            return Some(Known::Returned(value));
        }
        self.held.computed.get(&firing).cloned().map(Known::Computed)
    }

    fn watches(&self, point: HookPoint) -> bool {
        self.inner.watches(point)
    }

    fn skipped(&mut self, point: HookPoint) {
        self.inner.skipped(point);
    }

    fn sends(&self, point: HookPoint) -> bool {
        self.inner.sends(point)
    }

    fn sent(&mut self, point: HookPoint, value: Tensor) {
        self.inner.sent(point, value);
    }

    fn received(&mut self, point: HookPoint, stream: &Tensor) -> Result<Vec<Received>, RunError> {
        if let Some(known) = self.held.received.get(&point) {
            return Ok(known.clone());
        }
        let received = self.inner.received(point, stream)?;
        self.take_effects((point, 0));
        self.held.received.insert(point, received.clone());
        Ok(received)
    }

    fn aside(&self, point: HookPoint, row: usize, value: Tensor) -> Result<Tensor, RunError> {
        self.inner.aside(point, row, value)
    }

    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        self.inner.entering(block)
    }

    fn undefined_rows(&mut self, block: usize, rows: usize) {
        self.held.undefined.insert(block, rows);
    }
}
