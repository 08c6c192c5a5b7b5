//! From an experiment, and what is given beside it, to a loaded model and a checked specification of what to run.

use super::{DEFAULT_MODEL, ExperimentError, File, Given, ModelChoice, PromptParser, Setup, View, model::expanded};
use crate::{
    engine::Engine,
    hooks::Schema,
    model::{GoOn, HubError, Loaded, ModelError, Source, Tell},
};

/// A model that was loaded, and what is to be run on it.
pub struct Prepared<V> {
    pub engine: Engine,
    pub setup: Setup<V>,
    pub source: Source,
    /// The source as `--model` takes it.
    pub name: String,
    /// Why this is not the model that was meant, if it is not.
    pub note: Option<String>,
}

/// Load the model that the arguments or the file name, and check what is to be run.
///
/// With `demo`, where no model was named, the default one is not here and the hub can't be asked, it is the demo, with a note
/// that says so; and a prompt that was not given is that one.
///
/// # Errors
/// `go_on` said no, a model that can't be loaded, and whatever does not fit it.
pub fn prepare<V: View>(
    model: &ModelChoice,
    given: &Given,
    file: Option<&File<V>>,
    demo: Option<&str>,
    tell: Tell<'_>,
    go_on: GoOn<'_>,
) -> Result<Prepared<V>, ExperimentError> {
    let chosen = model.with_file(file);
    let place = chosen.placement()?;
    let (source, note) = match chosen.source(tell) {
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
    let loaded = source.load_while(chosen.processing, place, go_on)?;
    let mut given = given.clone();
    if file.is_none() && !given.has_prompt() {
        given.prompt = demo.map(String::from);
    }
    let setup = Setup::new(PromptParser::from(&loaded), &given, file).map_err(|reason| match &note {
        Some(note) => ExperimentError::OnDemo { note: note.clone(), reason: Box::new(reason) },
        None => reason,
    })?;
    let name = match &source {
        Source::Demo => "demo".into(),
        Source::Directory(path) => path.display().to_string(),
        Source::Snapshot { repository, .. } => chosen.name.map_or_else(|| repository.clone(), |name| expanded(&name)),
    };
    Ok(Prepared { engine: engine(loaded, &setup), setup, source, name, note })
}

/// An engine with the opt-in hooks of a setup.
#[must_use]
pub fn engine<V>(loaded: Loaded, setup: &Setup<V>) -> Engine {
    let mut schema = Schema::new(loaded.model.config.dims());
    schema.set_enabled(setup.enabled.clone());
    Engine::new(loaded, schema)
}
