//! The edited run, its difference from the baseline, or the baseline: the one place where that is applied to a view.

use std::borrow::Cow;

use super::State;
use crate::{
    analysis::{HeadScores, descending},
    engine::{Attribution, Compare, Prediction, View},
};

impl State {
    /// What is compared on the screen: nothing, where the run on it has no edits.
    #[must_use]
    pub fn compare(&self) -> Compare {
        let edited = self.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty());
        if edited { self.looks.compare } else { Compare::Edited }
    }

    /// The answer to the current look, the comparison applied; None while it is on its way.
    ///
    /// A lens keeps its cells in a difference: what it is coloured by then is how far each moved. Statistics stand beside
    /// the baseline's in any case, pictures of several heads come compared, and a sweep is of the edited run.
    #[must_use]
    pub fn compared(&self) -> Option<Cow<'_, View>> {
        let (view, compare) = (self.view()?, self.compare());
        if compare == Compare::Edited {
            return Some(Cow::Borrowed(view));
        }
        let matrix = |values: &[f32], before: &Option<Vec<f32>>| match before {
            Some(before) => values.iter().zip(before).map(|(now, before)| compare.of(*now, *before)).collect(),
            None => values.to_vec(),
        };
        Some(Cow::Owned(match view {
            View::Values { rows, columns, values, baseline } => View::Values {
                rows: *rows,
                columns: *columns,
                values: matrix(values, baseline),
                baseline: baseline.clone(),
            },
            View::Attention { values, baseline } => {
                View::Attention { values: matrix(values, baseline), baseline: baseline.clone() }
            }
            View::Lens { first, baseline: Some(before), .. } if compare == Compare::Baseline => {
                View::Lens { first: *first, cells: before.clone(), baseline: Some(before.clone()) }
            }
            View::Attribution { parts, baseline: Some(before) } => {
                let parts = if compare == Compare::Baseline { before.clone() } else { less(parts, before) };
                View::Attribution { parts, baseline: Some(before.clone()) }
            }
            View::Heads { scores, baseline: Some(before) } => {
                let rows = scores.iter().zip(before).map(|(now, before)| {
                    now.iter().zip(before).map(|(now, before)| compared_scores(compare, now, before)).collect()
                });
                View::Heads { scores: rows.collect(), baseline: Some(before.clone()) }
            }
            View::Logits { top, was, kl, logits, baseline: Some(before) } => View::Logits {
                top: match compare {
                    Compare::Baseline => was.iter().map(|p| as_before(p, before)).collect(),
                    _ => moved_most(top, was),
                },
                was: was.clone(),
                kl: *kl,
                logits: if compare == Compare::Baseline { before.clone() } else { logits.clone() },
                baseline: Some(before.clone()),
            },
            other => other.clone(),
        }))
    }
}

/// The parts of one logit less those of the other; each is a sum, so that the difference is one, too.
fn less(now: &Attribution, before: &Attribution) -> Attribution {
    let row = |now: &[f64], before: &[f64]| now.iter().zip(before).map(|(a, b)| a - b).collect();
    Attribution {
        embed: now.embed - before.embed,
        heads: now.heads.iter().zip(&before.heads).map(|(a, b)| row(a, b)).collect(),
        mlps: row(&now.mlps, &before.mlps),
        bias: now.bias - before.bias,
        constant: now.constant - before.constant,
        logit: now.logit - before.logit,
    }
}

fn compared_scores(compare: Compare, now: &HeadScores, before: &HeadScores) -> HeadScores {
    let of = |now: f64, before: f64| if compare == Compare::Baseline { before } else { now - before };
    HeadScores::each(|score| of(score.of(now), score.of(before)))
}

/// A prediction as the baseline made it.
fn as_before(p: &Prediction, baseline: &[f32]) -> Prediction {
    let logit = baseline.get(p.id as usize).copied().unwrap_or(f32::NAN);
    Prediction { logit, prob: p.baseline_prob, ..p.clone() }
}

/// The tokens whose probability moved most, of those likely before or after.
fn moved_most(top: &[Prediction], was: &[Prediction]) -> Vec<Prediction> {
    let new = was.iter().filter(|p| !top.iter().any(|other| other.id == p.id));
    let mut all: Vec<Prediction> = top.iter().chain(new).cloned().collect();
    let moved = |p: &Prediction| (p.prob - p.baseline_prob).abs();
    all.sort_by(|a, b| descending(moved(a), moved(b)));
    all.truncate(top.len());
    all
}
