//! Holds a cache that another program wrote to our run of the same tokens.

use std::{cell::Cell, sync::atomic::AtomicBool};

use candle_core::Tensor;
use half::{bf16, f16};

use super::{Engine, Run, control::go_on, host::values};
use crate::{
    analysis::Agreement,
    hooks::{BlockHook, HookPoint, RunError},
    model::{CacheFile, CachePart, Holds, ModelError, Processing, Unprocessed},
};

/// Why an activation of another program may differ from ours although both are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownReason {
    /// The other has the weights as published, or as TransformerLens processes them, and ours the reverse.
    CentredWeights,
    FoldedValueBias,
    CentredUnembedding,
    /// `hook_normalized` before the weight and the bias of its LayerNorm.
    BeforeWeightAndBias,
    AfterWeightAndBias,
    /// The last of Hugging Face's hidden states has gone through the final LayerNorm.
    FinalLayerNorm,
    /// Values of 16 bits.
    SixteenBits,
}

impl KnownReason {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CentredWeights => "centred-weights",
            Self::FoldedValueBias => "folded-value-bias",
            Self::CentredUnembedding => "centred-unembedding",
            Self::BeforeWeightAndBias => "before-weight-and-bias",
            Self::AfterWeightAndBias => "after-weight-and-bias",
            Self::FinalLayerNorm => "final-layernorm",
            Self::SixteenBits => "16-bit",
        }
    }

    /// A sentence about a cache that was held to a run with or without processing.
    #[must_use]
    pub fn sentence(self, processing: Processing) -> String {
        let other = match processing {
            Processing::Folded => {
                "without processing (from_pretrained_no_processing, Hugging Face): compare with --no-processing"
            }
            Processing::None => "with processing (from_pretrained): compare without --no-processing",
        };
        match self {
            Self::CentredWeights => {
                format!("what is written to the residual stream is centred on one side only; the cache is of the model {other}")
            }
            Self::FoldedValueBias => {
                format!("the biases of values are folded into b_O on one side only; the cache is of the model {other}")
            }
            Self::CentredUnembedding => {
                "the logits of each position differ by one number, as those of a centred unembedding do; probabilities are the same".into()
            }
            Self::BeforeWeightAndBias => "the value is from before the LayerNorm's weight and bias, as TransformerBridge \
                 (TransformerLens 4) has it without processing"
                .into(),
            Self::AfterWeightAndBias => {
                format!("the value is from after the LayerNorm's weight and bias, as in the model {other}")
            }
            Self::FinalLayerNorm => {
                "Hugging Face's last hidden state has gone through the final LayerNorm; the stream before it is not in the file"
                    .into()
            }
            Self::SixteenBits => "the values have 16 bits, and the difference is of the size of their rounding".into(),
        }
    }
}

/// A tensor of a cache, held to our value.
#[derive(Clone, Debug)]
pub struct CheckedPart {
    pub name: String,
    /// The hook that it is compared with, `logits`, or the three hooks of a fused tensor.
    pub hook: String,
    /// Without the batch axis.
    pub shape: Vec<usize>,
    pub dtype: String,
    pub agreement: Agreement,
    pub diverges: bool,
    /// What explains a divergence; empty if nothing known does.
    pub reasons: Vec<KnownReason>,
}

impl CheckedPart {
    /// The indices of the largest difference.
    #[must_use]
    pub fn place(&self) -> Vec<usize> {
        let (mut rest, mut place) = (self.agreement.at, vec![0; self.shape.len()]);
        for (index, n) in place.iter_mut().zip(&self.shape).rev() {
            (*index, rest) = (rest % n.max(&1), rest / n.max(&1));
        }
        place
    }

    #[must_use]
    pub fn is_unexplained(&self) -> bool {
        self.diverges && self.reasons.is_empty()
    }
}

/// What a cache is held to, and how closely.
#[derive(Clone, Copy, Debug)]
pub struct CacheCheck {
    /// Whether activations are compared with those of the processed model.
    pub processing: Processing,
    /// The largest difference that counts as agreement, as a share of our largest value.
    pub tolerance: f64,
}

