use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::{
    Attribution, Engine, Filling, LensCell, LensColumn, Map, Outcome, Prediction, Question, Run,
    effects::{values, with_values},
};
use crate::{
    analysis::{HeadScores, Stats, kl_divergence, stats},
    hooks::{Axis, BlockHook, EditError, HookPoint},
    names,
};

/// Which of a head's square matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichAttention {
    Pattern,
    Scores,
    /// The pattern times the L2 norm of each key's value vector (`hook_v`): how much is moved, not only how much is looked
    /// at. After Kobayashi et al., "Attention is Not Only a Weight" (2020), whose norm is taken behind `W_O`.
    ValueWeighted,
}

impl WhichAttention {
    pub const ALL: [Self; 3] = [Self::Pattern, Self::Scores, Self::ValueWeighted];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Scores => "scores",
            Self::ValueWeighted => "value-weighted",
        }
    }

    /// The hook that holds it, or that it is made from.
    #[must_use]
    pub fn hook(self) -> BlockHook {
        match self {
            Self::Pattern | Self::ValueWeighted => BlockHook::Pattern,
            Self::Scores => BlockHook::AttnScores,
        }
    }
}

/// What is shown where there are edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The edited run.
    Edited,
    /// The edited run less the baseline.
    Difference,
    /// The unedited run.
    Baseline,
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl FromStr for Compare {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find("comparison", name, &Self::ALL, Self::title)
    }
}

impl Compare {
    pub const ALL: [Self; 3] = [Self::Edited, Self::Difference, Self::Baseline];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Difference => "difference",
            Self::Baseline => "baseline",
        }
    }

    /// What is shown of a value and the baseline's.
    #[must_use]
    #[allow(clippy::float_cmp, reason = "equal values do not differ, infinities included")]
    pub fn of(self, now: f32, before: f32) -> f32 {
        match self {
            Self::Edited => now,
            Self::Difference if now == before => 0.0,
            Self::Difference => now - before,
            Self::Baseline => before,
        }
    }
}

/// Two axes of an activation as rows and columns, at one index of the axis that is left, if one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub rows: Axis,
    /// [`Axis::One`] where the activation has one axis only.
    pub columns: Axis,
    pub fixed: Option<(Axis, usize)>,
}

/// What the explorer is looking at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Look {
    Hook(HookPoint),
    Values {
        point: HookPoint,
        slice: Slice,
    },
    Attention {
        block: usize,
        head: usize,
        which: WhichAttention,
    },
    /// Every head of one block, or of all, each max-pooled to at most `side` rows and columns.
    Patterns {
        block: Option<usize>,
        which: WhichAttention,
        compare: Compare,
        side: usize,
    },
    /// The next tokens after one position.
    Logits {
        pos: usize,
    },
    /// The logit lens at `count` positions from `first` on.
    Lens {
        first: usize,
        count: usize,
    },
    Attribution {
        pos: usize,
        target: u32,
        distractor: Option<u32>,
    },
    Heads,
    /// A map of interventions, told while it fills in.
    Sweep {
        map: Map,
        question: Question,
    },
}

/// The data of one look; plain data. What is called `baseline` is there when there are edits.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "always behind an Arc")]
pub enum View {
    Hook {
        shape: Vec<usize>,
        dtype: String,
        stats: Stats,
        baseline: Option<Stats>,
    },
    /// Row-major `[rows, columns]`.
    Values {
        rows: usize,
        columns: usize,
        values: Vec<f32>,
        baseline: Option<Vec<f32>>,
    },
    /// Row-major `[query, key]`.
    Attention {
        values: Vec<f32>,
        baseline: Option<Vec<f32>>,
    },
    Patterns(Thumbnails),
    /// The likeliest next tokens, what the baseline thought likeliest, KL(baseline || edited) there, and every logit.
    Logits {
        top: Vec<Prediction>,
        was: Vec<Prediction>,
        kl: Option<f64>,
        logits: Vec<f32>,
        baseline: Option<Vec<f32>>,
    },
    /// The logit lens, `[layer][pos]`, the positions counted from `first`.
    Lens {
        first: usize,
        cells: Vec<Vec<LensCell>>,
        baseline: Option<Vec<Vec<LensCell>>>,
    },
    Attribution {
        parts: Attribution,
        baseline: Option<Attribution>,
    },
    /// The scores of every head, `[layer][head]`.
    Heads {
        scores: Vec<Vec<HeadScores>>,
        baseline: Option<Vec<Vec<HeadScores>>>,
    },
    Sweep(Filling),
    /// Nothing to see there, and why.
    Nothing(String),
}

