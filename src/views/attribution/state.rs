use std::{borrow::Cow, sync::atomic::AtomicBool};

use super::component::Component;
use crate::{
    analysis::descending,
    engine::{Ask, Attribution as Parts, Compare, Finished, Needs, Reads, Unseen, WithBaseline},
    keys::Motion,
    paint::Hit,
    views::{Scene, moved, sideways, stepped},
};

#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// A map of layers and heads rather than a list of bars.
    pub(super) by_layer: bool,
    /// The component under the cursor; the largest if none was chosen.
    pub(super) component: Option<Component>,
}

/// The contribution of each component to `target`'s logit, minus `distractor`'s, after a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfLogit {
    pub pos: usize,
    pub target: u32,
    pub distractor: Option<u32>,
}

impl Ask for OfLogit {
    type Answer = WithBaseline<Parts>;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        finished.outcome.attribution(self.pos, self.target, self.distractor, finished.engine)
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

/// The parts with the comparison applied: for a difference, each is the difference of the two parts.
pub(super) fn compared(seen: &WithBaseline<Parts>, compare: Compare) -> Cow<'_, Parts> {
    match (&seen.baseline, compare) {
        (None, _) | (_, Compare::Edited) => Cow::Borrowed(&seen.run),
        (Some(before), Compare::Baseline) => Cow::Borrowed(before),
        (Some(before), Compare::Difference) => Cow::Owned(less(&seen.run, before)),
    }
}

/// The parts of one logit minus those of another; they sum to the difference of the logits.
pub(super) fn less(now: &Parts, before: &Parts) -> Parts {
    let row = |now: &[f64], before: &[f64]| now.iter().zip(before).map(|(a, b)| a - b).collect();
    Parts {
        embed: now.embed - before.embed,
        heads: now.heads.iter().zip(&before.heads).map(|(a, b)| row(a, b)).collect(),
        mlps: row(&now.mlps, &before.mlps),
        bias: now.bias - before.bias,
        constant: now.constant - before.constant,
        logit: now.logit - before.logit,
    }
}

impl Attribution {
    pub(super) fn ask(scene: &Scene) -> Option<OfLogit> {
        let (target, distractor) = scene.answer()?;
        let distractor = distractor.map(|token| token.id);
        Some(OfLogit { pos: scene.cursor.pos, target: target.id, distractor })
    }

    #[allow(clippy::unused_self, reason = "asked of the view, as elsewhere")]
    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a WithBaseline<Parts>, &'a str>> {
        scene.seen(&Self::ask(scene)?)
    }

    /// The parts on the screen.
    pub(super) fn parts<'a>(&self, scene: &'a Scene) -> Option<Cow<'a, Parts>> {
        Some(compared(self.seen(scene)?.ok()?, scene.compare()))
    }

    /// The components on the screen, the largest first.
    pub(super) fn components(&self, scene: &Scene) -> Vec<Component> {
        let (Some(Ok(seen)), Some(parts)) = (self.seen(scene), self.parts(scene)) else { return vec![] };
        let all = Component::all(&seen.run).into_iter().map(|c| (c, c.of(&parts).abs()));
        let mut all: Vec<(Component, f64)> = all.collect();
        all.sort_by(|a, b| descending(a.1, b.1));
        all.into_iter().map(|(component, _)| component).collect()
    }

    /// The component under the cursor.
    pub(super) fn chosen(&self, scene: &Scene) -> Option<Component> {
        self.component.or_else(|| self.components(scene).first().copied())
    }

    /// Move in the map, where the MLP is at the end of its row.
    pub(super) fn move_in_map(&mut self, now: Component, motion: Motion, scene: &Scene) {
        let (heads, layers) = (scene.schema.dims.n_heads, scene.schema.dims.n_layers);
        let (block, column) = place(now, heads).unwrap_or((0, 0));
        let (block, column) = match sideways(motion) {
            Some(by) => (block, stepped(column, by, heads + 1)),
            None => (moved(block, motion, scene.layout.page(), layers), column),
        };
        self.component = Some(at_place(block, column, heads));
    }
}

/// The place of a component in the map.
pub(super) fn place(component: Component, heads: usize) -> Option<Hit> {
    match component {
        Component::Head(block, head) => Some((block, head)),
        Component::Mlp(block) => Some((block, heads)),
        Component::Embed | Component::Bias | Component::Constant | Component::Remainder => None,
    }
}

/// The component at a place of the map.
pub(super) fn at_place(block: usize, column: usize, heads: usize) -> Component {
    if column < heads { Component::Head(block, column) } else { Component::Mlp(block) }
}