/// The relative L2 difference that rounding to 16 bits explains: four times the largest that was measured over whole runs in these
/// types, of checkpoints of 2 and 6 layers (0.0022 and 0.021).
const F16_NOISE: f64 = 0.01;
const BF16_NOISE: f64 = 0.08;

/// Positions whose logits are computed together.
const AT_ONCE: usize = 64;

impl Engine {
    /// Hold every tensor of a cache to a run of a processed model that kept all activations, in the order of the pass, one
    /// tensor in memory at a time. `tell` gets each as it is done.
    ///
    /// # Errors
    /// A tensor that can't be read or has another shape than this model's, cancellation, tensor errors.
    pub fn check_cache(
        &self,
        run: &Run,
        file: &CacheFile,
        check: CacheCheck,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(CheckedPart),
    ) -> Result<(), ModelError> {
        let unprocessed = self.loaded.model.unprocessed(&run.tokens, &run.cache)?;
        let halves = file.parts.iter().filter_map(|part| noise_of(&part.dtype)).reduce(f64::max);
        let views = Views { engine: self, run, unprocessed, noise: Cell::new(halves) };
        for part in file.parts.iter().filter(|part| part.holds != Holds::Tokens) {
            go_on(cancel).map_err(|_| ModelError::Stopped)?;
            if let Some(checked) = views.part(file, part, check)? {
                tell(checked);
            }
        }
        Ok(())
    }
}

/// A run as the processed and as the unprocessed model has it.
struct Views<'a> {
    engine: &'a Engine,
    run: &'a Run,
    unprocessed: Unprocessed<'a>,
    /// The difference that rounding explains, if the run that was cached had 16 bits: as far as that is known.
    noise: Cell<Option<f64>>,
}