impl View {
    /// The lens from its columns.
    pub(super) fn lens(first: usize, columns: &[&LensColumn]) -> Self {
        let rows = |of: fn(&LensColumn) -> &[LensCell]| -> Vec<Vec<LensCell>> {
            let layers = columns.first().map_or(0, |column| of(column).len());
            (0..layers).map(|layer| columns.iter().filter_map(|c| of(c).get(layer).cloned()).collect()).collect()
        };
        let baseline = Some(rows(|column| &column.baseline)).filter(|rows| !rows.is_empty());
        Self::Lens { first, cells: rows(|column| &column.cells), baseline }
    }
}

/// Heads' matrices, pooled: each cell is the largest of `pool` x `pool` values, or of a difference the one furthest from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnails {
    /// Rows and columns of each.
    pub side: usize,
    pub pool: usize,
    /// `[block][head]`, each row-major `[query, key]`; NaN where every value is masked.
    pub heads: Vec<Vec<Vec<f32>>>,
}

/// Next tokens in the list of one position.
const LISTED: usize = 100;

/// Bins of the histogram.
const BINS: usize = 64;

impl Outcome {
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn look(&self, look: Look, engine: &Engine, cancel: &AtomicBool) -> Result<View, EditError> {
        match look {
            Look::Hook(point) => self.look_at_hook(point, engine),
            Look::Values { point, slice } => self.look_at_values(point, slice, engine),
            Look::Attention { block, head, which } => self.look_at_head(block, head, which, engine),
            Look::Patterns { block, which, compare, side } => {
                let blocks = block.map_or(0..engine.schema.dims.n_layers, |block| block..block + 1);
                self.thumbnails(engine, blocks, (which, compare), side, cancel)
            }
            Look::Logits { pos } => {
                let found = self.predictions(LISTED, pos..pos + 1, engine)?;
                let first = |mut rows: Vec<Vec<Prediction>>| rows.pop().unwrap_or_default();
                let row = |run: &Run| values(&engine.logits(run, pos..pos + 1)?);
                let (logits, baseline) = (row(&self.run)?, self.unedited().map(row).transpose()?);
                Ok(View::Logits {
                    top: first(found.top),
                    was: first(found.was),
                    kl: baseline.as_ref().map(|before| kl_divergence(before, &logits)),
                    logits,
                    baseline,
                })
            }
            Look::Lens { first, count } => {
                let columns = engine.lens(self, first..first + count, cancel)?;
                Ok(View::lens(first, &columns.iter().collect::<Vec<_>>()))
            }
            Look::Attribution { pos, target, distractor } => {
                let parts = |run: &Run| engine.attribution(run, pos, target, distractor);
                let Some(now) = parts(&self.run)? else {
                    return Ok(View::Nothing("this run did not keep what attribution takes".into()));
                };
                Ok(View::Attribution { parts: now, baseline: self.unedited().map(parts).transpose()?.flatten() })
            }
            // needs runs, which whoever keeps the engine makes
            Look::Sweep { map, .. } => Ok(View::Nothing(format!("{} was not swept", map.name()))),
            Look::Heads => {
                let map = |run: &Run| engine.head_map(run);
                Ok(View::Heads { scores: map(&self.run)?, baseline: self.unedited().map(map).transpose()? })
            }
        }
    }

    /// The baseline, where it is another run than the one shown.
    fn unedited(&self) -> Option<&Run> {
        (!self.spec.edits.is_empty()).then_some(&*self.baseline)
    }

    fn look_at_hook(&self, point: HookPoint, engine: &Engine) -> Result<View, EditError> {
        let Some(now) = engine.activation(&self.run, point)? else { return Ok(off(point)) };
        let before = match self.unedited() {
            Some(run) => engine.activation(run, point)?,
            None => None,
        };
        Ok(View::Hook {
            shape: now.dims()[1..].to_vec(),
            dtype: now.dtype().as_str().to_string(),
            stats: with_values(&now, |all| stats(all, BINS))?,
            baseline: before.map(|t| with_values(&t, |all| stats(all, BINS))).transpose()?,
        })
    }

