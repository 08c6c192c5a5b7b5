//! The module trees as `PyTorch` prints them: those of TransformerLens 2.18.0 and of Hugging Face's transformers 4.57.

use super::{Config, Module, Processing, modules};
use crate::hooks::BlockHook as B;

/// What `print(model)` shows of TransformerLens's `HookedTransformer`, without a line feed at the end.
#[must_use]
pub fn hooked_transformer(config: &Config, processing: Processing) -> String {
    // in the order in which the constructors name them, which differs from execution order
    const ATTENTION: [B; 9] = [B::K, B::Q, B::V, B::Z, B::AttnScores, B::Pattern, B::Result, B::RotK, B::RotQ];
    const STREAM: [B; 10] = [
        B::AttnIn,
        B::QInput,
        B::KInput,
        B::VInput,
        B::MlpIn,
        B::AttnOut,
        B::MlpOut,
        B::ResidPre,
        B::ResidMid,
        B::ResidPost,
    ];
    let hook = |name: &str| (name.rsplit('.').next().unwrap_or(name).to_string(), "HookPoint()".to_string());
    let hooks = |hooks: &[B]| hooks.iter().map(|point| hook(point.name())).collect::<Vec<_>>();
    let class = if processing.is_folded() { "LayerNormPre" } else { "LayerNorm" };
    let norm = |name: &str| (name.to_string(), parent(class, &hooks(&[B::Ln1Scale, B::Ln1Normalized])));
    let mut block = vec![
        norm("ln1"),
        norm("ln2"),
        ("attn".into(), parent("Attention", &hooks(&ATTENTION))),
        ("mlp".into(), parent("MLP", &hooks(&[B::MlpPre, B::MlpPost]))),
    ];
    let computed = STREAM.into_iter().filter(|point| !(config.parallel && *point == B::ResidMid));
    block.extend(hooks(&computed.collect::<Vec<_>>()));
    let model = [
        ("embed".into(), "Embed()".into()),
        hook("hook_embed"),
        ("blocks".into(), list(config.n_layers, &parent("TransformerBlock", &block))),
        norm("ln_final"),
        ("unembed".into(), "Unembed()".into()),
    ];
    parent("HookedTransformer", &model)
}

/// What `print(model)` shows of Hugging Face's `GPTNeoXForCausalLM`, without a line feed at the end; dropout as at inference, 0.
#[must_use]
pub fn hugging_face(config: &Config) -> String {
    // all layers are alike, so one is enough
    let all = modules(&Config { n_layers: 1, ..config.clone() });
    all.first().map(|model| within(model, &all, config)).unwrap_or_default()
}

/// A module with its children.
fn within(module: &Module, all: &[Module], config: &Config) -> String {
    let inside = |other: &&Module| match other.path.rsplit_once('.') {
        Some((parent, _)) => parent == module.path,
        None => module.path.is_empty() && !other.path.is_empty(),
    };
    let children = all.iter().filter(inside).map(|child| (child.name().to_string(), within(child, all, config)));
    let children: Vec<(String, String)> = children.collect();
    match (module.class, children.first()) {
        ("ModuleList", Some((_, layer))) => list(config.n_layers, layer),
        (class, Some(_)) => parent(class, &children),
        (class, None) => format!("{class}({})", arguments(module, config)),
    }
}

/// What `PyTorch` prints in the parentheses of a module that holds no others.
fn arguments(module: &Module, config: &Config) -> String {
    let (d, v) = (config.d_model, config.d_vocab);
    match module.class {
        "Embedding" => format!("{v}, {d}"),
        "Dropout" => "p=0.0, inplace=False".into(),
        "LayerNorm" => {
            format!("({d},), eps={}, elementwise_affine=True, bias=True", float(config.layer_norm_eps))
        }
        "Linear" => {
            // a tied unembedding lists no weight of its own
            let tied = vec![v, d];
            let weight = module.parameters.iter().find(|(name, _)| *name == "weight").map_or(&tied, |(_, shape)| shape);
            let bias = if module.parameters.len() > 1 { "True" } else { "False" };
            format!("in_features={}, out_features={}, bias={bias}", weight[1], weight[0])
        }
        _ => String::new(),
    }
}

/// A number as Python writes it.
fn float(x: f64) -> String {
    let scientific = format!("{x:e}");
    match scientific.split_once("e-") {
        Some((digits, exponent)) if x < 1e-4 => format!("{digits}e-{exponent:0>2}"),
        _ => format!("{x:?}"),
    }
}

/// A module and its children, each indented below it.
fn parent(class: &str, children: &[(String, String)]) -> String {
    let line = |(name, child): &(String, String)| format!("\n  ({name}): {}", child.replace('\n', "\n  "));
    format!("{class}({}\n)", children.iter().map(line).collect::<String>())
}

/// A `ModuleList` of `n` identical modules.
fn list(n: usize, item: &str) -> String {
    let (range, times) = if n == 1 { ("0".into(), String::new()) } else { (format!("0-{}", n - 1), format!("{n} x ")) };
    parent("ModuleList", &[(range, format!("{times}{item}"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_in_python() {
        for (x, text) in [(1e-5, "1e-05"), (1.5e-12, "1.5e-12"), (1e-4, "0.0001"), (0.25, "0.25"), (1.0, "1.0")] {
            assert_eq!(float(x), text);
        }
        assert_eq!((float(9.999e-5), float(1e-37)), ("9.999e-05".into(), "1e-37".into()));
    }
}
