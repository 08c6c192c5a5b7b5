use std::ops::Range;

use super::{Axis, HookPoint, UnknownHook, vector::VectorName};
use crate::{printed::escaped, suggest::did_you_mean};

/// A line that is not an edit. Displays the line, escaped, with the error marked below it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}\n  {}\n  {}", escaped(.message), did_you_mean(.nearest), escaped(.line), self.mark())]
pub struct ParseError {
    pub line: String,
    /// Byte range in `line` that is wrong.
    pub span: Range<usize>,
    pub message: String,
    pub nearest: Vec<String>,
}

impl ParseError {
    /// The number of characters before the error.
    #[must_use]
    pub fn column(&self) -> usize {
        self.line.get(..self.span.start).map_or(0, |before| before.chars().count())
    }

    /// Carets below the error in the displayed line.
    fn mark(&self) -> String {
        let width = |bytes: Range<usize>| self.line.get(bytes).map_or(0, |part| escaped(part).chars().count());
        " ".repeat(width(0..self.span.start)) + &"^".repeat(width(self.span.clone()).max(1))
    }
}

/// A hook that can't be used as requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    #[error(transparent)]
    Unknown(#[from] UnknownHook),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("`{point}`: there is no block {block}; this model has blocks 0 to {}", .n_layers - 1)]
    NoBlock { point: String, block: usize, n_layers: usize },
    #[error("`{}` is off by default, as in TransformerLens; turn it on with --enable {}, in the explorer with `:enable {}`", .0, .0.short_name(), .0.short_name())]
    Off(HookPoint),
    #[error(
        "nothing reads `{0}` while hook_q_input, hook_k_input or hook_v_input is on, as in TransformerLens; edit those"
    )]
    Unread(HookPoint),
    #[error("`{0}` is always on; only opt-in hooks are enabled")]
    NotOptIn(HookPoint),
    #[error(
        "`{0}` can't be edited: this model's blocks are parallel, so the forward pass never computes it \
         (it is shown as derived, resid_pre + attn_out)"
    )]
    Derived(HookPoint),
}

/// An edit that this model and these prompts do not allow.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("`{edit}`: {reason}")]
    Hook { edit: String, reason: HookError },
    #[error("`{edit}`: `{hook}` has no axis `{axis}`; its axes are {}", list(.axes))]
    NoAxis { edit: String, hook: HookPoint, axis: Axis, axes: Vec<Axis> },
    #[error("`{edit}`: {axis} {index} is out of range; `{hook}` has {axis} {valid}")]
    OutOfRange { edit: String, hook: HookPoint, axis: Axis, index: String, valid: String },
    #[error("`{edit}`: {axis}={slice} selects nothing")]
    Empty { edit: String, axis: Axis, slice: String },
    #[error("a selection lists {axis} more than {times} times over; name each index once")]
    Overlaps { axis: Axis, times: usize },
    #[error("`{edit}`: only runs of a corpus have values for it: `pythia-tui corpus FILE --edit ...`")]
    NoCorpus { edit: String },
    #[error("`{edit}`: {hook} has a mean over a corpus only where its size does not depend on the prompt's length")]
    NoCorpusMean { edit: String, hook: HookPoint },
    #[error("`{edit}`: patching needs a contrast prompt (--contrast)")]
    NoContrast { edit: String },
    #[error(
        "`{edit}`: the contrast prompt has {contrast} tokens and the prompt {prompt}: they must be equally long, or the edit \
         must select the same number of positions in both ({axis}=…)"
    )]
    ContrastLength { edit: String, prompt: usize, contrast: usize, axis: Axis },
    #[error("`{edit}`: there is no dictionary at {hook}: give one with --sae")]
    NoDictionary { edit: String, hook: HookPoint },
    #[error(
        "`{hook}.hook_sae_acts_post`: gradients do not pass through edits of features where heads, paths or edges have inputs of \
         their own; leave this edit out"
    )]
    NoGradient { hook: HookPoint },
    #[error("`{edit}`: {why}")]
    Path { edit: String, why: String },
    #[error(
        "`{edit}`: there is no vector `{name}`{}; define it with --vector {name}=SOURCE",
        if *.defined == 0 { String::new() } else { did_you_mean(.nearest) }
    )]
    NoVector { edit: String, name: VectorName, defined: usize, nearest: Vec<String> },
    #[error("`{edit}`: `{hook}` has no directions: a vector goes with d_model, d_head or d_mlp of positions")]
    NoDirections { edit: String, hook: HookPoint },
    #[error("`{edit}`: a projection is along the whole of {axis}: select no part of it")]
    PartOfDirection { edit: String, axis: Axis },
    #[error("`{edit}`: `{name}` has {has} numbers; `{hook}` takes {own}{}", if .own == .all { String::new() } else { format!(" (for each head) or {all}") })]
    VectorSize { edit: String, name: VectorName, has: usize, hook: HookPoint, own: usize, all: usize },
    #[error("`{edit}`: hook_tokens holds token ids, whole numbers from 0 to {}; the edit makes one {value}", .d_vocab - 1)]
    NotAToken { edit: String, value: f32, d_vocab: usize },
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(
        "this run would keep at least {} of activations, and at most {} of memory is left: use a shorter prompt",
        size(*.needed),
        size(*.left)
    )]
    TooLarge { needed: u64, left: u64 },
    #[error("the loss is of the prompt's next tokens, and a prompt of one token has none: expected two tokens or more")]
    NoNextToken,
    #[error("the weights are not here, only a cache of activations: {0} needs them")]
    NoWeights(&'static str),
    #[error("the run was cancelled")]
    Cancelled,
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl RunError {
    /// Whether the request is at fault, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Edit(_) | Self::TooLarge { .. } | Self::NoNextToken | Self::NoWeights(_) => true,
            Self::Cancelled | Self::Tensor(_) => false,
        }
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mebibytes = bytes as f64 / 1_048_576.0;
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

fn list(axes: &[Axis]) -> String {
    axes.iter().filter(|axis| **axis != Axis::One).map(|axis| axis.name()).collect::<Vec<_>>().join(", ")
}
