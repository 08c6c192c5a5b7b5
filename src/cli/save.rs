//! Files that the explorer saves: a view as a picture, a table or arrays; the experiment; a Python script.

use std::path::Path;

use crate::{
    engine::{Array, OfModel, Ran, RanCircuit, python, python_circuit, write_npz},
    explorer::{self, NotSaved, State},
    fs::{self, Readers},
    paint::Theme,
    views::{Tab, circuit::RunCircuit},
};

/// Write a file in the format of its extension. An existing file is replaced only if `replace` is set; of a cache, which is not
/// `with_weights`, there is nothing that could run again.
pub(super) fn save(
    state: &State,
    theme: Theme,
    path: &Path,
    (replace, with_weights): (bool, bool),
) -> Result<(), NotSaved> {
    let runs = path.extension().is_some_and(|ending| ending == "toml" || ending == "py");
    if runs && !with_weights {
        return Err(NotSaved::Failed(
            "the weights are not here, only a cache of activations: nothing to run again".into(),
        ));
    }
    if replace {
        return write(state, theme, path);
    }
    // claims the name, so that a file that another process creates meanwhile is not replaced
    match std::fs::File::create_new(path) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(NotSaved::Exists),
        Err(e) => return Err(NotSaved::Failed(format!("{}: {e}", path.display()))),
    }
    write(state, theme, path).inspect_err(|_| {
        // a second failure would add nothing to the first
        let _ = std::fs::remove_file(path);
    })
}

/// Why an edited run has no script with `--against`: its baseline was not run.
const ONE_MODEL: &str = "a script also checks the unedited run, which --against does not make: start without --against";

/// A TransformerLens script of the run on the screen or, in Circuit with edges, of the circuit.
fn script(state: &State) -> Result<String, String> {
    let State { scene, views, tab, .. } = state;
    let shown = scene.runs.shown.as_ref().filter(|shown| shown.model == scene.model).ok_or("there is no run yet")?;
    let summary = &shown.summary;
    let model = OfModel {
        name: &scene.model.source,
        revision: scene.model.revision.as_deref(),
        dtype: scene.model.dtype,
        processing: scene.model.processing,
        config: &scene.model.config,
    };
    let is_circuit = *tab == Tab::Circuit && views.circuit.shows_edges() && scene.prompts.contrast.is_some();
    let script = if is_circuit {
        let RunCircuit { objective, edges, value, contrast_value, found } = views.circuit.run_circuit(scene)?;
        let ran = RanCircuit { model, objective, edges: &edges, value, contrast_value, found };
        python_circuit(&shown.spec, &scene.schema, &ran)
    } else {
        let (baseline, kl) = match (&scene.against, shown.spec.edits.is_empty()) {
            (None, _) => (&summary.baseline_logits[..], summary.kl_at_end()),
            (Some(_), true) if summary.logits.iter().any(|logit| logit.is_nan()) => (&[][..], f64::NAN),
            (Some(_), true) => (&[][..], 0.0),
            (Some(_), false) => return Err(ONE_MODEL.into()),
        };
        let ran = Ran { model, logits: &summary.logits, baseline, kl };
        python(&shown.spec, &scene.schema, &ran)
    };
    script.map_err(|e| e.to_string())
}

fn write(state: &State, theme: Theme, path: &Path) -> Result<(), NotSaved> {
    let failed = |e: &dyn std::fmt::Display| NotSaved::Failed(e.to_string());
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let write_text = |text: String| fs::write_text(path, Readers::AsBefore, &text).map_err(|e| failed(&e));
    if extension == "svg" {
        let picture = explorer::svg(state, theme).map_err(|e| failed(&e))?;
        return write_text(picture);
    }
    if extension == "toml" {
        return write_text(state.experiment().to_string());
    }
    if extension == "py" {
        return write_text(script(state).map_err(NotSaved::Failed)?);
    }
    let table = state.table().ok_or_else(|| NotSaved::Failed("there are no numbers yet".into()))?;
    if extension == "npz" {
        if table.arrays.is_empty() {
            return Err(NotSaved::Failed("these are statistics; Values has the numbers".into()));
        }
        let array = |(name, shape, values)| Array { name, shape, values };
        let arrays: Vec<Array> = table.arrays.into_iter().map(array).collect();
        return fs::write_atomic(path, Readers::AsBefore, |file| write_npz(file, &arrays)).map_err(|e| failed(&e));
    }
    if table.rows.is_empty() {
        return Err(NotSaved::Failed("this view is a picture: save it as .svg, or its numbers as .npz".into()));
    }
    let write = |file: &mut std::fs::File| {
        let mut out = csv::Writer::from_writer(file);
        out.write_record(&table.header)?;
        for row in &table.rows {
            out.write_record(row)?;
        }
        out.flush()
    };
    fs::write_atomic(path, Readers::AsBefore, write).map_err(|e| failed(&e))
}
