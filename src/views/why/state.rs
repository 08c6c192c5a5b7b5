use std::{borrow::Cow, sync::atomic::AtomicBool};

use crate::{
    engine::{Ask, Compare, Explained, Finished, Needs, Reads, ScoreCell, Unseen, WithBaseline},
    views::Scene,
};

#[derive(Clone, Debug, Default)]
pub struct Why {
    pub(super) of: Number,
    /// The row and column of the matrix under the cursor.
    pub(super) cell: (usize, usize),
    pub(super) zoom: u8,
}

/// The number to explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Number {
    /// The attention score under the cursor of Attention, by component on either side.
    #[default]
    Score,
    /// The target's logit at the cursor's position, by component and source position.
    Logit,
}

impl Number {
    pub(super) const ALL: [Self; 2] = [Self::Score, Self::Logit];
}

/// The request to explain an attention score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfScore(pub ScoreCell);

impl Ask for OfScore {
    type Answer = WithBaseline<Explained>;

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
        let explain = |run| finished.engine.explain_score(run, self.0).map_err(|e| Unseen::Nothing(e.to_string()));
        let run = explain(&finished.outcome.run)?;
        Ok(WithBaseline { run, baseline: finished.outcome.unedited().map(explain).transpose()? })
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

/// The request to explain a logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfLogitByPosition {
    pub pos: usize,
    pub target: u32,
}

impl Ask for OfLogitByPosition {
    type Answer = WithBaseline<Explained>;

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
        let explain = |run| {
            let explained = finished.engine.explain_logit(run, self.pos, self.target);
            explained.map_err(|e| Unseen::Nothing(e.to_string()))
        };
        let run = explain(&finished.outcome.run)?;
        Ok(WithBaseline { run, baseline: finished.outcome.unedited().map(explain).transpose()? })
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

impl Why {
    pub(super) fn score(scene: &Scene) -> OfScore {
        OfScore(ScoreCell {
            block: scene.block(),
            head: scene.cursor.head,
            query: scene.cursor.pos,
            key: scene.cursor.key,
        })
    }

    pub(super) fn logit(scene: &Scene) -> Option<OfLogitByPosition> {
        let (target, _) = scene.answer()?;
        Some(OfLogitByPosition { pos: scene.cursor.pos, target: target.id })
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a WithBaseline<Explained>, &'a str>> {
        match self.of {
            Number::Score => scene.seen(&Self::score(scene)),
            Number::Logit => scene.seen(&Self::logit(scene)?),
        }
    }

    /// What is on the screen, the comparison applied.
    pub(super) fn shown<'a>(&self, scene: &'a Scene) -> Option<Cow<'a, Explained>> {
        let seen = self.seen(scene)?.ok()?;
        Some(match (scene.compare(), &seen.baseline) {
            (Compare::Edited, _) | (_, None) => Cow::Borrowed(&seen.run),
            (Compare::Baseline, Some(before)) => Cow::Borrowed(before),
            (Compare::Difference, Some(before)) => Cow::Owned(less(&seen.run, before)),
        })
    }
}

/// The parts of one number minus those of another; they sum to the difference of the numbers.
fn less(now: &Explained, before: &Explained) -> Explained {
    let row = |(now, before): (&Vec<f64>, &Vec<f64>)| now.iter().zip(before).map(|(a, b)| a - b).collect();
    Explained {
        score: now.score - before.score,
        matrix: now.matrix.iter().zip(&before.matrix).map(row).collect(),
        sum: now.sum - before.sum,
        ..now.clone()
    }
}
