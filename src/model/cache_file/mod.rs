//! Caches of activations that other programs wrote: what they hold, read on demand.

mod infer;
mod names;

use std::path::{Path, PathBuf};

use super::{ModelError, checkpoint::Checkpoint};
use crate::{
    hooks::{BlockHook, Dims, HookPoint},
    printed::escaped,
};
pub use names::Holds;
use names::{Style, is_stack, meaning};

/// The program that wrote a cache, judging by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// `HookedTransformer` of TransformerLens 2.x and 3.x, or this program.
    HookedTransformer,
    /// `TransformerBridge` of TransformerLens 4.x.
    TransformerBridge,
    /// The outputs of a model of Hugging Face's transformers.
    HuggingFace,
    /// Inputs and outputs of modules, as nnsight keeps them.
    Modules,
}

impl CacheSource {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HookedTransformer => "transformer-lens-2",
            Self::TransformerBridge => "transformer-lens-4",
            Self::HuggingFace => "hugging-face",
            Self::Modules => "modules",
        }
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::HookedTransformer => "hooks of TransformerLens",
            Self::TransformerBridge => "hooks of TransformerLens 4",
            Self::HuggingFace => "outputs of Hugging Face's model",
            Self::Modules => "modules of Hugging Face's model",
        }
    }

    /// Whether such a cache always has the activations of the model as it was published, without processing.
    #[must_use]
    pub fn is_unprocessed(self) -> bool {
        match self {
            Self::HookedTransformer | Self::TransformerBridge => false,
            Self::HuggingFace | Self::Modules => true,
        }
    }
}

/// A tensor of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePart {
    /// In the file; of an entry of a stacked tensor with its number, as in `hidden_states[3]`.
    pub name: String,
    pub holds: Holds,
    /// In the file, with a batch axis if it has one.
    pub shape: Vec<usize>,
    /// `F32`, `BF16` and so on.
    pub dtype: String,
}

/// A cache of activations in a file.
pub struct CacheFile {
    pub path: PathBuf,
    pub source: CacheSource,
    /// What it holds, in the order of the pass.
    pub parts: Vec<CachePart>,
    /// The names of tensors without a counterpart here.
    pub unknown: Vec<String>,
    tensors: Checkpoint<'static>,
}

