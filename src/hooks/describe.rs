//! What each hook is: a sentence, the formula in the field's notation, and the checkpoint tensors it comes from.

use std::{borrow::Cow, fmt};

use super::{BlockHook, Dims, HookPoint, Schema};

/// A sentence that says what the activation is.
#[must_use]
pub fn description(point: HookPoint, dims: &Dims) -> Cow<'static, str> {
    use BlockHook as B;
    let plain = match point {
        HookPoint::Tokens => "The prompt's token ids, before they are embedded.",
        HookPoint::Embed => {
            "The token embeddings: the start of the residual stream (position enters later, by rotation)."
        }
        HookPoint::LnFinalScale => {
            "The final LayerNorm's divisor: the standard deviation of the centred residual stream."
        }
        HookPoint::LnFinalNormalized => "The residual stream after the final LayerNorm, as the unembedding reads it.",
        HookPoint::Block(_, hook) => match hook {
            B::ResidPre => "The residual stream as it enters the block.",
            B::AttnIn => {
                "A copy of the residual stream for each head, before ln1; edits reach only that head's q, k and v."
            }
            B::QInput => "A copy of the residual stream for each head, before ln1, from which only its query is made.",
            B::KInput => "A copy of the residual stream for each head, before ln1, from which only its key is made.",
            B::VInput => "A copy of the residual stream for each head, before ln1, from which only its value is made.",
            B::Ln1Scale => "The attention LayerNorm's divisor: the standard deviation of its centred input.",
            B::Ln1Normalized => "The attention LayerNorm's output, from which queries, keys and values are made.",
            B::Q => "Each head's query vectors, before rotary position embedding.",
            B::K => "Each head's key vectors, before rotary position embedding.",
            B::V => "Each head's value vectors: what it moves from the positions that it attends to.",
            B::RotQ => {
                "Query vectors after rotary position embedding; only the first dimensions of each head are turned."
            }
            B::RotK => {
                "Key vectors after rotary position embedding; only the first dimensions of each head are turned."
            }
            B::AttnScores => {
                "How well each query matches each key, scaled, with the future masked to -inf; before the softmax."
            }
            B::Pattern => {
                "Attention pattern: the share of each query position's attention that goes to each key position."
            }
            B::Z => "Each head's output before W_O: its value vectors mixed by its attention pattern.",
            B::Result => {
                "Each head's own contribution to the residual stream (b_O belongs to no head and is left out)."
            }
            B::AttnOut => "What attention adds to the residual stream: the sum over heads, plus b_O.",
            B::ResidMid if dims.parallel => {
                "Derived: the residual stream plus attention's output. A parallel block never computes it; its MLP reads resid_pre."
            }
            B::ResidMid => "The residual stream between attention and MLP.",
            B::MlpIn => "A copy of the residual stream for the MLP, before ln2; edits reach only the MLP.",
            B::Ln2Scale => "The MLP LayerNorm's divisor: the standard deviation of its centred input.",
            B::Ln2Normalized => "The MLP LayerNorm's output, which the MLP reads.",
            B::MlpPre => return format!("The MLP's neurons before the {}.", dims.activation.name).into(),
            B::MlpPost => return format!("The MLP's neurons after the {}.", dims.activation.name).into(),
            B::MlpOut => "What the MLP adds to the residual stream.",
            B::ResidPost => "The residual stream as it leaves the block.",
        },
    };
    plain.into()
}

