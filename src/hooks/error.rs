use std::ops::Range;

use super::{Axis, HookPoint, UnknownHook, point::did_you_mean};
use crate::printed::escaped;

/// A line that is not an edit. Displays the line, escaped, with the place marked under it.
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
    /// Characters before the place that is wrong.
    #[must_use]
    pub fn column(&self) -> usize {
        self.line.get(..self.span.start).map_or(0, |before| before.chars().count())
    }

    /// Carets under the place, as the line is displayed.
    fn mark(&self) -> String {
        let width = |bytes: Range<usize>| self.line.get(bytes).map_or(0, |part| escaped(part).chars().count());
        " ".repeat(width(0..self.span.start)) + &"^".repeat(width(self.span.clone()).max(1))
    }
}

/// A hook that can't be used as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    #[error(transparent)]
    Unknown(#[from] UnknownHook),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("`{point}`: there is no block {block}; this model has blocks 0 to {}", .n_layers - 1)]
    NoBlock { point: String, block: usize, n_layers: usize },
    #[error("`{}` is off by default, as in TransformerLens; turn it on with --enable {}", .0, .0.short_name())]
    Off(HookPoint),
    #[error(
        "`{0}` is read by nothing while hook_q_input, hook_k_input or hook_v_input is on, as in TransformerLens; edit those"
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
    #[error("an edit selects {axis} more than {times} times over; name each index once")]
    Overlaps { axis: Axis, times: usize },
    #[error("`{edit}`: patching needs a contrast prompt (--contrast)")]
    NoContrast { edit: String },
    #[error(
        "`{edit}`: the contrast prompt has {contrast} tokens and the prompt {prompt}: they must have as many, or the edit \
         must select the same number of positions in both ({axis}=…)"
    )]
    ContrastLength { edit: String, prompt: usize, contrast: usize, axis: Axis },
    #[error("`{edit}`: hook_tokens holds token ids, whole numbers from 0 to {}; the edit makes one {value}", .d_vocab - 1)]
    NotAToken { edit: String, value: f32, d_vocab: usize },
}

/// Why a run came to no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(
        "this run would keep at least {} of activations, and no more than {} of memory are left: a shorter prompt takes less",
        size(*.needed),
        size(*.left)
    )]
    TooLarge { needed: u64, left: u64 },
    #[error("the run was cancelled")]
    Cancelled,
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl RunError {
    /// Whether what was asked for is wrong, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Edit(_) | Self::TooLarge { .. } => true,
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