impl CacheFile {
    /// Read what a file holds: safetensors, npz, or a file of `torch.save`, which is parsed and never run.
    ///
    /// # Errors
    /// The file can't be read, or holds no activation under a known name.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let misfit = |reason: String| ModelError::Misfit { path: path.into(), reason };
        let mut tensors = Checkpoint::cache(path).map_err(|error| match error {
            ModelError::Broken { reason, .. } => misfit(format!("not a readable cache: {reason}")),
            other => other,
        })?;
        let stacked =
            |name: &&str| tensors.shape(name).is_ok_and(|shape| shape.is_some_and(|shape| is_stack(name, shape)));
        let stacks: Vec<String> = tensors.names().filter(stacked).map(String::from).collect();
        for name in &stacks {
            tensors.split(name);
        }
        let names: Vec<String> = tensors.names().map(String::from).collect();
        let (mut parts, mut styles, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let found = match meaning(&name) {
                Some(found) => Some(found),
                None => match tensors.shape(&name) {
                    Ok(Some(shape)) => entry_of_tuple(&name, shape),
                    Ok(None) | Err(_) => None,
                },
            };
            let Some((holds, style)) = found else {
                unknown.push(name);
                continue;
            };
            let shape = tensors.shape(&name)?.unwrap_or_default().to_vec();
            let dtype = tensors.dtype(&name).map(|dtype| format!("{dtype:?}")).unwrap_or_default();
            styles.push(style);
            parts.push(CachePart { name, holds, shape, dtype });
        }
        if parts.iter().all(|part| part.holds == Holds::Tokens) {
            return Err(misfit(nothing_known(&unknown)));
        }
        let rotated = |part: &CachePart| {
            matches!(part.holds, Holds::Hook(HookPoint::Block(_, BlockHook::RotQ | BlockHook::RotK)))
        };
        let source = match () {
            () if styles.contains(&Style::Bridge) && !parts.iter().any(rotated) => CacheSource::TransformerBridge,
            () if styles.contains(&Style::Hook) => CacheSource::HookedTransformer,
            () if styles.contains(&Style::Module) => CacheSource::Modules,
            () if styles.contains(&Style::Output) => CacheSource::HuggingFace,
            () => CacheSource::HookedTransformer,
        };
        parts.sort_by(|a, b| order(a.holds).cmp(&order(b.holds)).then_with(|| a.name.cmp(&b.name)));
        Ok(Self { path: path.into(), source, parts, unknown, tensors })
    }

    /// The token ids of the prompt, if the file has them.
    ///
    /// # Errors
    /// They can't be read, are no token ids, or are those of several prompts.
    pub fn tokens(&self) -> Result<Option<Vec<u32>>, ModelError> {
        let Some(part) = self.parts.iter().find(|part| part.holds == Holds::Tokens) else { return Ok(None) };
        match part.shape[..] {
            [_] | [1, _] => self.tensors.read_ids(&part.name).map(Some),
            _ => Err(self.misfit(format!("`{}` is {:?}; expected the tokens of one prompt", part.name, part.shape))),
        }
    }

    /// The values of a tensor, row-major.
    ///
    /// # Errors
    /// Its type is not supported, or it can't be read.
    pub fn read(&self, part: &CachePart) -> Result<Vec<f32>, ModelError> {
        self.tensors.read(&part.name).map_err(|error| match error {
            ModelError::Tensors(lines) => self.misfit(lines.iter().map(|line| line.trim()).collect()),
            other => other,
        })
    }

    /// Check that a tensor has a shape, with or without a batch axis of one prompt, with or without an axis of heads of its own.
    ///
    /// # Errors
    /// It has another shape, or a batch of several prompts; `what` names what has the expected one.
    pub fn check_shape(&self, part: &CachePart, expected: &[usize], what: &str) -> Result<(), ModelError> {
        let side_by_side = || {
            let (rest, [heads, size]) = expected.split_last_chunk::<2>()?;
            (!rest.is_empty()).then(|| [rest, &[heads * size]].concat())
        };
        let name = escaped(&part.name);
        for shape in [Some(expected.to_vec()), side_by_side()].into_iter().flatten() {
            match part.shape.split_first() {
                _ if part.shape == shape => return Ok(()),
                Some((1, rest)) if rest == shape => return Ok(()),
                Some((batch, rest)) if rest == shape => {
                    return Err(self.misfit(format!("`{name}` has a batch of {batch} prompts; expected one")));
                }
                _ => {}
            }
        }
        let found = &part.shape;
        Err(self.misfit(format!(
            "`{name}` is {found:?}; {what} is {expected:?}, with or without a batch axis of 1 before it"
        )))
    }

    /// The number of tokens of the prompt, judging by the shapes; None if no tensor tells.
    #[must_use]
    pub fn n_pos(&self) -> Option<usize> {
        self.parts.iter().find_map(|part| {
            let from_end = |n: usize| part.shape.len().checked_sub(n).map(|at| part.shape[at]);
            match part.holds {
                Holds::Tokens => from_end(1),
                Holds::FinalStream | Holds::HiddenState(_) | Holds::Qkv(_) | Holds::Logits => from_end(2),
                Holds::Hook(point) => match positions(point) {
                    Positions::BeforeTheLast => from_end(2),
                    Positions::Last => from_end(1),
                    Positions::First => None,
                },
            }
        })
    }

    /// The error for a cache that does not fit.
    #[must_use]
    pub fn misfit(&self, reason: String) -> ModelError {
        ModelError::Misfit { path: self.path.clone(), reason }
    }
}

