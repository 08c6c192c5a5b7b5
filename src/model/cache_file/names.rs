//! What a tensor in a cache holds, by the name that TransformerLens 2.x or 4.x, Hugging Face or nnsight gives it.

use crate::hooks::{BlockHook, HookPoint};

/// What a tensor of a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Tokens,
    Hook(HookPoint),
    /// The residual stream as it leaves the last block.
    FinalStream,
    /// An entry of Hugging Face's `hidden_states`: the stream into a block, the last one after the final LayerNorm.
    HiddenState(usize),
    /// The output of `query_key_value`: for each head its query, key and value.
    Qkv(usize),
    Logits,
}

/// A library's way to name activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A hook of `HookedTransformer`.
    Hook,
    /// A hook that only `TransformerBridge` has.
    Bridge,
    /// An entry of a model output.
    Output,
    /// A module of Hugging Face's model, whose input or output was kept.
    Module,
    /// Names that several libraries use.
    Any,
}

/// What a name stands for; None for what has no counterpart here.
pub(super) fn meaning(name: &str) -> Option<(Holds, Style)> {
    let name = name.replace('[', ".").replace(']', "");
    let name = name.strip_prefix("_cache.entries.").unwrap_or(&name);
    let output = output(name);
    match output {
        "tokens" | "input_ids" | "hook_tokens" => return Some((Holds::Tokens, Style::Any)),
        "logits" => return Some((Holds::Logits, Style::Any)),
        _ => {}
    }
    if let Ok(point) = name.parse() {
        return Some((Holds::Hook(point), Style::Hook));
    }
    if let Some(number) = entry(output, "hidden_states") {
        return Some((Holds::HiddenState(number), Style::Output));
    }
    if let Some(block) = entry(output, "attentions") {
        return Some((Holds::Hook(HookPoint::Block(block, BlockHook::Pattern)), Style::Output));
    }
    let bridge = || Some((bridge(name)?, Style::Bridge));
    bridge().or_else(|| Some((module(name)?, Style::Module)))
}

/// Whether a tensor has the entries of Hugging Face's `hidden_states` or `attentions` along its first axis, as `torch.stack` puts
/// them: `[layer, pos, d_model]` or `[layer, head, query, key]`, with or without a batch axis after the first.
pub(super) fn is_stack(name: &str, shape: &[usize]) -> bool {
    match (output(name), shape) {
        ("hidden_states", [count, _, _] | [count, _, _, _]) => *count > 1,
        ("attentions", [count, _, query, key] | [count, _, _, query, key]) => *count > 1 && query == key,
        _ => false,
    }
}

/// A name without what nnsight's cache writes before the entries of the model's output.
fn output(name: &str) -> &str {
    let name = name.strip_prefix("_cache.entries.").unwrap_or(name);
    name.strip_prefix("model.0.output.").unwrap_or(name)
}

/// The number of an entry of a tuple: `hidden_states.3` or `hidden_states_3`.
fn entry(name: &str, tuple: &str) -> Option<usize> {
    name.strip_prefix(tuple)?.strip_prefix(['.', '_'])?.parse().ok()
}

/// The hooks of TransformerLens 4's `TransformerBridge` beside those of `HookedTransformer`.
fn bridge(name: &str) -> Option<Holds> {
    let outside = match name {
        "embed.hook_in" => Some(Holds::Tokens),
        "embed.hook_out" => Some(Holds::Hook(HookPoint::Embed)),
        "ln_final.hook_in" => Some(Holds::FinalStream),
        "ln_final.hook_out" | "unembed.hook_in" => Some(Holds::Hook(HookPoint::LnFinalNormalized)),
        "unembed.hook_out" | "hook_unembed" => Some(Holds::Logits),
        _ => None,
    };
    if outside.is_some() {
        return outside;
    }
    let (block, inner) = name.strip_prefix("blocks.")?.split_once('.')?;
    let hook = match inner {
        "hook_in" | "ln1.hook_in" => BlockHook::ResidPre,
        "ln1.hook_out" | "attn.hook_in" | "attn.q.hook_in" | "attn.k.hook_in" | "attn.v.hook_in" => {
            BlockHook::Ln1Normalized
        }
        "attn.q.hook_out" => BlockHook::Q,
        "attn.k.hook_out" => BlockHook::K,
        "attn.v.hook_out" => BlockHook::V,
        "attn.o.hook_in" => BlockHook::Z,
        "attn.o.hook_out" | "attn.hook_out" | "attn.hook_hidden_states" => BlockHook::AttnOut,
        "ln2.hook_out" | "mlp.hook_in" | "mlp.in.hook_in" => BlockHook::Ln2Normalized,
        "mlp.in.hook_out" => BlockHook::MlpPre,
        "mlp.out.hook_in" => BlockHook::MlpPost,
        "mlp.out.hook_out" | "mlp.hook_out" => BlockHook::MlpOut,
        "hook_out" => BlockHook::ResidPost,
        _ => return None,
    };
    Some(Holds::Hook(HookPoint::Block(block.parse().ok()?, hook)))
}