impl Views<'_> {
    fn part(&self, file: &CacheFile, part: &CachePart, check: CacheCheck) -> Result<Option<CheckedPart>, ModelError> {
        let Some(expected) = self.shape(part.holds) else { return Ok(None) };
        let what = format!("{} of this model and prompt", self.name(part.holds));
        file.check_shape(part, &expected, &what)?;
        let theirs = file.read(part)?;
        let ours = self.ours(part.holds, check.processing)?;
        let agreement = Agreement::between(&ours, &theirs);
        drop(ours);
        let diverges = !agreement.within(check.tolerance);
        let reasons = if diverges { self.reasons(part, &theirs, &agreement, check)? } else { vec![] };
        let hook = self.name(part.holds);
        let (name, dtype) = (part.name.clone(), part.dtype.clone());
        Ok(Some(CheckedPart { name, hook, shape: expected, dtype, agreement, diverges, reasons }))
    }

    /// What explains a difference.
    fn reasons(
        &self,
        part: &CachePart,
        theirs: &[f32],
        agreement: &Agreement,
        check: CacheCheck,
    ) -> Result<Vec<KnownReason>, ModelError> {
        // LayerNorms and patterns have 32 bits even in such a run
        let noise = self.noise.get().into_iter().chain(noise(part, theirs)).reduce(f64::max);
        let rounds = |found: &Agreement| noise.is_some_and(|noise| found.change.relative() <= noise);
        if rounds(agreement) {
            self.noise.set(noise);
            return Ok(vec![KnownReason::SixteenBits]);
        }
        for (reason, ours) in self.others(part.holds, theirs, check.processing)? {
            let found = Agreement::between(&ours, theirs);
            if found.within(check.tolerance) {
                return Ok(vec![reason]);
            }
            if rounds(&found) {
                self.noise.set(noise);
                return Ok(vec![reason, KnownReason::SixteenBits]);
            }
        }
        Ok(vec![])
    }

    /// What else the values could be, and why.
    fn others(
        &self,
        holds: Holds,
        theirs: &[f32],
        processing: Processing,
    ) -> Result<Vec<(KnownReason, Vec<f32>)>, ModelError> {
        let n_layers = self.engine.schema.dims.n_layers;
        if holds == Holds::Logits {
            return Ok(vec![(KnownReason::CentredUnembedding, self.shifted_logits(theirs, processing)?)]);
        }
        let mut all = Vec::new();
        if let Some(reason) = processed_away(holds, processing) {
            all.push((reason, self.ours(holds, other(processing))?));
        }
        if matches!(holds, Holds::HiddenState(number) if number >= n_layers) {
            all.push((KnownReason::FinalLayerNorm, self.hook(HookPoint::LnFinalNormalized, Processing::None)?));
        }
        Ok(all)
    }

    /// Our values for what a tensor holds.
    fn ours(&self, holds: Holds, processing: Processing) -> Result<Vec<f32>, ModelError> {
        match (holds, holds.hook(&self.engine.schema.dims)) {
            (_, Some(point)) => self.hook(point, processing),
            (Holds::Qkv(block), _) => {
                let parts = [BlockHook::Q, BlockHook::K, BlockHook::V];
                let parts = parts.map(|hook| self.tensor(HookPoint::Block(block, hook), processing));
                let parts = parts.into_iter().collect::<Result<Vec<Tensor>, ModelError>>()?;
                Ok(values(&Tensor::stack(&parts, 3)?).map_err(tensor_error)?)
            }
            (Holds::Logits, _) => {
                let (n_pos, mut all) = (self.run.tokens.len(), Vec::new());
                for from in (0..n_pos).step_by(AT_ONCE) {
                    let to = (from + AT_ONCE).min(n_pos);
                    let logits = self.engine.logits(self.run, from..to).map_err(tensor_error)?;
                    let read = self.run.normalized.narrow(1, from, to - from)?;
                    let logits = match processing {
                        Processing::Folded => logits,
                        Processing::None => self.unprocessed.logits(&logits, &read)?,
                    };
                    all.extend(values(&logits).map_err(tensor_error)?);
                }
                Ok(all)
            }
            (Holds::Tokens | Holds::Hook(_) | Holds::FinalStream | Holds::HiddenState(_), None) => Ok(vec![]),
        }
    }

    /// Our logits with the mean of each position that theirs have.
    fn shifted_logits(&self, theirs: &[f32], processing: Processing) -> Result<Vec<f32>, ModelError> {
        let mut ours = self.ours(Holds::Logits, processing)?;
        let vocab = self.engine.schema.dims.d_vocab;
        for (ours, theirs) in ours.chunks_mut(vocab).zip(theirs.chunks(vocab)) {
            let sum = |row: &[f32]| row.iter().map(|x| f64::from(*x)).sum::<f64>();
            #[allow(clippy::cast_precision_loss, reason = "the size of a vocabulary")]
            let shift = (sum(theirs) - sum(ours)) / ours.len() as f64;
            for x in ours {
                #[allow(clippy::cast_possible_truncation, reason = "logits are f32")]
                let moved = (f64::from(*x) + shift) as f32;
                *x = moved;
            }
        }
        Ok(ours)
    }

    fn hook(&self, point: HookPoint, processing: Processing) -> Result<Vec<f32>, ModelError> {
        values(&self.tensor(point, processing)?).map_err(tensor_error)
    }

    fn tensor(&self, point: HookPoint, processing: Processing) -> Result<Tensor, ModelError> {
        let kept = self.engine.activation(self.run, point).map_err(tensor_error)?;
        let kept = kept
            .ok_or_else(|| tensor_error(RunError::Tensor(candle_core::Error::Msg(format!("{point} was not kept")))))?;
        match processing {
            Processing::Folded => Ok(kept),
            Processing::None => Ok(self.unprocessed.at(point, &kept)?),
        }
    }

    /// The shape of what a tensor holds, without the batch axis; None if this model does not have it.
    fn shape(&self, holds: Holds) -> Option<Vec<usize>> {
        let (schema, n_pos) = (&self.engine.schema, self.run.tokens.len());
        let dims = &schema.dims;
        match (holds, holds.hook(dims)) {
            (Holds::HiddenState(number), _) if number > dims.n_layers => None,
            (_, Some(point)) if point.block().is_some_and(|block| block >= dims.n_layers) => None,
            (_, Some(point)) => Some(schema.shape(point, n_pos)),
            (Holds::Qkv(block), _) => (block < dims.n_layers).then(|| vec![n_pos, 3 * dims.d_model]),
            (Holds::Logits, _) => Some(vec![n_pos, dims.d_vocab]),
            (Holds::Tokens | Holds::Hook(_) | Holds::FinalStream | Holds::HiddenState(_), None) => None,
        }
    }

    fn name(&self, holds: Holds) -> String {
        match (holds, holds.hook(&self.engine.schema.dims)) {
            (_, Some(point)) => point.to_string(),
            (Holds::Qkv(block), _) => format!("blocks.{block}.attn.hook_q, hook_k and hook_v"),
            (Holds::Logits, _) => "logits".into(),
            (Holds::Tokens | Holds::Hook(_) | Holds::FinalStream | Holds::HiddenState(_), None) => "hook_tokens".into(),
        }
    }
}

