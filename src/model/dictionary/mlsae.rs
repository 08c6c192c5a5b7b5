use std::path::Path;

use super::{
    Dictionary, Parts,
    activation::Activation,
    files::{Fields, Layout, Weights},
    normalisation::Normalisation,
};
use crate::model::{ModelError, Placement};

const KNOWN: [&str; 7] =
    ["auxk", "dead_steps_threshold", "dead_threshold", "k", "n_inputs", "n_latents", "standardize"];

/// MLSAE (Lawson et al., 2024): one dictionary of the streams out of every block, so that its hook has to be named.
pub(super) fn read(directory: &Path, place: &Placement) -> Result<Dictionary, ModelError> {
    let [config, weights] = Layout::Mlsae.files().map(|file| directory.join(file));
    let fields = Fields::open(config)?;
    fields.only(&KNOWN)?;
    let (d_in, d_sae, weights) = (fields.required("n_inputs")?, fields.required("n_latents")?, Weights::open(weights)?);
    let parts = Parts {
        architecture: "mlsae".into(),
        layout: Layout::Mlsae,
        hook: None,
        d_in,
        d_sae,
        encoder: weights.read("encoder.weight", &[d_sae, d_in])?,
        bias: None,
        decoder: weights.transposed("decoder.weight", [d_in, d_sae])?,
        b_dec: weights.read("pre_encoder_bias", &[d_in])?,
        subtracts: true,
        normalisation: match fields.flag("standardize", true)? {
            true => Normalisation::LayerNorm,
            false => Normalisation::None,
        },
        activation: Activation::TopK(fields.required("k")?),
    };
    parts.build(&fields.path, place)
}
