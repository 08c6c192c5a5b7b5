use std::path::Path;

use candle_core::DType;
use serde::Deserialize;

use super::{Lens, LensKind, LensRow, Map, misfit, read};
use crate::{
    fs,
    hooks::{BlockHook, HookPoint},
    model::{Config, ModelError, Placement, checkpoint::Checkpoint, kernels::Linear},
};

/// The files of a tuned lens.
pub(crate) const FILES: [&str; 2] = ["config.json", "params.pt"];

/// What the `tuned-lens` library writes of it and this program reads.
#[derive(Deserialize)]
struct LensConfig {
    base_model_name_or_path: Option<String>,
    d_model: usize,
    num_hidden_layers: usize,
    #[serde(default = "yes")]
    bias: bool,
    lens_type: Option<String>,
}

fn yes() -> bool {
    true
}

impl Lens {
    /// A tuned lens from the directory that the `tuned-lens` library writes: `W_U LN_f(h + A h + b)` at `hook_resid_pre`, and the
    /// model's own output after the last block (Belrose et al., 2023). `name` is the model's.
    ///
    /// # Errors
    /// A file that is missing, that can't be read, or that does not fit the model.
    pub fn tuned(directory: &Path, config: &Config, name: &str, place: &Placement) -> Result<Self, ModelError> {
        let [about, params] = FILES.map(|file| directory.join(file));
        let text = fs::read_text(&about, fs::TEXT_LIMIT).map_err(ModelError::read(&about))?;
        let lens: LensConfig = serde_json::from_str(fs::without_mark(&text)).map_err(ModelError::json(&about))?;
        if let Some(other) = lens.lens_type.filter(|kind| kind != "linear_tuned_lens") {
            return Err(misfit(&about, &format!("lens_type is {other:?}; expected \"linear_tuned_lens\"")));
        }
        let (found, expected) = ((lens.d_model, lens.num_hidden_layers), (config.d_model, config.n_layers));
        if found != expected {
            let reason = format!(
                "the lens has d_model {} and {} layers; the model has d_model {} and {} layers",
                found.0, found.1, expected.0, expected.1
            );
            return Err(misfit(&about, &reason));
        }
        let (file, d_model) = (Checkpoint::file(&params, &|| true)?, config.d_model);
        let place = Placement { dtype: DType::F32, ..place.clone() };
        let row = |layer: usize| -> Result<LensRow, ModelError> {
            let weight = read(&file, &params, &format!("{layer}.weight"), &[d_model, d_model])?;
            let bias = lens.bias.then(|| read(&file, &params, &format!("{layer}.bias"), &[d_model])).transpose()?;
            let map = Map::Added(Linear::new(weight, d_model, bias, &place)?);
            Ok(LensRow { layer, point: HookPoint::Block(layer, BlockHook::ResidPre), map })
        };
        let mut rows = (0..config.n_layers).map(row).collect::<Result<Vec<_>, _>>()?;
        rows.push(LensRow::last(config.n_layers, config.n_layers));
        let own = lens.base_model_name_or_path.unwrap_or_default();
        let base = own.rsplit('/').next().unwrap_or_default();
        let differs = !base.is_empty() && base != name;
        let notes = differs.then(|| format!("the tuned lens was trained on {own}, and this is {name}"));
        Ok(Self { kind: LensKind::Tuned, rows, notes: notes.into_iter().collect() })
    }
}
