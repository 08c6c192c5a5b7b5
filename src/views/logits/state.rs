use std::{borrow::Cow, sync::atomic::AtomicBool};

use crate::{
    analysis::descending,
    engine::{Ask, Compare, Finished, Needs, NextTokens, Prediction, Reads, Unseen},
    experiment::Token,
    views::Scene,
};

#[derive(Clone, Debug, Default)]
pub struct Logits {
    /// The row of the list under the cursor.
    pub(super) row: usize,
    /// A token that was searched for, shown with its rank.
    pub sought: Option<Token>,
}

/// The next tokens after a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct After(pub usize);

impl Ask for After {
    type Answer = NextTokens;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Logits
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(NextTokens),
    ) -> Result<NextTokens, Unseen> {
        Ok(finished.outcome.next_tokens(self.0, finished.engine)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
        Ok(NextTokens::of_two(this, that))
    }
}

/// The next tokens on the screen, with the comparison applied.
pub(super) fn shown(scene: &Scene) -> Option<Cow<'_, NextTokens>> {
    let seen = scene.seen(&After(scene.cursor.pos))?.ok()?;
    let Some(before) = &seen.baseline else { return Some(Cow::Borrowed(seen)) };
    Some(match scene.compare() {
        Compare::Edited => Cow::Borrowed(seen),
        Compare::Difference => Cow::Owned(NextTokens { top: moved_most(&seen.top, &seen.was), ..seen.clone() }),
        Compare::Baseline => Cow::Owned(NextTokens {
            top: seen.was.iter().map(|p| as_before(p, before)).collect(),
            logits: before.clone(),
            ..seen.clone()
        }),
    })
}

/// A prediction of the baseline.
pub(super) fn as_before(p: &Prediction, baseline: &[f32]) -> Prediction {
    let logit = baseline.get(p.id as usize).copied().unwrap_or(f32::NAN);
    Prediction { logit, prob: p.baseline_prob, ..p.clone() }
}

/// The tokens whose probability changed most, among those likely before or after.
pub(super) fn moved_most(top: &[Prediction], was: &[Prediction]) -> Vec<Prediction> {
    let new = was.iter().filter(|p| !top.iter().any(|other| other.id == p.id));
    let mut all: Vec<Prediction> = top.iter().chain(new).cloned().collect();
    let moved = |p: &Prediction| (p.prob - p.baseline_prob).abs();
    all.sort_by(|a, b| descending(moved(a), moved(b)));
    all.truncate(top.len());
    all
}

impl Logits {
    /// Move to the likeliest token.
    pub fn to_top(&mut self) {
        self.row = 0;
    }
}