/// Whether an input or an output of a module was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    /// The first output, or the one of this number.
    Output(usize),
}

/// A module of Hugging Face's model: `gpt_neox.layers.3.mlp`, with or without `model.` before it and `.output` or `.input`
/// after it, as nnsight's cache has them.
fn module(name: &str) -> Option<Holds> {
    let name = name.strip_prefix("model.").unwrap_or(name);
    let (path, side) = side(name)?;
    let of = |input: Option<Holds>, output: Option<Holds>| match side {
        Side::Input => input,
        Side::Output(0) => output,
        Side::Output(_) => None,
    };
    let hook = Holds::Hook;
    let path = match path {
        "lm_head" | "embed_out" => return of(Some(hook(HookPoint::LnFinalNormalized)), Some(Holds::Logits)),
        path => path.strip_prefix("gpt_neox.")?,
    };
    match path {
        "embed_in" => return of(Some(Holds::Tokens), Some(hook(HookPoint::Embed))),
        "emb_dropout" => return of(Some(hook(HookPoint::Embed)), Some(hook(HookPoint::Embed))),
        "final_layer_norm" => return of(Some(Holds::FinalStream), Some(hook(HookPoint::LnFinalNormalized))),
        _ => {}
    }
    let rest = path.strip_prefix("layers.")?;
    let (block, inner) = rest.split_once('.').unwrap_or((rest, ""));
    let block = block.parse().ok()?;
    let at = |hook| Some(Holds::Hook(HookPoint::Block(block, hook)));
    match inner {
        "" => of(at(BlockHook::ResidPre), at(BlockHook::ResidPost)),
        "input_layernorm" => of(at(BlockHook::ResidPre), at(BlockHook::Ln1Normalized)),
        "attention" if side == Side::Output(1) => at(BlockHook::Pattern),
        "attention" => of(at(BlockHook::Ln1Normalized), at(BlockHook::AttnOut)),
        "attention.query_key_value" => of(at(BlockHook::Ln1Normalized), Some(Holds::Qkv(block))),
        // the input has the heads' outputs side by side, which is hook_z without the axis of heads
        "attention.dense" => of(at(BlockHook::Z), at(BlockHook::AttnOut)),
        "post_attention_dropout" => of(at(BlockHook::AttnOut), at(BlockHook::AttnOut)),
        "post_attention_layernorm" => of(None, at(BlockHook::Ln2Normalized)),
        "mlp" => of(at(BlockHook::Ln2Normalized), at(BlockHook::MlpOut)),
        "mlp.dense_h_to_4h" => of(at(BlockHook::Ln2Normalized), at(BlockHook::MlpPre)),
        "mlp.act" => of(at(BlockHook::MlpPre), at(BlockHook::MlpPost)),
        "mlp.dense_4h_to_h" => of(at(BlockHook::MlpPost), at(BlockHook::MlpOut)),
        "post_mlp_dropout" => of(at(BlockHook::MlpOut), at(BlockHook::MlpOut)),
        _ => None,
    }
}

