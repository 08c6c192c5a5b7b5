use std::{fmt, str::FromStr, sync::atomic::AtomicBool};

use candle_core::Tensor;

use super::{
    Attribution, Engine, Filling, LensCell, LensColumn, Map, Outcome, Prediction, Question, Run, Thumbnails,
    WhichAttention,
    effects::{values, with_values},
};
use crate::{
    analysis::{HeadScores, Stats, kl_divergence, stats},
    hooks::{Axis, BlockHook, HookPoint, RunError},
    names,
};

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

/// The most next tokens in the list of one position.
pub const LISTED: usize = 100;

/// Bins of the histogram.
const BINS: usize = 64;

impl Outcome {
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn look(&self, look: Look, engine: &Engine, cancel: &AtomicBool) -> Result<View, RunError> {
        match look {
            Look::Hook(point) => self.look_at_hook(point, engine),
            Look::Values { point, slice } => self.look_at_values(point, slice, engine),
            Look::Attention { block, head, which } => self.look_at_head(block, head, which, engine),
            Look::Patterns { block, which, compare, side } => {
                let blocks = block.map_or(0..engine.schema.dims.n_layers, |block| block..block + 1);
                self.thumbnails(engine, blocks, (which, compare), side, cancel)
            }
            Look::Logits { pos } => {
                let rows = self.logits(pos..pos + 1, engine)?;
                let found = rows.predictions(LISTED, engine);
                let first = |mut rows: Vec<Vec<Prediction>>| rows.pop().unwrap_or_default();
                let one = |mut rows: Vec<Vec<f32>>| rows.pop().unwrap_or_default();
                let (before, edited) = (one(rows.baseline), rows.edited.map(one));
                let kl = edited.as_ref().map(|after| kl_divergence(&before, after));
                let (logits, baseline) = match edited {
                    Some(after) => (after, Some(before)),
                    None => (before, None),
                };
                Ok(View::Logits { top: first(found.top), was: first(found.was), kl, logits, baseline })
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
    pub(super) fn unedited(&self) -> Option<&Run> {
        (!self.spec.edits.is_empty()).then_some(&*self.baseline)
    }

    fn look_at_hook(&self, point: HookPoint, engine: &Engine) -> Result<View, RunError> {
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

    fn look_at_values(&self, point: HookPoint, slice: Slice, engine: &Engine) -> Result<View, RunError> {
        let axes = engine.schema.axes(point);
        let matrix = |run: &Run| -> Result<Option<Tensor>, RunError> {
            if let (HookPoint::Block(block, hook), Some((Axis::Head, head))) = (point, slice.fixed)
                && run.cache.is_left_out(point)
            {
                // no more than is shown
                let found = engine.attention(run, block, hook, Some((head, 0..run.tokens.len())))?;
                let slice = Slice { fixed: Some((Axis::Head, 0)), ..slice };
                return Ok(found.map(|t| slice.of(&t, &axes)).transpose()?);
            }
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
    pub fn activation(&self, run: &Run, point: HookPoint) -> Result<Option<Tensor>, RunError> {
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
