use std::path::Path;

use candle_core::DType;

use super::{Lens, LensKind, LensRow, Map, misfit, read};
use crate::{
    hooks::{BlockHook, HookPoint},
    model::{Config, ModelError, Placement, checkpoint::Checkpoint, kernels::Linear},
};

/// How the names of published Jacobian lenses end.
pub(crate) const FILE_ENDING: &str = "_jacobian_lens.pt";

impl Lens {
    /// A Jacobian lens from a file with `J`, a `[d_model, d_model]` matrix for each layer it reads: `W_U LN_f(J h)` at
    /// `hook_resid_post`, and the model's own output after the last block (Gurnee et al., 2026).
    ///
    /// # Errors
    /// A file that can't be read or does not fit the model.
    pub fn jacobian(path: &Path, config: &Config, place: &Placement) -> Result<Self, ModelError> {
        let (file, d_model) = (Checkpoint::file(path, &|| true)?, config.d_model);
        let layer = |name: &str| name.strip_prefix("J.")?.parse::<usize>().ok();
        let mut layers: Vec<usize> = file.names().filter_map(layer).collect();
        layers.sort_unstable();
        if layers.is_empty() {
            let sums = file.names().any(|name| name.starts_with("jacobian_sum"));
            return Err(misfit(
                path,
                match sums {
                    true => {
                        "it is an unfinished fit (`jacobian_sum`); expected a lens with `J`, a matrix for each layer"
                    }
                    false => "it is no Jacobian lens; expected `J`, a matrix for each layer",
                },
            ));
        }
        let last = config.n_layers.saturating_sub(1);
        if let Some(beyond) = layers.iter().find(|layer| **layer > last) {
            return Err(misfit(path, &format!("it has a matrix for layer {beyond}; the model has layers 0 to {last}")));
        }
        let place = Placement { dtype: DType::F32, ..place.clone() };
        let row = |layer: usize| -> Result<LensRow, ModelError> {
            let weight = read(&file, path, &format!("J.{layer}"), &[d_model, d_model])?;
            let map = Map::Linear(Linear::new(weight, d_model, None, &place)?);
            Ok(LensRow { layer, point: HookPoint::Block(layer, BlockHook::ResidPost), map })
        };
        // the last layer's map is the identity, whatever the file has
        let mut rows = layers.into_iter().filter(|layer| *layer < last).map(row).collect::<Result<Vec<_>, _>>()?;
        rows.push(LensRow::last(last, config.n_layers));
        Ok(Self { kind: LensKind::Jacobian, rows, notes: Vec::new() })
    }
}