fn tensor_error(error: RunError) -> ModelError {
    match error {
        RunError::Tensor(error) => ModelError::Tensor(error),
        RunError::Cancelled => ModelError::Stopped,
        other @ (RunError::Edit(_) | RunError::TooLarge { .. } | RunError::NoNextToken | RunError::NoWeights(_)) => {
            ModelError::Tensor(candle_core::Error::Msg(other.to_string()))
        }
    }
}

fn other(processing: Processing) -> Processing {
    match processing {
        Processing::Folded => Processing::None,
        Processing::None => Processing::Folded,
    }
}

/// What processing changes about a value; None if nothing.
fn processed_away(holds: Holds, processing: Processing) -> Option<KnownReason> {
    use BlockHook::{
        AttnIn, AttnOut, AttnScores, K, KInput, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, MlpIn, MlpOut,
        MlpPost, MlpPre, Pattern, Q, QInput, ResidMid, ResidPost, ResidPre, Result, RotK, RotQ, V, VInput, Z,
    };
    let affine = match processing {
        Processing::Folded => KnownReason::AfterWeightAndBias,
        Processing::None => KnownReason::BeforeWeightAndBias,
    };
    let point = match holds {
        Holds::Hook(point) => point,
        Holds::FinalStream | Holds::HiddenState(_) => return Some(KnownReason::CentredWeights),
        Holds::Qkv(_) => return Some(KnownReason::FoldedValueBias),
        Holds::Tokens | Holds::Logits => return None,
    };
    match point {
        HookPoint::Tokens | HookPoint::LnFinalScale => None,
        HookPoint::Embed => Some(KnownReason::CentredWeights),
        HookPoint::LnFinalNormalized => Some(affine),
        HookPoint::Block(_, hook) => match hook {
            Ln1Scale | Ln2Scale | Q | K | RotQ | RotK | AttnScores | Pattern | MlpPre | MlpPost => None,
            ResidPre | AttnIn | QInput | KInput | VInput | AttnOut | ResidMid | MlpIn | MlpOut | ResidPost => {
                Some(KnownReason::CentredWeights)
            }
            Ln1Normalized | Ln2Normalized => Some(affine),
            V | Z | Result => Some(KnownReason::FoldedValueBias),
        },
    }
}

/// The relative difference that rounding explains, if the values have 16 bits or could have.
fn noise(part: &CachePart, theirs: &[f32]) -> Option<f64> {
    let as_f16 = || theirs.iter().all(|x| !x.is_finite() || f16::from_f32(*x).to_f32().to_bits() == x.to_bits());
    let as_bf16 = || theirs.iter().all(|x| !x.is_finite() || bf16::from_f32(*x).to_f32().to_bits() == x.to_bits());
    match noise_of(&part.dtype) {
        None if as_f16() => Some(F16_NOISE),
        None if as_bf16() => Some(BF16_NOISE),
        known => known,
    }
}

/// The relative difference that rounding to a type explains.
fn noise_of(dtype: &str) -> Option<f64> {
    match dtype {
        "F16" => Some(F16_NOISE),
        "BF16" => Some(BF16_NOISE),
        _ => None,
    }
}
