//! The origin of each hook's value in a checkpoint: the module of Hugging Face's `GPTNeoXForCausalLM` that computes it,
//! and the tensors of the published layout that it uses as parameters. One row for each hook.

use std::fmt;

use crate::hooks::{BlockHook, Dims, HookPoint};

/// The part of a checkpoint tensor that an activation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The embedding rows of the prompt's tokens.
    TokenRows,
    /// Rows of the fused `query_key_value` tensor for one of q, k, v: for one head, or for every head.
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
pub struct Origin {
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

/// The module of Hugging Face's model that computes a hook's value, and what the value is there.
#[must_use]
pub fn module_of(point: HookPoint) -> (String, &'static str) {
    let (module, role, _) = row(point);
    match point.block() {
        Some(block) => (format!("gpt_neox.layers.{block}{module}"), role),
        None => (format!("gpt_neox.{module}"), role),
    }
}

/// The checkpoint tensors that an activation is computed with, by their names in the published layout.
///
/// For a residual stream these are the parameters that last wrote to it; for an activation computed without parameters
/// (a LayerNorm's scale) there are none. `head` narrows fused tensors to one head; `folded` adds what processing folded
/// in.
#[must_use]
pub fn sources(point: HookPoint, dims: &Dims, folded: bool, head: Option<usize>) -> Vec<Origin> {
    let (_, _, tensors) = row(point);
    tensors(&Layer { dims, block: point.block().unwrap_or(0), folded, head })
}

/// The module below the layer (outside the blocks, below `gpt_neox`), what the value is there, and its tensors.
type Row = (&'static str, &'static str, fn(&Layer<'_>) -> Vec<Origin>);

fn row(point: HookPoint) -> Row {
    use BlockHook as B;
    const LN1: &str = ".input_layernorm";
    const LN2: &str = ".post_attention_layernorm";
    const QKV: &str = ".attention.query_key_value";
    const DENSE: &str = ".attention.dense";
    let hook = match point {
        HookPoint::Tokens => return ("embed_in", "input", |_| vec![]),
        HookPoint::Embed => return ("embed_in", "output", |_| vec![embedding()]),
        HookPoint::LnFinalScale => return ("final_layer_norm", "inside, the divisor", |_| vec![]),
        HookPoint::LnFinalNormalized => {
            return ("final_layer_norm", "output", |at| at.unfolded(&parameters("gpt_neox.final_layer_norm")));
        }
        HookPoint::Block(_, hook) => hook,
    };
    match hook {
        B::ResidPre => ("", "input", |at| at.stream()),
        B::AttnIn => (LN1, "input, a copy for each head", |at| at.stream()),
        B::QInput => (LN1, "input, a copy for each head's query", |at| at.stream()),
        B::KInput => (LN1, "input, a copy for each head's key", |at| at.stream()),
        B::VInput => (LN1, "input, a copy for each head's value", |at| at.stream()),
        B::Ln1Scale => (LN1, "inside, the divisor", |_| vec![]),
        B::Ln1Normalized => (LN1, "output", |at| at.unfolded(&at.both(LN1))),
        B::Q => (QKV, "output, the query third of each head", |at| at.query()),
        B::K => (QKV, "output, the key third of each head", |at| at.key()),
        B::V => (QKV, "output, the value third of each head", |at| at.value()),
        B::RotQ => (".attention", "inside, after the rotary embedding", |at| at.query()),
        B::RotK => (".attention", "inside, after the rotary embedding", |at| at.key()),
        B::AttnScores => (".attention", "inside, before the softmax", |at| at.scores()),
        B::Pattern => (".attention", "inside, after the softmax", |at| at.scores()),
        B::Z => (DENSE, "input, by head", |at| [at.value(), at.scores()].concat()),
        B::Result => (DENSE, "output, what each head adds to it", |at| {
            let part = Part::HeadColumns { head: at.head, d_head: at.dims.d_head };
            vec![Origin { tensor: at.name(&format!("{DENSE}.weight")), part }]
        }),
        B::AttnOut => (DENSE, "output", |at| at.attn_out()),
        B::ResidMid => ("", "inside, between attention and MLP", |at| at.attn_out()),
        B::MlpIn => (LN2, "input", |at| if at.dims.parallel { at.stream() } else { at.attn_out() }),
        B::Ln2Scale => (LN2, "inside, the divisor", |_| vec![]),
        B::Ln2Normalized => (LN2, "output", |at| at.unfolded(&at.both(LN2))),
        B::MlpPre => (".mlp.dense_h_to_4h", "output", |at| at.neurons()),
        B::MlpPost => (".mlp.act", "output", |at| at.neurons()),
        B::MlpOut => (".mlp.dense_4h_to_h", "output", |at| at.both(".mlp.dense_4h_to_h")),
        B::ResidPost => ("", "output", |at| [at.attn_out(), at.both(".mlp.dense_4h_to_h")].concat()),
    }
}

fn embedding() -> Origin {
    Origin { tensor: "gpt_neox.embed_in.weight".into(), part: Part::TokenRows }
}

/// The weight and the bias of a module.
fn parameters(module: &str) -> Vec<Origin> {
    ["weight", "bias"].map(|w| Origin { tensor: format!("{module}.{w}"), part: Part::Whole }).to_vec()
}

/// A layer whose tensors are requested: all of them, or those of a head.
struct Layer<'a> {
    dims: &'a Dims,
    block: usize,
    folded: bool,
    head: Option<usize>,
}

impl Layer<'_> {
    fn name(&self, part: &str) -> String {
        format!("gpt_neox.layers.{}{part}", self.block)
    }

    fn both(&self, module: &str) -> Vec<Origin> {
        parameters(&self.name(module))
    }

    /// These, unless processing folded them into the LayerNorm's readers.
    fn unfolded(&self, norm: &[Origin]) -> Vec<Origin> {
        if self.folded { vec![] } else { norm.to_vec() }
    }

    /// The parameters of a LayerNorm that processing folded in.
    fn folded_norm(&self, module: &str) -> Vec<Origin> {
        if !self.folded {
            return vec![];
        }
        self.both(module).into_iter().map(|source| Origin { part: Part::Folded, ..source }).collect()
    }

    /// The rows of the fused tensor for one of q, k, v, by its place among them.
    fn fused(&self, number: usize, which: &'static str) -> Vec<Origin> {
        let (stride, len) = (3 * self.dims.d_head, self.dims.d_head);
        let first = self.head.map_or(0, |h| h * stride) + number * len;
        let part = Part::Fused { which, head: self.head, first, len, stride };
        let rows = |source| Origin { part: part.clone(), ..source };
        self.both(".attention.query_key_value").into_iter().map(rows).collect()
    }

    fn query(&self) -> Vec<Origin> {
        [self.fused(0, "q"), self.folded_norm(".input_layernorm")].concat()
    }

    fn key(&self) -> Vec<Origin> {
        [self.fused(1, "k"), self.folded_norm(".input_layernorm")].concat()
    }

    fn scores(&self) -> Vec<Origin> {
        [self.fused(0, "q"), self.key()].concat()
    }

    /// Folding moves the value bias, including ln1's bias, to `b_O`.
    fn value(&self) -> Vec<Origin> {
        let all = [self.fused(2, "v"), self.folded_norm(".input_layernorm")].concat();
        all.into_iter().filter(|source| !self.folded || source.tensor.ends_with("weight")).collect()
    }

    fn attn_out(&self) -> Vec<Origin> {
        let mut all = self.both(".attention.dense");
        if self.folded {
            all.push(Origin { tensor: self.name(".attention.query_key_value.bias"), part: Part::Folded });
        }
        all
    }

    fn neurons(&self) -> Vec<Origin> {
        [self.both(".mlp.dense_h_to_4h"), self.folded_norm(".post_attention_layernorm")].concat()
    }

    /// The parameters that last wrote to the stream that the layer reads.
    fn stream(&self) -> Vec<Origin> {
        match self.block.checked_sub(1) {
            None => vec![embedding()],
            Some(before) => sources(HookPoint::Block(before, BlockHook::ResidPost), self.dims, self.folded, self.head),
        }
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
        assert_eq!(v[1], Origin { tensor: "gpt_neox.layers.0.input_layernorm.weight".into(), part: Part::Folded });
    }
}