/// The path of a module, and what of it was kept: `PATH`, `PATH.output`, `PATH.output.0`, `PATH.0.output` (the first call),
/// `PATH.input`, `PATH.0.inputs.0.0` (the first positional argument) or `PATH.0.inputs.1.hidden_states`.
fn side(name: &str) -> Option<(&str, Side)> {
    for word in ["output", "inputs", "input"] {
        let Some((path, after)) = name.split_once(&format!(".{word}")) else { continue };
        if !after.is_empty() && !after.starts_with('.') {
            continue;
        }
        // the number of the call, which a layer's own number is not
        let first_call = path.strip_suffix(".0").filter(|path| !path.ends_with(".layers"));
        let (path, after) = (first_call.unwrap_or(path), after.trim_start_matches('.'));
        let side = match (word, after) {
            ("output", "") => Side::Output(0),
            ("output", number) => Side::Output(number.parse().ok()?),
            ("input", "") | ("inputs", "0.0" | "1.hidden_states" | "1.input") => Side::Input,
            _ => return None,
        };
        return Some((path, side));
    }
    Some((name, Side::Output(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_s_names_are_known() {
        let at = |block, hook| Holds::Hook(HookPoint::Block(block, hook));
        for (name, holds, style) in [
            ("blocks.3.attn.hook_rot_q", at(3, BlockHook::RotQ), Style::Hook),
            ("blocks.1.hook_out", at(1, BlockHook::ResidPost), Style::Bridge),
            ("blocks.1.attn.o.hook_in", at(1, BlockHook::Z), Style::Bridge),
            ("hook_unembed", Holds::Logits, Style::Bridge),
            ("hidden_states.6", Holds::HiddenState(6), Style::Output),
            ("hidden_states[6]", Holds::HiddenState(6), Style::Output),
            ("attentions_2", at(2, BlockHook::Pattern), Style::Output),
            ("input_ids", Holds::Tokens, Style::Any),
            ("_cache.entries.model.0.output.hidden_states.1", Holds::HiddenState(1), Style::Output),
            ("gpt_neox.layers.0", at(0, BlockHook::ResidPost), Style::Module),
            ("gpt_neox.layers.0.input", at(0, BlockHook::ResidPre), Style::Module),
            ("model.gpt_neox.layers.11.attention.output.1", at(11, BlockHook::Pattern), Style::Module),
            ("model.gpt_neox.layers.0.output[0]", at(0, BlockHook::ResidPost), Style::Module),
            ("_cache.entries.model.gpt_neox.layers.0.0.output", at(0, BlockHook::ResidPost), Style::Module),
            ("_cache.entries.model.gpt_neox.layers.1.mlp.act.0.inputs.0.0", at(1, BlockHook::MlpPre), Style::Module),
            (
                "_cache.entries.model.gpt_neox.layers.1.attention.0.inputs.1.hidden_states",
                at(1, BlockHook::Ln1Normalized),
                Style::Module,
            ),
            ("gpt_neox.layers.4.attention.query_key_value.output", Holds::Qkv(4), Style::Module),
            ("gpt_neox.final_layer_norm.input", Holds::FinalStream, Style::Module),
            ("embed_out", Holds::Logits, Style::Module),
        ] {
            assert_eq!(meaning(name), Some((holds, style)), "{name}");
        }
        for (name, shape, stacked) in [
            ("hidden_states", &[7, 4, 32][..], true),
            ("_cache.entries.model.0.output.hidden_states", &[7, 1, 4, 32], true),
            ("attentions", &[6, 4, 9, 9], true),
            ("attentions", &[6, 1, 4, 9, 9], true),
            // perhaps one of several entries, with a batch axis
            ("hidden_states", &[1, 4, 32], false),
            ("attentions", &[1, 4, 9, 9], false),
            ("attentions", &[6, 4, 9, 8], false),
            ("last_hidden_state", &[7, 4, 32], false),
        ] {
            assert_eq!(is_stack(name, shape), stacked, "{name} {shape:?}");
        }
        for name in [
            "",
            "rotary_emb.hook_cos",
            "past_key_values.layers.0.keys",
            "hidden_states",
            "hidden_states.x",
            "gpt_neox.layers.x.mlp",
            "gpt_neox.layers.0.attention.0.inputs.1.attention_mask",
            "gpt_neox.layers.0.mlp.output.1",
            "transformer.h.0.mlp",
        ] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }
}
