//! What an edit of scores or patterns can do that attention itself never does.

use std::fmt;

use super::{Axis, BlockHook, Indices, Op, Plan, Step};

/// Something that a reader of an edited run should know. It is not an error: the edit is carried out as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caution {
    /// Rows of a pattern may no longer sum to 1.
    RowSums,
    /// A masked cell (key after query) is attended to.
    Unmasks,
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowSums => "rows need not sum to 1",
            Self::Unmasks => "unmasks later keys",
        })
    }
}

impl Plan {
    /// The most serious caution about the edits; None if there is none.
    #[must_use]
    pub fn caution(&self) -> Option<Caution> {
        self.steps.iter().filter_map(Step::caution).max()
    }
}

impl Step {
    fn caution(&self) -> Option<Caution> {
        if self.sent.is_some() {
            return None;
        }
        let masked = || selects_masked(&self.indices);
        let hook = self.point.block_hook()?;
        if hook == BlockHook::AttnScores {
            (lifts_mask(self.op) && masked()).then_some(Caution::Unmasks)
        } else if hook != BlockHook::Pattern {
            None
        } else if weighs_zeros(self.op) && masked() {
            Some(Caution::Unmasks)
        } else {
            changes_sums(self.op, &self.indices).then_some(Caution::RowSums)
        }
    }
}

/// Whether a selected key comes after a selected query.
fn selects_masked(indices: &Indices) -> bool {
    let at = |axis: Axis| indices.axes.iter().position(|other| *other == axis);
    let (Some(query), Some(key)) = (at(Axis::Query), at(Axis::Key)) else { return false };
    let first = indices.along[query].as_ref().map_or(Some(0), |along| along.first().copied());
    let last = indices.along[key].as_ref().map_or(indices.shape[key].checked_sub(1), |along| along.last().copied());
    first.zip(last).is_some_and(|(first, last)| last > first)
}

/// Whether a score of -inf changes.
#[allow(clippy::float_cmp, reason = "infinities")]
fn lifts_mask(op: Op) -> bool {
    match op {
        Op::Set(to) => to != f32::NEG_INFINITY,
        Op::Scale(by) => by.is_nan() || by <= 0.0,
        Op::Add(by) => by.is_nan() || by == f32::INFINITY,
        // a mean over a masked score is -inf, and so are masked scores of other runs; neither scores nor patterns take vectors
        Op::Mean
        | Op::Patch
        | Op::Freeze
        | Op::Noise { .. }
        | Op::Resample { .. }
        | Op::Steer { .. }
        | Op::Project(_)
        | Op::CorpusMean => false,
    }
}

/// Whether a weight of 0 changes.
fn weighs_zeros(op: Op) -> bool {
    match op {
        Op::Set(to) => to != 0.0,
        Op::Scale(by) => !by.is_finite(),
        Op::Add(by) => by != 0.0,
        Op::Mean => true,
        Op::Noise { sd, .. } => sd != 0.0,
        Op::Patch | Op::Freeze | Op::Steer { .. } | Op::Project(_) | Op::CorpusMean | Op::Resample { .. } => false,
    }
}

/// Whether a row's sum may change.
#[allow(clippy::float_cmp, reason = "the factor that changes nothing")]
fn changes_sums(op: Op, indices: &Indices) -> bool {
    let key = indices.axes.iter().position(|axis| *axis == Axis::Key);
    let whole_rows = || key.is_some_and(|key| indices.along[key].is_none());
    match op {
        Op::Set(_) => true,
        Op::Scale(by) => by != 1.0,
        Op::Add(by) => by != 0.0,
        Op::Noise { sd, .. } => sd != 0.0,
        Op::Mean | Op::Patch | Op::Freeze | Op::Resample { .. } => !whole_rows(),
        Op::Steer { .. } | Op::Project(_) | Op::CorpusMean => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::{Dims, Schema},
        model::ACTIVATIONS,
    };

    #[test]
    fn edits_that_unmask_or_change_sums_are_recognised() {
        let schema = Schema::new(Dims {
            n_layers: 2,
            n_heads: 2,
            d_head: 4,
            d_model: 8,
            d_mlp: 16,
            d_vocab: 50,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        });
        let (unmasks, sums) = (Some(Caution::Unmasks), Some(Caution::RowSums));
        for (edit, expected) in [
            ("hook_attn_scores = 0", unmasks),
            ("hook_attn_scores[query=2 key=3] = 1", unmasks),
            ("hook_attn_scores[query=2 key=2] = 1", None),
            ("hook_attn_scores[query=-1] = 0", None),
            ("hook_attn_scores[query=0,4 key=1] = 0", unmasks),
            ("hook_attn_scores = -inf", None),
            ("hook_attn_scores *= 2", None),
            ("hook_attn_scores *= -1", unmasks),
            ("hook_attn_scores *= 0", unmasks),
            ("hook_attn_scores += 3", None),
            ("hook_attn_scores += inf", unmasks),
            ("hook_attn_scores = mean", None),
            ("hook_attn_scores += noise 1", None),
            ("hook_attn_scores = freeze", None),
            ("hook_pattern = 0", sums),
            ("hook_pattern[query=1 key=3] = 0.5", unmasks),
            ("hook_pattern[query=3 key=1] = 0.5", sums),
            ("hook_pattern *= 0.5", sums),
            ("hook_pattern *= 1", None),
            ("hook_pattern = mean", unmasks),
            ("hook_pattern[query=-1] = mean", None),
            ("hook_pattern[query=-1 key=0] = mean", sums),
            ("hook_pattern = freeze", None),
            ("hook_pattern[key=0] = freeze", sums),
            ("hook_pattern += noise 0.1", unmasks),
            ("hook_z = 0", None),
        ] {
            let line = format!("blocks.*.attn.{edit}").parse().unwrap();
            let plan = Plan::resolve(&[line], &schema, 5, None).unwrap();
            assert_eq!(plan.caution(), expected, "{edit}");
        }
    }
}
