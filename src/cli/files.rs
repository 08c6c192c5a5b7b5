//! Files that the explorer writes: a view as a picture, its table, its numbers.

use std::path::Path;

use crate::{
    app::{NotSaved, State},
    engine::{Array, Ran, python, write_npz},
    fs::{self, Readers},
    ui::{self, Theme},
};

/// Write what the view shows; the ending of the name tells how. A file that exists is replaced only if `replace`.
pub(super) fn save(state: &State, theme: Theme, path: &Path, replace: bool) -> Result<(), NotSaved> {
    if replace {
        return write(state, theme, path);
    }
    // take the name first, so that nothing that comes to stand there meanwhile is lost
    match std::fs::File::create_new(path) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(NotSaved::Exists),
        Err(e) => return Err(NotSaved::Failed(format!("{}: {e}", path.display()))),
    }
    write(state, theme, path).inspect_err(|_| {
        // nothing more can be done if the empty file can't be removed either
        let _ = std::fs::remove_file(path);
    })
}

/// The run on the screen, as a script for the reference.
fn script(state: &State) -> Result<String, String> {
    let shown = state.shown.as_ref().filter(|shown| shown.model == state.model).ok_or("there is no run yet")?;
    let summary = &shown.summary;
    let ran = Ran {
        model: &state.model.source,
        revision: state.model.revision.as_deref(),
        dtype: state.model.dtype,
        processing: state.model.processing,
        config: &state.model.config,
        logits: &summary.logits,
        baseline: &summary.baseline_logits,
        kl: summary.kl_at_end(),
    };
    python(&shown.spec, &state.schema, &ran).map_err(|e| e.to_string())
}

fn write(state: &State, theme: Theme, path: &Path) -> Result<(), NotSaved> {
    let failed = |e: &dyn std::fmt::Display| NotSaved::Failed(e.to_string());
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let whole = |text: String| fs::write_text(path, Readers::AsBefore, &text).map_err(|e| failed(&e));
    if ending == "svg" {
        let picture = ui::svg(state, theme).map_err(|e| failed(&e))?;
        return whole(picture);
    }
    if ending == "toml" {
        return whole(state.experiment().to_string());
    }
    if ending == "py" {
        return whole(script(state).map_err(NotSaved::Failed)?);
    }
    let table = state.table().ok_or_else(|| NotSaved::Failed("there are no numbers yet".into()))?;
    if ending == "npz" {
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