/// The formula in the field's notation. `folded` tells whether LayerNorm's weights were folded into what reads it.
#[must_use]
pub fn formula(point: HookPoint, dims: &Dims, folded: bool) -> String {
    use BlockHook as B;
    let mlp_input = if dims.parallel { "resid_pre" } else { "resid_mid" };
    let norm = |x: &str, ln: &str| {
        let affine = if folded { String::new() } else { format!(" ⊙ {ln}.w + {ln}.b") };
        format!("({x} − mean({x})) / {ln}.scale{affine}")
    };
    let scale = |x: &str| format!("√(mean(({x} − mean({x}))²) + ε)");
    match point {
        HookPoint::Tokens => "tokenizer(prompt)".into(),
        HookPoint::Embed => "W_E[tokens]".into(),
        HookPoint::LnFinalScale => scale("x"),
        HookPoint::LnFinalNormalized => format!("{},   x = resid_post of the last block", norm("x", "ln_final")),
        HookPoint::Block(block, hook) => match hook {
            B::ResidPre if block == 0 => "embed".into(),
            B::ResidPre => format!("resid_post of blocks.{}", block - 1),
            B::AttnIn | B::QInput | B::KInput | B::VInput => "resid_pre, repeated for each head".into(),
            B::Ln1Scale => scale("resid_pre"),
            B::Ln1Normalized => norm("resid_pre", "ln1"),
            B::Q => "q = ln1 · W_Q + b_Q".into(),
            B::K => "k = ln1 · W_K + b_K".into(),
            B::V if folded => "v = ln1 · W_V   (b_V is folded into b_O)".into(),
            B::V => "v = ln1 · W_V + b_V".into(),
            B::RotQ => "R(pos) · q".into(),
            B::RotK => "R(pos) · k".into(),
            B::AttnScores => format!("rot_q · rot_kᵀ / √{},   −∞ where key > query", dims.d_head),
            B::Pattern => "softmax(attn_scores) over key".into(),
            B::Z => "pattern · v".into(),
            B::Result => "z · W_O, for each head".into(),
            B::AttnOut => "Σ_head z · W_O + b_O".into(),
            B::ResidMid => "resid_pre + attn_out".into(),
            B::MlpIn => mlp_input.into(),
            B::Ln2Scale => scale(mlp_input),
            B::Ln2Normalized => norm(mlp_input, "ln2"),
            B::MlpPre => "ln2 · W_in + b_in".into(),
            B::MlpPost => dims.activation.formula.into(),
            B::MlpOut => "post · W_out + b_out".into(),
            B::ResidPost => format!("{}{} + mlp_out", mlp_input, if dims.parallel { " + attn_out" } else { "" }),
        },
    }
}

/// The hooks whose values are computed from this one directly, in execution order; none where it goes into the logits or,
/// derived or beside a split input, nowhere.
#[must_use]
pub fn readers(point: HookPoint, schema: &Schema) -> Vec<HookPoint> {
    use BlockHook as B;
    let dims = &schema.dims;
    let (block, hook) = match point {
        HookPoint::Tokens => return vec![HookPoint::Embed],
        HookPoint::Embed => return vec![HookPoint::Block(0, B::ResidPre)],
        HookPoint::LnFinalScale => return vec![HookPoint::LnFinalNormalized],
        HookPoint::LnFinalNormalized => return vec![],
        HookPoint::Block(block, hook) => (block, hook),
    };
    let at = |hook| HookPoint::Block(block, hook);
    let on = |hook: &B| schema.is_enabled(at(*hook));
    let split = || [B::QInput, B::KInput, B::VInput];
    let ln1 = [B::Ln1Scale, B::Ln1Normalized];
    let mlp = || if on(&B::MlpIn) { vec![B::MlpIn] } else { vec![B::Ln2Scale, B::Ln2Normalized] };
    let inside: Vec<B> = match hook {
        B::ResidPre => {
            let mut all = vec![];
            all.extend(Some(B::AttnIn).filter(on));
            all.extend(split().iter().filter(|hook| on(hook)));
            // the stream itself is read by whatever has no copy of its own
            let copied = if schema.is_split(block) { split().iter().all(on) } else { on(&B::AttnIn) };
            if !copied {
                all.extend(ln1);
            }
            if dims.parallel {
                all.extend(mlp());
                all.push(B::ResidPost);
            } else {
                all.push(B::ResidMid);
            }
            all
        }
        B::AttnIn if schema.is_split(block) => vec![],
        B::AttnIn | B::QInput | B::KInput | B::VInput => ln1.to_vec(),
        B::Ln1Scale => vec![B::Ln1Normalized],
        B::Ln1Normalized => vec![B::Q, B::K, B::V],
        B::Q => vec![B::RotQ],
        B::K => vec![B::RotK],
        B::V | B::Pattern => vec![B::Z],
        B::RotQ | B::RotK => vec![B::AttnScores],
        B::AttnScores => vec![B::Pattern],
        B::Z => vec![if on(&B::Result) { B::Result } else { B::AttnOut }],
        B::Result => vec![B::AttnOut],
        B::AttnOut => vec![if dims.parallel { B::ResidPost } else { B::ResidMid }],
        B::ResidMid if dims.parallel => vec![],
        B::ResidMid => [mlp(), vec![B::ResidPost]].concat(),
        B::MlpIn => vec![B::Ln2Scale, B::Ln2Normalized],
        B::Ln2Scale => vec![B::Ln2Normalized],
        B::Ln2Normalized => vec![B::MlpPre],
        B::MlpPre => vec![B::MlpPost],
        B::MlpPost => vec![B::MlpOut],
        B::MlpOut => vec![B::ResidPost],
        B::ResidPost if block + 1 < dims.n_layers => return vec![HookPoint::Block(block + 1, B::ResidPre)],
        B::ResidPost => return vec![HookPoint::LnFinalScale, HookPoint::LnFinalNormalized],
    };
    inside.into_iter().map(at).collect()
}

