use std::sync::atomic::AtomicBool;

use crate::engine::{Ask, Compare, Finished, Needs, Numbers, Reads, Thumbnails, Unseen, WhichAttention, WithBaseline};
use crate::hooks::{BlockHook, HookPoint};

/// The matrix of one head, or gradients with respect to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfHead {
    pub block: usize,
    pub head: usize,
    pub which: WhichAttention,
    pub numbers: Numbers,
}

impl Ask for OfHead {
    /// Row-major `[query, key]`.
    type Answer = WithBaseline<Vec<f32>>;

    fn needs(&self) -> Needs {
        self.numbers.needs(HookPoint::Block(self.block, BlockHook::Pattern))
    }

    fn reads(&self) -> Reads {
        let hooks = self.which.hooks().map(|hook| HookPoint::Block(self.block, hook));
        self.numbers.reads(Reads::Hooks(hooks.collect()))
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        finished.head_attention(self.block, self.head, (self.which, self.numbers), cancel)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
        Ok(WithBaseline::of_two(this, that))
    }
}

/// Every head of one block, or of all, each max-pooled to at most `side` rows and columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfHeads {
    pub block: Option<usize>,
    pub which: WhichAttention,
    pub numbers: Numbers,
    pub compare: Compare,
    pub side: usize,
}

impl Ask for OfHeads {
    type Answer = Thumbnails;

    fn needs(&self) -> Needs {
        let Some(block) = self.block else { return Needs::Pass };
        self.numbers.needs(HookPoint::Block(block, BlockHook::Pattern))
    }

    fn reads(&self) -> Reads {
        let hooks = self.which.hooks();
        self.numbers.reads(match self.block {
            Some(block) => Reads::Hooks(hooks.map(|hook| HookPoint::Block(block, hook)).collect()),
            None => Reads::EveryBlock(hooks.collect()),
        })
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Thumbnails),
    ) -> Result<Thumbnails, Unseen> {
        let blocks = self.block.map_or(0..finished.engine.schema.dims.n_layers, |block| block..block + 1);
        finished.thumbnails(blocks, (self.which, self.numbers, self.compare), self.side, cancel)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let blocks = self.block.map_or(0..this.engine.schema.dims.n_layers, |block| block..block + 1);
        this.thumbnails_of_two(that, blocks, (self.which, self.numbers, self.compare), self.side, cancel)
    }
}