    fn look_at_values(&self, point: HookPoint, slice: Slice, engine: &Engine) -> Result<View, EditError> {
        let axes = engine.schema.axes(point);
        let matrix = |run: &Run| -> Result<Option<Tensor>, EditError> {
            Ok(engine.activation(run, point)?.map(|t| slice.of(&t, &axes)).transpose()?)
        };
        let Some(now) = matrix(&self.run)? else { return Ok(off(point)) };
        let (rows, columns) = now.dims2()?;
        let before = match self.unedited() {
            Some(run) => matrix(run)?.map(|t| values(&t)).transpose()?,
            None => None,
        };
        Ok(View::Values { rows, columns, values: values(&now)?, baseline: before })
    }

    fn look_at_head(
        &self,
        block: usize,
        head: usize,
        which: WhichAttention,
        engine: &Engine,
    ) -> Result<View, EditError> {
        let one = |run: &Run| -> Result<Option<Vec<f32>>, EditError> {
            engine.matrices(run, block, which, Some(head))?.map(|t| values(&t)).transpose()
        };
        let baseline = self.unedited().map(one).transpose()?.flatten();
        Ok(match one(&self.run)? {
            Some(values) => View::Attention { values, baseline },
            None => View::Nothing(format!("{} was not kept in this run", HookPoint::Block(block, which.hook()))),
        })
    }

    fn thumbnails(
        &self,
        engine: &Engine,
        blocks: std::ops::Range<usize>,
        (which, compare): (WhichAttention, Compare),
        side: usize,
        cancel: &AtomicBool,
    ) -> Result<View, EditError> {
        let n = self.spec.tokens.len();
        let pool = n.div_ceil(side.max(1)).max(1);
        let side = n.div_ceil(pool);
        let compare = if self.spec.edits.is_empty() { Compare::Edited } else { compare };
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            if cancel.load(Ordering::Relaxed) {
                return Err(EditError::Cancelled);
            }
            let of = |run: &Run| -> Result<Option<Vec<f32>>, EditError> {
                engine.matrices(run, block, which, None)?.map(|t| values(&t)).transpose()
            };
            let now = if compare == Compare::Baseline { None } else { of(&self.run)? };
            let before = if compare == Compare::Edited { None } else { of(&self.baseline)? };
            let whole = now.as_ref().or(before.as_ref()).map_or(0, Vec::len);
            let heads = (0..whole / (n * n).max(1)).into_par_iter().map(|head| {
                let at = |matrix: &Option<Vec<f32>>, i: usize| matrix.as_ref().map_or(0.0, |m| m[head * n * n + i]);
                pooled(n, pool, compare == Compare::Difference, |i| compare.of(at(&now, i), at(&before, i)))
            });
            all.push(heads.collect());
        }
        Ok(View::Patterns(Thumbnails { side, pool, heads: all }))
    }
}

/// Why an activation can't be seen.
fn off(point: HookPoint) -> View {
    View::Nothing(format!("{point} is off, as in TransformerLens"))
}