impl Holds {
    /// The hook whose value, in a model of these sizes, it is; None for tokens, logits and queries, keys and values together.
    #[must_use]
    pub fn hook(self, dims: &Dims) -> Option<HookPoint> {
        let last = HookPoint::Block(dims.n_layers.saturating_sub(1), BlockHook::ResidPost);
        match self {
            Self::Hook(point) => Some(point),
            Self::HiddenState(number) if number < dims.n_layers => Some(HookPoint::Block(number, BlockHook::ResidPre)),
            Self::FinalStream | Self::HiddenState(_) => Some(last),
            Self::Tokens | Self::Qkv(_) | Self::Logits => None,
        }
    }
}

/// Where the shape of an activation has its positions, counted from the end.
enum Positions {
    Last,
    BeforeTheLast,
    /// Before an axis of heads, which some libraries leave out.
    First,
}

fn positions(point: HookPoint) -> Positions {
    use BlockHook::{
        AttnIn, AttnOut, AttnScores, K, KInput, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, MlpIn, MlpOut,
        MlpPost, MlpPre, Pattern, Q, QInput, ResidMid, ResidPost, ResidPre, Result, RotK, RotQ, V, VInput, Z,
    };
    match point {
        HookPoint::Tokens => Positions::Last,
        HookPoint::Embed | HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => Positions::BeforeTheLast,
        HookPoint::Block(_, hook) => match hook {
            ResidPre | AttnOut | ResidMid | MlpIn | Ln2Scale | Ln2Normalized | MlpPre | MlpPost | MlpOut
            | ResidPost => Positions::BeforeTheLast,
            AttnScores | Pattern => Positions::Last,
            AttnIn | QInput | KInput | VInput | Ln1Scale | Ln1Normalized | Q | K | V | RotQ | RotK | Z | Result => {
                Positions::First
            }
        },
    }
}

/// An entry of a tuple that was saved by itself: `hidden_states` or `attentions`, by its shape.
fn entry_of_tuple(name: &str, shape: &[usize]) -> Option<(Holds, Style)> {
    let number = name.parse().ok()?;
    let pattern = Holds::Hook(HookPoint::Block(number, BlockHook::Pattern));
    match shape {
        [_, _] | [1, _, _] => Some((Holds::HiddenState(number), Style::Output)),
        [_, query, key] | [_, _, query, key] if query == key => Some((pattern, Style::Output)),
        _ => None,
    }
}

/// The place of a tensor in the pass.
fn order(holds: Holds) -> (u8, HookPoint, u8) {
    let last = HookPoint::LnFinalNormalized;
    match holds {
        Holds::Tokens => (0, HookPoint::Tokens, 0),
        Holds::Hook(point @ (HookPoint::LnFinalScale | HookPoint::LnFinalNormalized)) => (2, point, 0),
        Holds::Hook(point) => (1, point, 0),
        // the last of them is after every hook of a block in a cache of the same library
        Holds::HiddenState(number) => (1, HookPoint::Block(number, BlockHook::ResidPre), 1),
        Holds::Qkv(block) => (1, HookPoint::Block(block, BlockHook::Q), 1),
        Holds::FinalStream => (1, last, 0),
        Holds::Logits => (3, last, 0),
    }
}

fn nothing_known(unknown: &[String]) -> String {
    const SHOWN: usize = 4;
    let known =
        "expected hooks of TransformerLens, hidden_states, attentions, or modules such as gpt_neox.layers.0.mlp";
    if unknown.is_empty() {
        return format!("it holds no activations: {known}");
    }
    let shown: Vec<String> = unknown.iter().take(SHOWN).map(|name| format!("`{}`", escaped(name))).collect();
    let more = if unknown.len() > SHOWN { ", ..." } else { "" };
    format!("it holds no activation under a known name ({}{more}): {known}", shown.join(", "))
}
