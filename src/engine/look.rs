use super::{Engine, LensCell, Outcome, effects::values};
use crate::{
    analysis::{HeadScores, Stats, stats},
    hooks::{BlockHook, EditError, HookPoint},
};

/// Which of a head's two square matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichAttention {
    Pattern,
    Scores,
}

impl WhichAttention {
    #[must_use]
    pub fn hook(self) -> BlockHook {
        match self {
            Self::Pattern => BlockHook::Pattern,
            Self::Scores => BlockHook::AttnScores,
        }
    }
}

/// What the explorer is looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Hook(HookPoint),
    Attention { block: usize, head: usize, which: WhichAttention },
    Lens,
    Heads,
}

/// The data of one look; plain data.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "always behind an Arc")]
pub enum View {
    Hook {
        shape: Vec<usize>,
        dtype: String,
        stats: Stats,
        /// The same statistics of the baseline, when there are edits.
        baseline: Option<Stats>,
    },
    /// Row-major `[query, key]`.
    Attention { values: Vec<f32>, baseline: Option<Vec<f32>> },
    /// The logit lens, `[layer][pos]`.
    Lens(Vec<Vec<LensCell>>),
    /// The scores of every head, `[layer][head]`.
    Heads(Vec<Vec<HeadScores>>),
    /// Nothing to see there, and why.
    Nothing(String),
}

/// Bins of the histogram.
const BINS: usize = 64;

impl Outcome {
    /// # Errors
    /// Tensor errors.
    pub fn look(&self, look: Look, engine: &Engine) -> Result<View, EditError> {
        match look {
            Look::Hook(point) => self.look_at_hook(point, engine.schema.dims.parallel),
            Look::Lens => Ok(View::Lens(engine.lens(self)?)),
            Look::Heads => Ok(View::Heads(engine.head_map(self)?)),
            Look::Attention { block, head, which } => {
                let point = HookPoint::Block(block, which.hook());
                let matrix = |run: &super::Run| -> Result<Option<Vec<f32>>, EditError> {
                    run.cache.get(point).map(|t| values(&t.narrow(1, head, 1)?)).transpose()
                };
                let baseline = if self.spec.edits.is_empty() { None } else { matrix(&self.baseline)? };
                Ok(match matrix(&self.run)? {
                    Some(values) => View::Attention { values, baseline },
                    None => View::Nothing(format!("{point} was not kept in this run")),
                })
            }
        }
    }

    fn look_at_hook(&self, point: HookPoint, parallel: bool) -> Result<View, EditError> {
        let activation = |run: &super::Run| -> Result<Option<candle_core::Tensor>, EditError> {
            if let (HookPoint::Block(block, BlockHook::ResidMid), true) = (point, parallel) {
                let part = |hook| run.cache.get(HookPoint::Block(block, hook));
                let parts = part(BlockHook::ResidPre).zip(part(BlockHook::AttnOut));
                return Ok(parts.map(|(pre, out)| pre + out).transpose()?);
            }
            Ok(run.cache.get(point).cloned())
        };
        let Some(now) = activation(&self.run)? else {
            return Ok(View::Nothing(format!(
                "{point} is off, as in TransformerLens; start with --enable {}",
                point.short_name()
            )));
        };
        let baseline = match self.spec.edits.is_empty() {
            true => None,
            false => activation(&self.baseline)?.map(|t| values(&t)).transpose()?.map(|v| stats(&v, BINS)),
        };
        Ok(View::Hook {
            shape: now.dims()[1..].to_vec(),
            dtype: now.dtype().as_str().to_string(),
            stats: stats(&values(&now)?, BINS),
            baseline,
        })
    }
}