/// The part of a checkpoint tensor that an activation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The embedding rows of the prompt's tokens.
    TokenRows,
    /// Rows of the fused `query_key_value` tensor for one of q, k, v: of one head, or of every head.
    Fused {
        which: &'static str,
        head: Option<usize>,
        first: usize,
        len: usize,
        stride: usize,
    },
    /// The columns of the output projection that one head (or each) writes through.
    HeadColumns {
        head: Option<usize>,
        d_head: usize,
    },
    /// A parameter that processing folded into the tensors beside it.
    Folded,
}

/// A checkpoint tensor and the part of it that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub tensor: String,
    pub part: Part,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::TokenRows => f.write_str("the rows of the prompt's tokens"),
            Self::Fused { which, head: Some(head), first, len, .. } => {
                write!(f, "rows {first}:{} (head {head}, {which})", first + len)
            }
            Self::Fused { which, head: None, first, len, stride } => {
                write!(f, "rows {stride}h+{first} : {stride}h+{} (each head h, {which})", first + len)
            }
            Self::HeadColumns { head: Some(head), d_head } => {
                write!(f, "columns {}:{} (head {head})", head * d_head, (head + 1) * d_head)
            }
            Self::HeadColumns { head: None, d_head } => {
                write!(f, "columns {d_head}h : {d_head}h+{d_head} (each head h)")
            }
            Self::Folded => f.write_str("folded in"),
        }
    }
}

