//! The facts about each hook: one row for each, which the compiler checks to exist.

use std::borrow::Cow;

use super::{
    Axis, BlockHook, Dims, HookPoint,
    describe::{At, LN1, LN2, Notation, scale},
    point::Fires,
};

/// The facts about one hook.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// TransformerLens's name for it, in a block the part below `blocks.N.`.
    pub name: &'static str,
    pub fires: Fires,
    /// Its axes, without the batch axis.
    pub axes: fn(&At<'_>) -> &'static [Axis],
    /// A sentence that says what the activation is.
    pub about: fn(&Dims) -> Cow<'static, str>,
    /// How it is computed, in the field's notation.
    pub formula: fn(&Notation<'_>) -> String,
    /// The hooks that are computed from it directly, in execution order.
    pub readers: fn(&At<'_>) -> Vec<HookPoint>,
}

const STREAM: &[Axis] = &[Axis::Pos, Axis::DModel];
const STREAM_BY_HEAD: &[Axis] = &[Axis::Pos, Axis::Head, Axis::DModel];
const VECTORS: &[Axis] = &[Axis::Pos, Axis::Head, Axis::DHead];
const SQUARE: &[Axis] = &[Axis::Head, Axis::Query, Axis::Key];
const NEURONS: &[Axis] = &[Axis::Pos, Axis::DMlp];
const DIVISOR: &[Axis] = &[Axis::Pos, Axis::One];
const DIVISOR_BY_HEAD: &[Axis] = &[Axis::Pos, Axis::Head, Axis::One];

const COPIES: &str = "resid_pre, repeated for each head";

impl HookPoint {
    pub(super) fn row(self) -> Row {
        match self {
            Self::Tokens => Row {
                name: "hook_tokens",
                fires: Fires::OptIn("use_hook_tokens"),
                axes: |_| &[Axis::Pos],
                about: |_| "The prompt's token ids, before they are embedded.".into(),
                formula: |_| "tokenizer(prompt)".into(),
                readers: |_| vec![Self::Embed],
            },
            Self::Embed => Row {
                name: "hook_embed",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| {
                    "The token embeddings: the start of the residual stream (position enters later, by rotation)."
                        .into()
                },
                formula: |_| "W_E[tokens]".into(),
                readers: |_| vec![Self::Block(0, BlockHook::ResidPre)],
            },
            Self::Block(_, hook) => hook.row(),
            Self::LnFinalScale => Row {
                name: "ln_final.hook_scale",
                fires: Fires::Always,
                axes: |_| DIVISOR,
                about: |_| {
                    "The final LayerNorm's divisor: the standard deviation of the centred residual stream.".into()
                },
                formula: |_| scale("x"),
                readers: |_| vec![Self::LnFinalNormalized],
            },
            Self::LnFinalNormalized => Row {
                name: "ln_final.hook_normalized",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "The residual stream after the final LayerNorm, as the unembedding reads it.".into(),
                formula: |by| format!("{},   x = resid_post of the last block", by.norm("x", "ln_final")),
                readers: |_| vec![],
            },
        }
    }
}

impl BlockHook {
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub(super) fn row(self) -> Row {
        match self {
            Self::ResidPre => Row {
                name: "hook_resid_pre",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "The residual stream as it enters the block.".into(),
                formula: |by| match by.block {
                    0 => "embed".into(),
                    block => format!("resid_post of blocks.{}", block - 1),
                },
                readers: |at| at.readers_of_resid_pre(),
            },
            Self::AttnIn => Row {
                name: "hook_attn_in",
                fires: Fires::OptIn("use_attn_in"),
                axes: |_| STREAM_BY_HEAD,
                about: |_| {
                    "A copy of the residual stream for each head, before ln1; edits reach only that head's q, k and v."
                        .into()
                },
                formula: |_| COPIES.into(),
                readers: |at| if at.is_split() { vec![] } else { at.hooks(&LN1) },
            },
            Self::QInput => Row {
                name: "hook_q_input",
                fires: Fires::OptIn("use_split_qkv_input"),
                axes: |_| STREAM_BY_HEAD,
                about: |_| {
                    "A copy of the residual stream for each head, before ln1, from which only its query is made.".into()
                },
                formula: |_| COPIES.into(),
                readers: |at| at.hooks(&LN1),
            },
            Self::KInput => Row {
                name: "hook_k_input",
                fires: Fires::OptIn("use_split_qkv_input"),
                axes: |_| STREAM_BY_HEAD,
                about: |_| {
                    "A copy of the residual stream for each head, before ln1, from which only its key is made.".into()
                },
                formula: |_| COPIES.into(),
                readers: |at| at.hooks(&LN1),
            },
            Self::VInput => Row {
                name: "hook_v_input",
                fires: Fires::OptIn("use_split_qkv_input"),
                axes: |_| STREAM_BY_HEAD,
                about: |_| {
                    "A copy of the residual stream for each head, before ln1, from which only its value is made.".into()
                },
                formula: |_| COPIES.into(),
                readers: |at| at.hooks(&LN1),
            },
            Self::Ln1Scale => Row {
                name: "ln1.hook_scale",
                fires: Fires::Always,
                axes: |at| if at.schema.ln1_per_head(at.block) { DIVISOR_BY_HEAD } else { DIVISOR },
                about: |_| "The attention LayerNorm's divisor: the standard deviation of its centred input.".into(),
                formula: |_| scale("resid_pre"),
                readers: |at| at.hooks(&[Self::Ln1Normalized]),
            },
            Self::Ln1Normalized => Row {
                name: "ln1.hook_normalized",
                fires: Fires::Always,
                axes: |at| if at.schema.ln1_per_head(at.block) { STREAM_BY_HEAD } else { STREAM },
                about: |_| "The attention LayerNorm's output, from which queries, keys and values are made.".into(),
                formula: |by| by.norm("resid_pre", "ln1"),
                readers: |at| at.hooks(&[Self::Q, Self::K, Self::V]),
            },
            Self::Q => Row {
                name: "attn.hook_q",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| "Each head's query vectors, before rotary position embedding.".into(),
                formula: |_| "q = ln1 · W_Q + b_Q".into(),
                readers: |at| at.hooks(&[Self::RotQ]),
            },
            Self::K => Row {
                name: "attn.hook_k",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| "Each head's key vectors, before rotary position embedding.".into(),
                formula: |_| "k = ln1 · W_K + b_K".into(),
                readers: |at| at.hooks(&[Self::RotK]),
            },
            Self::V => Row {
                name: "attn.hook_v",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| "Each head's value vectors: what it moves from the positions that it attends to.".into(),
                formula: |by| match by.folded {
                    true => "v = ln1 · W_V   (b_V is folded into b_O)".into(),
                    false => "v = ln1 · W_V + b_V".into(),
                },
                readers: |at| at.hooks(&[Self::Z]),
            },
            Self::RotQ => Row {
                name: "attn.hook_rot_q",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| {
                    "Query vectors after rotary position embedding; only the first dimensions of each head are turned."
                        .into()
                },
                formula: |_| "R(pos) · q".into(),
                readers: |at| at.hooks(&[Self::AttnScores]),
            },
            Self::RotK => Row {
                name: "attn.hook_rot_k",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| {
                    "Key vectors after rotary position embedding; only the first dimensions of each head are turned."
                        .into()
                },
                formula: |_| "R(pos) · k".into(),
                readers: |at| at.hooks(&[Self::AttnScores]),
            },
            Self::AttnScores => Row {
                name: "attn.hook_attn_scores",
                fires: Fires::Always,
                axes: |_| SQUARE,
                about: |_| {
                    "How well each query matches each key, scaled, with the future masked to -inf; before the softmax."
                        .into()
                },
                formula: |by| format!("rot_q · rot_kᵀ / √{},   −∞ where key > query", by.dims.d_head),
                readers: |at| at.hooks(&[Self::Pattern]),
            },
            Self::Pattern => Row {
                name: "attn.hook_pattern",
                fires: Fires::Always,
                axes: |_| SQUARE,
                about: |_| {
                    "Attention pattern: the share of each query position's attention that goes to each key position."
                        .into()
                },
                formula: |_| "softmax(attn_scores) over key".into(),
                readers: |at| at.hooks(&[Self::Z]),
            },
            Self::Z => Row {
                name: "attn.hook_z",
                fires: Fires::Always,
                axes: |_| VECTORS,
                about: |_| "Each head's output before W_O: its value vectors mixed by its attention pattern.".into(),
                formula: |_| "pattern · v".into(),
                readers: |at| at.hooks(&[if at.is_on(Self::Result) { Self::Result } else { Self::AttnOut }]),
            },
            Self::Result => Row {
                name: "attn.hook_result",
                fires: Fires::OptIn("use_attn_result"),
                axes: |_| STREAM_BY_HEAD,
                about: |_| {
                    "Each head's own contribution to the residual stream (b_O belongs to no head and is left out)."
                        .into()
                },
                formula: |_| "z · W_O, for each head".into(),
                readers: |at| at.hooks(&[Self::AttnOut]),
            },
            Self::AttnOut => Row {
                name: "hook_attn_out",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "What attention adds to the residual stream: the sum over heads, plus b_O.".into(),
                formula: |_| "Σ_head z · W_O + b_O".into(),
                readers: |at| at.hooks(&[if at.is_parallel() { Self::ResidPost } else { Self::ResidMid }]),
            },
            Self::ResidMid => Row {
                name: "hook_resid_mid",
                fires: Fires::Sequential,
                axes: |_| STREAM,
                about: |dims| {
                    let derived = "Derived: the residual stream plus attention's output. A parallel block never computes it; its MLP reads resid_pre.";
                    if dims.parallel { derived } else { "The residual stream between attention and MLP." }.into()
                },
                formula: |_| "resid_pre + attn_out".into(),
                readers: |at| match at.is_parallel() {
                    true => vec![],
                    false => at.hooks(&[at.mlp(), &[Self::ResidPost]].concat()),
                },
            },
            Self::MlpIn => Row {
                name: "hook_mlp_in",
                fires: Fires::OptIn("use_hook_mlp_in"),
                axes: |_| STREAM,
                about: |_| "A copy of the residual stream for the MLP, before ln2; edits reach only the MLP.".into(),
                formula: |by| by.mlp_input().into(),
                readers: |at| at.hooks(&LN2),
            },
            Self::Ln2Scale => Row {
                name: "ln2.hook_scale",
                fires: Fires::Always,
                axes: |_| DIVISOR,
                about: |_| "The MLP LayerNorm's divisor: the standard deviation of its centred input.".into(),
                formula: |by| scale(by.mlp_input()),
                readers: |at| at.hooks(&[Self::Ln2Normalized]),
            },
            Self::Ln2Normalized => Row {
                name: "ln2.hook_normalized",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "The MLP LayerNorm's output, which the MLP reads.".into(),
                formula: |by| by.norm(by.mlp_input(), "ln2"),
                readers: |at| at.hooks(&[Self::MlpPre]),
            },
            Self::MlpPre => Row {
                name: "mlp.hook_pre",
                fires: Fires::Always,
                axes: |_| NEURONS,
                about: |dims| format!("The MLP's neurons before the {}.", dims.activation.name).into(),
                formula: |_| "ln2 · W_in + b_in".into(),
                readers: |at| at.hooks(&[Self::MlpPost]),
            },
            Self::MlpPost => Row {
                name: "mlp.hook_post",
                fires: Fires::Always,
                axes: |_| NEURONS,
                about: |dims| format!("The MLP's neurons after the {}.", dims.activation.name).into(),
                formula: |by| by.dims.activation.formula.into(),
                readers: |at| at.hooks(&[Self::MlpOut]),
            },
            Self::MlpOut => Row {
                name: "hook_mlp_out",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "What the MLP adds to the residual stream.".into(),
                formula: |_| "post · W_out + b_out".into(),
                readers: |at| at.hooks(&[Self::ResidPost]),
            },
            Self::ResidPost => Row {
                name: "hook_resid_post",
                fires: Fires::Always,
                axes: |_| STREAM,
                about: |_| "The residual stream as it leaves the block.".into(),
                formula: |by| match by.dims.parallel {
                    true => "resid_pre + attn_out + mlp_out".into(),
                    false => "resid_mid + mlp_out".into(),
                },
                readers: |at| match at.block + 1 {
                    next if next < at.schema.dims.n_layers => vec![HookPoint::Block(next, Self::ResidPre)],
                    _ => HookPoint::AFTER.to_vec(),
                },
            },
        }
    }
}
