//! The module tree of Hugging Face's `GPTNeoXForCausalLM`, and the places of hook points in it.

use std::collections::BTreeMap;

use super::{Config, origin::module_of};
use crate::hooks::{HookPoint, Schema};

/// A module of Hugging Face's model, with its own parameters and the hooks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name in `named_modules()`; empty for the whole model.
    pub path: String,
    pub class: &'static str,
    /// Name within the module, and shape; as in `named_parameters()`.
    pub parameters: Vec<(&'static str, Vec<usize>)>,
    /// In execution order.
    pub hooks: Vec<HookPoint>,
}

impl Module {
    /// The last part of its path; the class, for the whole model.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.path.is_empty() { self.class } else { self.path.rsplit('.').next().unwrap_or(&self.path) }
    }

    /// The number of modules that contain it.
    #[must_use]
    pub fn depth(&self) -> usize {
        if self.path.is_empty() { 0 } else { self.path.split('.').count() }
    }
}

/// Every module, in the order of `named_modules()` in transformers 4.57.
#[must_use]
pub fn modules(config: &Config) -> Vec<Module> {
    let (d, m, v) = (config.d_model, config.d_mlp, config.d_vocab);
    let mut all: Vec<Module> = Vec::new();
    let mut add = |path: String, class, parameters| {
        all.push(Module { path, class, parameters, hooks: Vec::new() });
    };
    let norm = || vec![("weight", vec![d]), ("bias", vec![d])];
    let linear = |rows: usize, columns: usize| vec![("weight", vec![rows, columns]), ("bias", vec![rows])];
    add(String::new(), "GPTNeoXForCausalLM", vec![]);
    add("gpt_neox".into(), "GPTNeoXModel", vec![]);
    add("gpt_neox.embed_in".into(), "Embedding", vec![("weight", vec![v, d])]);
    add("gpt_neox.emb_dropout".into(), "Dropout", vec![]);
    add("gpt_neox.layers".into(), "ModuleList", vec![]);
    for block in 0..config.n_layers {
        let layer = format!("gpt_neox.layers.{block}");
        let mut part = |name: &str, class, parameters| add(format!("{layer}{name}"), class, parameters);
        part("", "GPTNeoXLayer", vec![]);
        part(".input_layernorm", "LayerNorm", norm());
        part(".post_attention_layernorm", "LayerNorm", norm());
        part(".post_attention_dropout", "Dropout", vec![]);
        part(".post_mlp_dropout", "Dropout", vec![]);
        part(".attention", "GPTNeoXAttention", vec![]);
        part(".attention.query_key_value", "Linear", linear(3 * d, d));
        part(".attention.dense", "Linear", linear(d, d));
        part(".mlp", "GPTNeoXMLP", vec![]);
        part(".mlp.dense_h_to_4h", "Linear", linear(m, d));
        part(".mlp.dense_4h_to_h", "Linear", linear(d, m));
        part(".mlp.act", config.activation.class, vec![]);
    }
    add("gpt_neox.final_layer_norm".into(), "LayerNorm", norm());
    add("gpt_neox.rotary_emb".into(), "GPTNeoXRotaryEmbedding", vec![]);
    add("embed_out".into(), "Linear", if config.tied { vec![] } else { vec![("weight", vec![v, d])] });

    let at: BTreeMap<String, usize> = all.iter().enumerate().map(|(i, module)| (module.path.clone(), i)).collect();
    for point in Schema::new(config.dims()).all_points() {
        if let Some(i) = at.get(&module_of(point).0) {
            all[*i].hooks.push(point);
        }
    }
    all
}

/// Every parameter of the published layout with its shape.
pub(super) fn parameters(config: &Config) -> Vec<(String, Vec<usize>)> {
    let named = |module: Module| {
        let path = module.path;
        module.parameters.into_iter().map(move |(name, shape)| (format!("{path}.{name}"), shape))
    };
    modules(config).into_iter().flat_map(named).collect()
}
