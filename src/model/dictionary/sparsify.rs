use std::path::Path;

use super::{
    Dictionary, Parts,
    activation::Activation,
    files::{Fields, Layout, Weights, module_hook},
    normalisation::Normalisation,
};
use crate::{
    hooks::HookPoint,
    model::{
        ModelError, Placement,
        demo::{DICTIONARY, DICTIONARY_CONFIG},
    },
};

const KNOWN: [&str; 10] = [
    "activation",
    "d_in",
    "expansion_factor",
    "k",
    "multi_topk",
    "normalize_decoder",
    "num_latents",
    "signed",
    "skip_connection",
    "transcode",
];

/// sparsify (`EleutherAI`): `TopK(ReLU(E (x - b_dec) + b))`.
pub(super) fn read(directory: &Path, place: &Placement) -> Result<Dictionary, ModelError> {
    let [config, weights] = Layout::Sparsify.files().map(|file| directory.join(file));
    let hook = directory.file_name().and_then(|name| module_hook(&name.to_string_lossy()));
    parts(&Fields::open(config)?, || Weights::open(weights), hook, place)
}

/// The demo's, of what leaves its block 1.
pub(super) fn demo(place: &Placement) -> Result<Dictionary, ModelError> {
    let fields = Fields::parse("embedded dictionary".into(), DICTIONARY_CONFIG)?;
    parts(&fields, || Weights::embedded(DICTIONARY), module_hook("layers.1"), place)
}

fn parts(
    fields: &Fields,
    weights: impl FnOnce() -> Result<Weights, ModelError>,
    hook: Option<HookPoint>,
    place: &Placement,
) -> Result<Dictionary, ModelError> {
    fields.only(&KNOWN)?;
    for flag in ["signed", "skip_connection", "transcode"] {
        fields.off(flag)?;
    }
    if let Some(other) = fields.text("activation")?.filter(|name| *name != "topk") {
        return Err(fields.misfit(&format!("activation is {other:?}; expected \"topk\"")));
    }
    let (d_in, weights) = (fields.required("d_in")?, weights()?);
    let (d_sae, _) = weights.sizes("encoder.weight")?;
    let parts = Parts {
        architecture: "topk".into(),
        layout: Layout::Sparsify,
        hook,
        d_in,
        d_sae,
        encoder: weights.read("encoder.weight", &[d_sae, d_in])?,
        bias: Some(weights.read("encoder.bias", &[d_sae])?),
        decoder: weights.read("W_dec", &[d_sae, d_in])?,
        b_dec: weights.read("b_dec", &[d_in])?,
        subtracts: true,
        normalisation: Normalisation::None,
        activation: Activation::TopK(fields.required("k")?),
    };
    parts.build(&fields.path, place)
}
