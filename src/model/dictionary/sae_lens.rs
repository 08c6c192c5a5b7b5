use std::path::Path;

use super::{
    Dictionary, Parts,
    activation::Activation,
    files::{Fields, Layout, Weights},
    normalisation::Normalisation,
};
use crate::model::{ModelError, Placement};

/// The fields of several versions.
const KNOWN: [&str; 37] = [
    "activation_fn",
    "activation_fn_kwargs",
    "activation_fn_str",
    "apply_b_dec_to_input",
    "architecture",
    "context_size",
    "d_in",
    "d_sae",
    "dataset_path",
    "dataset_trust_remote_code",
    "device",
    "dtype",
    "exclude_special_tokens",
    "finetuning_scaling_factor",
    "hf_hook_name",
    "hf_hook_name_out",
    "hook_head_index",
    "hook_head_index_out",
    "hook_layer",
    "hook_name",
    "hook_name_out",
    "hook_point",
    "hook_point_head_index",
    "hook_point_layer",
    "k",
    "metadata",
    "model_class_name",
    "model_from_pretrained_kwargs",
    "model_name",
    "neuronpedia_id",
    "normalize_activations",
    "prepend_bos",
    "rescale_acts_by_decoder_norm",
    "reshape_activations",
    "sae_lens_training_version",
    "sae_lens_version",
    "seqpos_slice",
];

/// `SAELens`: standard, topk, jumprelu and gated.
pub(super) fn read(directory: &Path, place: &Placement) -> Result<Dictionary, ModelError> {
    let [config, weights] = Layout::SaeLens.files().map(|file| directory.join(file));
    let fields = Fields::open(config)?;
    fields.only(&KNOWN)?;
    fields.off("finetuning_scaling_factor")?;
    let metadata = fields.inner("metadata");
    let (d_in, d_sae, weights) = (fields.required("d_in")?, fields.required("d_sae")?, Weights::open(weights)?);
    let normalisation = match fields.get("normalize_activations") {
        None | Some(serde_json::Value::Bool(false)) => Normalisation::None,
        Some(value) => match value.as_str() {
            // at inference SAELens itself leaves these activations as they are
            Some("none" | "expected_average_only_in") => Normalisation::None,
            Some("layer_norm") => Normalisation::LayerNorm,
            Some("constant_norm_rescale") => Normalisation::ConstantNorm,
            _ => {
                let expected = "none, layer_norm, constant_norm_rescale or expected_average_only_in";
                return Err(fields.misfit(&format!("normalize_activations is {value}; expected {expected}")));
            }
        },
    };
    let k = match fields.inner("activation_fn_kwargs") {
        Some(inner) => inner.size("k")?.or(fields.size("k")?),
        None => fields.size("k")?,
    };
    let old = fields.text("activation_fn_str")?.or(fields.text("activation_fn")?);
    let architecture = match (fields.text("architecture")?.unwrap_or("standard"), old) {
        // before version 6, the architecture of TopK was that of its activation function
        ("standard", Some("topk")) => "topk",
        ("standard" | "jumprelu" | "gated", Some(other)) if other != "relu" => {
            return Err(
                fields.misfit(&format!("the activation function {other:?} is not supported; expected relu or topk"))
            );
        }
        (name, _) => name,
    };
    let bias = |name: &str| weights.read(name, &[d_sae]);
    let (b_enc, activation) = match architecture {
        "standard" => (Some(bias("b_enc")?), Activation::Relu),
        "topk" => {
            let k = k.ok_or_else(|| fields.misfit("it has no k, which topk needs"))?;
            (Some(bias("b_enc")?), Activation::TopK(k))
        }
        "jumprelu" => (Some(bias("b_enc")?), Activation::JumpRelu(bias("threshold")?)),
        "gated" => {
            let gated = Activation::Gated { gate: bias("b_gate")?, scale: bias("r_mag")?, magnitude: bias("b_mag")? };
            (None, gated)
        }
        other => {
            let expected = "standard, topk, jumprelu or gated";
            return Err(fields.misfit(&format!("the architecture {other:?} is not supported; expected {expected}")));
        }
    };
    let mut encoder = weights.transposed("W_enc", [d_in, d_sae])?;
    let (mut decoder, mut b_enc) = (weights.read("W_dec", &[d_sae, d_in])?, b_enc);
    if fields.flag("rescale_acts_by_decoder_norm", false)? {
        rescale(d_in, &mut encoder, b_enc.as_mut(), &mut decoder);
    }
    let named = match &metadata {
        Some(metadata) => metadata.text("hook_name")?.map(String::from),
        None => None,
    };
    let named = named.or(fields.text("hook_name")?.map(String::from)).or(fields.text("hook_point")?.map(String::from));
    let parts = Parts {
        architecture: architecture.into(),
        layout: Layout::SaeLens,
        hook: named.and_then(|name| name.parse().ok()),
        d_in,
        d_sae,
        encoder,
        bias: b_enc,
        decoder,
        b_dec: weights.read("b_dec", &[d_in])?,
        subtracts: fields.flag("apply_b_dec_to_input", true)?,
        normalisation,
        activation,
    };
    parts.build(&fields.path, place)
}

/// Features are counted as if the decoder's rows had the norm 1: its norms move into the encoder.
#[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
fn rescale(d_in: usize, encoder: &mut [f32], bias: Option<&mut Vec<f32>>, decoder: &mut [f32]) {
    let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    let norms: Vec<f32> = decoder.chunks(d_in).map(norm).collect();
    for ((read, write), norm) in encoder.chunks_mut(d_in).zip(decoder.chunks_mut(d_in)).zip(&norms) {
        for x in read.iter_mut() {
            *x *= norm;
        }
        for x in write.iter_mut() {
            *x /= norm;
        }
    }
    if let Some(bias) = bias {
        bias.iter_mut().zip(&norms).for_each(|(b, norm)| *b *= norm);
    }
}
