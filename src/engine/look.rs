use super::{Engine, LensCell, Outcome, Prediction, effects::values};
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
    Attention {
        block: usize,
        head: usize,
        which: WhichAttention,
    },
    /// The next tokens after one position.
    Logits {
        pos: usize,
    },
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
    /// The likeliest next tokens, what the baseline thought likeliest, and KL(baseline || edited) there.
    Logits { top: Vec<Prediction>, was: Vec<Prediction>, kl: Option<f64> },
    /// The logit lens, `[layer][pos]`.
    Lens(Vec<Vec<LensCell>>),
    /// The scores of every head, `[layer][head]`.
    Heads(Vec<Vec<HeadScores>>),
    /// Nothing to see there, and why.
    Nothing(String),
}

/// Next tokens in the list of one position.
const LISTED: usize = 100;

/// Bins of the histogram.
const BINS: usize = 64;

impl Outcome {
    /// # Errors
    /// Tensor errors.
    pub fn look(&self, look: Look, engine: &Engine) -> Result<View, EditError> {
        match look {
            Look::Hook(point) => self.look_at_hook(point, engine),
            Look::Logits { pos } => {
                let found = self.predictions(LISTED, pos..pos + 1, &engine.loaded.tokenizer)?;
                let first = |mut rows: Vec<Vec<Prediction>>| rows.pop().unwrap_or_default();
                Ok(View::Logits { top: first(found.top), was: first(found.was), kl: self.kl.get(pos).copied() })
            }
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

    fn look_at_hook(&self, point: HookPoint, engine: &Engine) -> Result<View, EditError> {
        let activation = |run: &super::Run| -> Result<Option<candle_core::Tensor>, EditError> {
            if let (HookPoint::Block(block, BlockHook::ResidMid), true) = (point, engine.schema.dims.parallel) {
                let part = |hook| run.cache.get(HookPoint::Block(block, hook));
                let parts = part(BlockHook::ResidPre).zip(part(BlockHook::AttnOut));
                return Ok(parts.map(|(pre, out)| pre + out).transpose()?);
            }
            match (run.cache.get(point), point) {
                // off, but what it would be is one product away
                (None, HookPoint::Block(block, BlockHook::Result)) => {
                    let z = run.cache.get(HookPoint::Block(block, BlockHook::Z));
                    z.map(|z| engine.loaded.model.head_results(block, z)).transpose()
                }
                (kept, _) => Ok(kept.cloned()),
            }
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
