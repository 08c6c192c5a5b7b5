use std::{borrow::Cow, sync::atomic::AtomicBool};

use crate::{
    analysis::{HeadScores, Score},
    engine::{Ask, Compare, Finished, Needs, Reads, Unseen, WithBaseline},
    hooks::BlockHook,
    views::Scene,
};

#[derive(Clone, Debug)]
pub struct Heads {
    pub(super) score: Score,
}

impl Default for Heads {
    fn default() -> Self {
        Self { score: Score::PreviousToken }
    }
}

/// The scores of every head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfEveryHead;

/// `[layer][head]`
pub(super) type Scores = Vec<Vec<HeadScores>>;

impl Ask for OfEveryHead {
    type Answer = WithBaseline<Scores>;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::EveryBlock(vec![BlockHook::Pattern])
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        Ok(finished.outcome.heads(finished.engine)?)
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

/// The scores on the screen, with the comparison applied.
pub(super) fn shown(scene: &Scene) -> Option<Cow<'_, Scores>> {
    let seen = scene.seen(&OfEveryHead)?.ok()?;
    Some(match (&seen.baseline, scene.compare()) {
        (None, _) | (_, Compare::Edited) => Cow::Borrowed(&seen.run),
        (Some(before), Compare::Baseline) => Cow::Borrowed(before),
        (Some(before), Compare::Difference) => {
            let rows = seen.run.iter().zip(before);
            Cow::Owned(rows.map(|(now, before)| now.iter().zip(before).map(less).collect()).collect())
        }
    })
}

pub(super) fn less((now, before): (&HeadScores, &HeadScores)) -> HeadScores {
    HeadScores::each(|score| score.of(now) - score.of(before))
}
