//! From an experiment and further arguments to a loaded model and a checked specification of what to run.

use std::sync::Arc;

use super::{
    DEFAULT_MODEL, ExperimentError, File, Given, ModelChoice, PromptParser, Setup, View, dictionaries, model::expanded,
};
use crate::{
    engine::Engine,
    hooks::{HookPoint, Schema, Vectors},
    model::{Dictionary, HubError, KeepGoing, Loaded, ModelError, OnProgress, Source},
};

/// A loaded model, and what to run on it.
pub struct Prepared<V> {
    pub engine: Engine,
    /// The dictionaries that were asked for, each at its hook.
    pub dictionaries: Vec<(HookPoint, Arc<Dictionary>)>,
    pub setup: Setup<V>,
    pub source: Source,
    /// The source as `--model` takes it.
    pub name: String,
    /// Why this is not the requested model, if it is not.
    pub note: Option<String>,
}

/// Load the model that the arguments or the file name, and check what to run.
///
/// `demo` allows the demo to replace the default model, with a note that says so, if no model was named, the default is
/// not on this machine and the hub can't be reached. Its text is the prompt if none was given.
///
/// # Errors
/// `keep_going` returned false, the model can't be loaded, or something does not fit it.
pub fn prepare<V: View>(
    model: &ModelChoice,
    given: &Given,
    file: Option<&File<V>>,
    demo: Option<&str>,
    on_progress: OnProgress<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<Prepared<V>, ExperimentError> {
    let chosen = model.with_file(file);
    let place = chosen.placement()?;
    let (source, note) = match chosen.source(on_progress) {
        Err(ModelError::Hub(why))
            if demo.is_some() && chosen.name.is_none() && chosen.revision.is_none() && why.is_unreachable() =>
        {
            let because = match why {
                HubError::Offline { .. } => ", which is not here",
                HubError::Unreachable { .. } => ": the hub can't be reached",
                _ => ": the hub has trouble",
            };
            (Source::Demo, Some(format!("not {DEFAULT_MODEL}{because}")))
        }
        source => (source?, None),
    };
    let loaded = source.load_while(chosen.processing, place, keep_going)?;
    let mut given = given.clone();
    if file.is_none() && !given.has_prompt() {
        given.prompt = demo.map(String::from);
    }
    let place = dictionaries::Place { source: &source, loaded: &loaded, offline: model.offline };
    let found = dictionaries::load(&place, &given, file, on_progress)?;
    given.d_sae = found.iter().map(|one| (one.hook, one.dictionary.d_sae)).collect();
    let mut setup = Setup::new(PromptParser::from(&loaded), &given, file).map_err(|reason| match &note {
        Some(note) => ExperimentError::OnDemo { note: note.clone(), reason: Box::new(reason) },
        None => reason,
    })?;
    setup.dictionaries = found.iter().filter_map(dictionaries::Found::line).collect();
    let name = match &source {
        Source::Demo => "demo".into(),
        Source::Directory(path) | Source::Cache(path) => path.display().to_string(),
        Source::Snapshot { repository, .. } => chosen.name.map_or_else(|| repository.clone(), |name| expanded(&name)),
    };
    let mut engine = engine(loaded, &setup);
    let dictionaries: Vec<_> = found.into_iter().map(|one| (one.hook, one.dictionary)).collect();
    for (hook, dictionary) in &dictionaries {
        engine.use_dictionary(*hook, dictionary.clone());
    }
    Ok(Prepared { engine, dictionaries, setup, source, name, note })
}

/// An engine with the opt-in hooks and the vectors of a setup.
#[must_use]
pub fn engine<V>(loaded: Loaded, setup: &Setup<V>) -> Engine {
    let mut schema = Schema::new(loaded.model.config.dims());
    schema.set_enabled(setup.enabled.clone());
    *schema.vectors_mut() = Vectors::from(setup.vectors.clone());
    Engine::new(loaded, schema)
}
