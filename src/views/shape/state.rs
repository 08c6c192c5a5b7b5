use std::sync::atomic::AtomicBool;

use crate::{
    engine::{Ask, Finished, Needs, Numbers, Reads, Statistics, Unseen, WithBaseline},
    hooks::HookPoint,
    views::Scene,
};

#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The first visible line.
    pub(super) scroll: u16,
}

/// The statistics of a hook, or of gradients with respect to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfHook {
    pub point: HookPoint,
    pub numbers: Numbers,
}

impl Ask for OfHook {
    type Answer = Statistics;

    fn needs(&self) -> Needs {
        self.numbers.needs(self.point)
    }

    fn reads(&self) -> Reads {
        self.numbers.reads(Reads::Hooks(vec![self.point]))
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Statistics),
    ) -> Result<Statistics, Unseen> {
        finished.statistics(self.point, self.numbers, cancel)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
        Ok(Statistics { stats: WithBaseline::of_two(this.stats, that.stats), ..this })
    }
}

impl Shape {
    pub(super) fn ask(scene: &Scene) -> Option<OfHook> {
        Some(OfHook { point: scene.point(), numbers: scene.numbers()? })
    }

    pub(super) fn seen(scene: &Scene) -> Option<Result<&Statistics, &str>> {
        scene.seen(&Self::ask(scene)?)
    }
}