/// The checkpoint tensors whose parameters an activation is made with, by the names they have in the published layout.
///
/// For a residual stream these are the parameters that last wrote to it; for one that no parameter makes (a LayerNorm's
/// scale) there are none. `head` narrows fused tensors to one head; `folded` adds what processing folded in.
#[must_use]
pub fn sources(point: HookPoint, dims: &Dims, folded: bool, head: Option<usize>) -> Vec<Source> {
    use BlockHook as B;
    let whole = |tensor: String| Source { tensor, part: Part::Whole };
    let embed = Source { tensor: "gpt_neox.embed_in.weight".into(), part: Part::TokenRows };
    let layer_norm = |name: &str| match folded {
        true => vec![],
        false => ["weight", "bias"].map(|w| whole(format!("{name}.{w}"))).to_vec(),
    };
    let (block, hook) = match point {
        HookPoint::Tokens | HookPoint::LnFinalScale => return vec![],
        HookPoint::Embed => return vec![embed],
        HookPoint::LnFinalNormalized => return layer_norm("gpt_neox.final_layer_norm"),
        HookPoint::Block(block, hook) => (block, hook),
    };
    let in_layer = |name: &str| format!("gpt_neox.layers.{block}.{name}");
    let both = |name: &str| ["weight", "bias"].map(|w| whole(in_layer(&format!("{name}.{w}")))).to_vec();
    let folded_norm = |name: &str| match folded {
        true => {
            ["weight", "bias"].map(|w| Source { tensor: in_layer(&format!("{name}.{w}")), part: Part::Folded }).to_vec()
        }
        false => vec![],
    };
    let fused = |number: usize, which: &'static str| {
        let (stride, len) = (3 * dims.d_head, dims.d_head);
        let first = head.map_or(0, |h| h * stride) + number * len;
        let part = Part::Fused { which, head, first, len, stride };
        let rows = |w: &str| Source { tensor: in_layer(&format!("attention.query_key_value.{w}")), part: part.clone() };
        vec![rows("weight"), rows("bias")]
    };
    let folded_value_bias = || match folded {
        true => vec![Source { tensor: in_layer("attention.query_key_value.bias"), part: Part::Folded }],
        false => vec![],
    };
    let value = || {
        let all = [fused(2, "v"), folded_norm("input_layernorm")].concat();
        all.into_iter().filter(|source| !folded || source.tensor.ends_with("weight")).collect::<Vec<_>>()
    };
    let attn_out = || [both("attention.dense"), folded_value_bias()].concat();
    match hook {
        B::ResidPre | B::AttnIn | B::QInput | B::KInput | B::VInput if block == 0 => vec![embed],
        B::MlpIn if block == 0 && dims.parallel => vec![embed],
        B::ResidPre | B::AttnIn | B::QInput | B::KInput | B::VInput => {
            sources(HookPoint::Block(block - 1, B::ResidPost), dims, folded, head)
        }
        B::MlpIn if dims.parallel => sources(HookPoint::Block(block - 1, B::ResidPost), dims, folded, head),
        B::Ln1Scale | B::Ln2Scale => vec![],
        B::Ln1Normalized => both("input_layernorm").into_iter().filter(|_| !folded).collect(),
        B::Ln2Normalized => both("post_attention_layernorm").into_iter().filter(|_| !folded).collect(),
        B::Q | B::RotQ => [fused(0, "q"), folded_norm("input_layernorm")].concat(),
        B::K | B::RotK => [fused(1, "k"), folded_norm("input_layernorm")].concat(),
        // folding moves the value bias, ln1's bias in it, to b_O
        B::V => value(),
        B::Z => [value(), fused(0, "q"), fused(1, "k"), folded_norm("input_layernorm")].concat(),
        B::AttnScores | B::Pattern => [fused(0, "q"), fused(1, "k"), folded_norm("input_layernorm")].concat(),
        B::Result => {
            let part = Part::HeadColumns { head, d_head: dims.d_head };
            vec![Source { tensor: in_layer("attention.dense.weight"), part }]
        }
        B::AttnOut | B::ResidMid | B::MlpIn => attn_out(),
        B::MlpPre | B::MlpPost => [both("mlp.dense_h_to_4h"), folded_norm("post_attention_layernorm")].concat(),
        B::MlpOut => both("mlp.dense_4h_to_h"),
        B::ResidPost => [attn_out(), both("mlp.dense_4h_to_h")].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ACTIVATIONS;

    #[test]
    fn head_rows_follow_the_fused_order() {
        let dims = Dims {
            n_layers: 6,
            n_heads: 8,
            d_head: 64,
            d_model: 512,
            d_mlp: 2048,
            d_vocab: 50304,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        };
        let q = sources(HookPoint::Block(0, BlockHook::Q), &dims, false, Some(3));
        assert_eq!(q[0].tensor, "gpt_neox.layers.0.attention.query_key_value.weight");
        assert_eq!(q[0].part.to_string(), "rows 576:640 (head 3, q)");
        let v = sources(HookPoint::Block(0, BlockHook::V), &dims, true, Some(0));
        assert_eq!(v[0].part.to_string(), "rows 128:192 (head 0, v)");
        assert_eq!(v.len(), 2, "the value bias is in b_O");
        assert_eq!(v[1], Source { tensor: "gpt_neox.layers.0.input_layernorm.weight".into(), part: Part::Folded });
    }
}