impl Engine {
    /// An activation of a run: kept, or derived from what was kept; None if it is off.
    ///
    /// # Shapes
    /// `[1, axes of the hook]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn activation(&self, run: &Run, point: HookPoint) -> Result<Option<Tensor>, EditError> {
        if let (HookPoint::Block(block, BlockHook::ResidMid), true) = (point, self.schema.dims.parallel) {
            let part = |hook| run.cache.get(HookPoint::Block(block, hook));
            let parts = part(BlockHook::ResidPre).zip(part(BlockHook::AttnOut));
            return Ok(parts.map(|(pre, out)| pre + out).transpose()?);
        }
        match (run.cache.get(point), point) {
            // off, but what it would be is one product away
            (None, HookPoint::Block(block, BlockHook::Result)) => {
                let z = run.cache.get(HookPoint::Block(block, BlockHook::Z));
                z.map(|z| self.loaded.model.head_results(block, z)).transpose()
            }
            (None, HookPoint::Block(block, hook)) if run.cache.is_left_out(point) => {
                self.attention(run, block, hook, None)
            }
            (kept, _) => Ok(kept.cloned()),
        }
    }

    /// Scores or pattern of a block, of one head or of all: kept, or computed again; None if it is neither.
    ///
    /// # Shapes
    /// Returns `[1, head, query, key]`.
    fn attention(
        &self,
        run: &Run,
        block: usize,
        hook: BlockHook,
        head: Option<usize>,
    ) -> Result<Option<Tensor>, EditError> {
        let kept = |hook, axis| -> Result<Option<Tensor>, EditError> {
            let Some(value) = run.cache.get(HookPoint::Block(block, hook)) else { return Ok(None) };
            Ok(Some(head.map_or_else(|| Ok(value.clone()), |head| value.narrow(axis, head, 1))?))
        };
        let found = kept(hook, 1)?;
        if found.is_some() || !run.cache.is_left_out(HookPoint::Block(block, hook)) {
            return Ok(found);
        }
        if hook == BlockHook::Pattern {
            let scores = self.attention(run, block, BlockHook::AttnScores, head)?;
            return scores.map(|scores| self.loaded.model.pattern(&scores)).transpose();
        }
        let pair = kept(BlockHook::RotQ, 2)?.zip(kept(BlockHook::RotK, 2)?);
        pair.map(|(q, k)| self.loaded.model.attn_scores(&q, &k)).transpose()
    }

    /// A block's matrices `[head, query, key]`, of one head or of all; None if they were not kept.
    fn matrices(
        &self,
        run: &Run,
        block: usize,
        which: WhichAttention,
        head: Option<usize>,
    ) -> Result<Option<Tensor>, EditError> {
        let Some(found) = self.attention(run, block, which.hook(), head)? else { return Ok(None) };
        let matrix = found.squeeze(0)?;
        if which != WhichAttention::ValueWeighted {
            return Ok(Some(matrix));
        }
        let Some(v) = run.cache.get(HookPoint::Block(block, BlockHook::V)) else { return Ok(None) };
        let v = v.narrow(2, head.unwrap_or(0), matrix.dim(0)?)?.squeeze(0)?.to_dtype(DType::F32)?;
        let norms = v.sqr()?.sum(D::Minus1)?.sqrt()?;
        Ok(Some(matrix.broadcast_mul(&norms.t()?.unsqueeze(1)?)?))
    }
}

impl Slice {
    /// The slice `[rows, columns]` of an activation `[1, axes]`.
    fn of(self, tensor: &Tensor, axes: &[Axis]) -> candle_core::Result<Tensor> {
        let mut matrix = tensor.squeeze(0)?;
        let mut axes = axes.to_vec();
        if let Some((axis, at)) = self.fixed
            && let Some(i) = axes.iter().position(|a| *a == axis)
        {
            matrix = matrix.narrow(i, at, 1)?.squeeze(i)?;
            axes.remove(i);
        }
        match axes.len() {
            1 => matrix.unsqueeze(1),
            _ if axes.first() == Some(&self.columns) => matrix.t()?.contiguous(),
            _ => Ok(matrix),
        }
    }
}

/// An `n` x `n` matrix pooled by `pool`: the largest value that is not masked, or with `furthest` the one furthest from 0.
#[allow(clippy::float_cmp, reason = "the mask's own values")]
fn pooled(n: usize, pool: usize, furthest: bool, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let side = n.div_ceil(pool);
    let mut out = vec![f32::NAN; side * side];
    for query in 0..n {
        for key in 0..n {
            let (new, old) = (value(query * n + key), &mut out[query / pool * side + key / pool]);
            // the future is masked, unless an edit opened it
            if key > query && (new == 0.0 || new == f32::NEG_INFINITY) {
                continue;
            }
            let wins = if furthest { new.abs() > old.abs() } else { new > *old };
            if old.is_nan() || wins {
                *old = new;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn pooling_keeps_the_largest_below_the_diagonal() {
        // row-major 3 x 3; what is above the diagonal is the future
        let m = [1.0, 0.0, 0.0, -4.0, 2.0, 0.0, 3.0, -5.0, 0.5];
        assert_eq!(pooled(3, 2, false, |i| m[i])[0], 2.0);
        assert_eq!(pooled(3, 2, true, |i| m[i])[0], -4.0);
        assert_eq!(pooled(3, 2, false, |i| m[i])[2..], [3.0, 0.5]);
        assert!(pooled(3, 2, false, |i| m[i])[1].is_nan());
    }
}
