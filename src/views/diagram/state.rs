use std::sync::atomic::AtomicBool;

use crate::{
    engine::{Ask, Compare, Finished, HookTotals, Needs, Numbers, Reads, Unseen},
    hooks::HookPoint,
    views::Scene,
};

/// The diagram's cursor is the selected hook.
#[derive(Clone, Debug, Default)]
pub struct Diagram {
    /// Whether `a` ablates only one head of a hook that has heads.
    pub(super) one_head: bool,
}

/// The totals of gradients, or of their products, at every hook; and which of two models they are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfEveryHook(pub Numbers, pub Compare);

impl Ask for OfEveryHook {
    type Answer = HookTotals;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(HookTotals),
    ) -> Result<HookTotals, Unseen> {
        finished.totals(self.0, None, cancel)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.1 {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => this.totals(self.0, Some(that), cancel),
        }
    }
}

impl Diagram {
    /// The request; None if it shows how far edits changed each hook.
    pub(super) fn ask(scene: &Scene) -> Option<OfEveryHook> {
        let numbers = scene.numbers().filter(|numbers| numbers.is_gradient())?;
        Some(OfEveryHook(numbers, scene.compared_models()))
    }

    pub(super) fn seen(scene: &Scene) -> Option<Result<&HookTotals, &str>> {
        scene.seen(&Self::ask(scene)?)
    }

    /// The total of a hook's gradients, if they are shown.
    pub(super) fn total(scene: &Scene, point: HookPoint) -> Option<f64> {
        Self::seen(scene)?.ok()?.0.get(&point).copied()
    }
}
