use std::path::Path;

use super::{
    Dictionary, Parts,
    activation::Activation,
    files::{Fields, Layout, Weights, module_hook},
    normalisation::Normalisation,
};
use crate::{
    hooks::{BlockHook, HookPoint},
    model::{ModelError, Placement},
};

/// The fields that its trainers write. Only the class, the sizes, `k` and the hook matter here.
const KNOWN: [&str; 29] = [
    "activation_dim",
    "auxk_alpha",
    "bandwidth",
    "context_length",
    "decay_start",
    "device",
    "dict_class",
    "dict_size",
    "k",
    "k_anneal_steps",
    "l1_penalty",
    "layer",
    "lm_name",
    "lr",
    "normalize_activations",
    "penalty_scale",
    "resample_steps",
    "seed",
    "sparsity_penalty",
    "sparsity_warmup_steps",
    "steps",
    "submodule_name",
    "target_l0",
    "threshold_beta",
    "threshold_start_step",
    "top_k_aux",
    "trainer_class",
    "wandb_name",
    "warmup_steps",
];

/// `dictionary_learning`, as its `load_dictionary` reads it.
pub(super) fn read(directory: &Path, place: &Placement) -> Result<Dictionary, ModelError> {
    let [config, weights] = Layout::DictionaryLearning.files().map(|file| directory.join(file));
    let outer = Fields::open(config)?;
    outer.only(&["trainer", "buffer"])?;
    let fields = outer.inner("trainer").ok_or_else(|| outer.misfit("it has no object \"trainer\""))?;
    fields.only(&KNOWN)?;
    fields.off("normalize_activations")?;
    let weights = Weights::open(weights)?;
    let class = fields.text("dict_class")?.ok_or_else(|| fields.misfit("it has no dict_class"))?.to_string();
    let by_rows = class == "JumpReluAutoEncoder";
    let (d_sae, d_in) = match by_rows {
        true => {
            let (d_in, d_sae) = weights.sizes("W_enc")?;
            (d_sae, d_in)
        }
        false => weights.sizes("encoder.weight")?,
    };
    let (mut encoder, mut decoder) = match by_rows {
        true => (weights.transposed("W_enc", [d_in, d_sae])?, weights.read("W_dec", &[d_sae, d_in])?),
        false => {
            (weights.read("encoder.weight", &[d_sae, d_in])?, weights.transposed("decoder.weight", [d_in, d_sae])?)
        }
    };
    let per_feature = |name: &str| weights.read(name, &[d_sae]);
    let per_input = |name: &str| weights.read(name, &[d_in]);
    let (mut bias, b_dec, subtracts, activation) = match class.as_str() {
        "AutoEncoder" => (Some(per_feature("encoder.bias")?), per_input("bias")?, true, Activation::Relu),
        "AutoEncoderNew" => (Some(per_feature("encoder.bias")?), per_input("decoder.bias")?, false, Activation::Relu),
        "AutoEncoderTopK" => {
            let activation = Activation::TopK(fields.required("k")?);
            (Some(per_feature("encoder.bias")?), per_input("b_dec")?, true, activation)
        }
        "BatchTopKSAE" => {
            let threshold = weights.read("threshold", &[])?.first().copied().unwrap_or_default();
            (Some(per_feature("encoder.bias")?), per_input("b_dec")?, true, Activation::Threshold(threshold))
        }
        "JumpReluAutoEncoder" => {
            (Some(per_feature("b_enc")?), per_input("b_dec")?, false, Activation::JumpRelu(per_feature("threshold")?))
        }
        "GatedAutoEncoder" => {
            let (gate, scale) = (per_feature("gate_bias")?, per_feature("r_mag")?);
            let gated = Activation::Gated { gate, scale, magnitude: per_feature("mag_bias")? };
            (None, per_input("decoder_bias")?, true, gated)
        }
        other => {
            let expected =
                "AutoEncoder, AutoEncoderNew, AutoEncoderTopK, BatchTopKSAE, JumpReluAutoEncoder or GatedAutoEncoder";
            return Err(fields.misfit(&format!("the dict_class {other:?} is not supported; expected {expected}")));
        }
    };
    if class == "AutoEncoder" {
        normalize(d_in, &mut encoder, bias.as_mut(), &mut decoder);
    }
    let parts = Parts {
        hook: hook(&fields)?,
        architecture: class,
        layout: Layout::DictionaryLearning,
        d_in,
        d_sae,
        encoder,
        bias,
        decoder,
        b_dec,
        subtracts,
        normalisation: Normalisation::None,
        activation,
    };
    parts.build(&fields.path, place)
}

/// As the library does on loading: scale the decoder's rows to norm 1, and move the norms into the encoder.
#[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
fn normalize(d_in: usize, encoder: &mut [f32], mut bias: Option<&mut Vec<f32>>, decoder: &mut [f32]) {
    for (at, (read, write)) in encoder.chunks_mut(d_in).zip(decoder.chunks_mut(d_in)).enumerate() {
        let norm = write.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
        if norm == 0.0 {
            continue;
        }
        for x in write.iter_mut() {
            *x /= norm;
        }
        for x in read.iter_mut() {
            *x *= norm;
        }
        if let Some(bias) = bias.as_mut().and_then(|bias| bias.get_mut(at)) {
            *bias *= norm;
        }
    }
}

/// The hook of a submodule such as `resid_post_layer_3`, `mlp_out_layer_0` or `gpt_neox.layers.3.mlp`.
fn hook(fields: &Fields) -> Result<Option<HookPoint>, ModelError> {
    let Some(block) = fields.size("layer")? else { return Ok(None) };
    let Some(name) = fields.text("submodule_name")? else {
        return Ok(Some(HookPoint::Block(block, BlockHook::ResidPost)));
    };
    if let Some(point) = module_hook(name) {
        return Ok(Some(point));
    }
    let starts = [
        ("resid_pre", BlockHook::ResidPre),
        ("resid_post", BlockHook::ResidPost),
        ("mlp_out", BlockHook::MlpOut),
        ("attention_out", BlockHook::AttnOut),
        ("attn_out", BlockHook::AttnOut),
    ];
    Ok(starts.iter().find(|(start, _)| name.starts_with(start)).map(|(_, hook)| HookPoint::Block(block, *hook)))
}
