//! Turns arguments into a loaded model and a checked experiment.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};

use super::{
    args::{EditArgs, ModelArgs, PromptArgs},
    progress::Bar,
};
use crate::{
    engine::{Engine, OfModel},
    experiment::{self, ExperimentError, File, Given, LensChoice, ModelChoice},
    explorer::SavedView,
    model::{Hub, KeepGoing, Lens, LensKind, Loaded, OnProgress, Processing},
    printed::{self, escaped},
};

/// A prepared experiment with the explorer's view, so that every command checks all of an experiment file.
pub(super) type Prepared = experiment::Prepared<SavedView>;

impl From<&ModelArgs> for ModelChoice {
    fn from(args: &ModelArgs) -> Self {
        Self {
            name: args.model.clone(),
            revision: args.revision.clone(),
            processing: if args.no_processing { Processing::None } else { Processing::Folded },
            device: args.device,
            dtype: args.dtype,
            offline: args.offline,
        }
    }
}

pub(super) fn given(prompt: &PromptArgs, edits: &EditArgs) -> Given {
    Given {
        prompt: prompt.prompt.clone(),
        tokens: prompt.tokens.clone(),
        contrast: edits.contrast.clone(),
        contrast_tokens: edits.contrast_tokens.clone(),
        prepend_bos: prompt.prepend_bos,
        enable: prompt.enable.clone(),
        vectors: edits.vector.clone(),
        edits: edits.edit.clone(),
        dictionaries: edits.dictionaries.sae.clone(),
        labels: edits.labels.clone(),
        d_sae: BTreeMap::new(),
        corpus: None,
    }
}

/// What the arguments say where a corpus has the prompts.
pub(super) fn given_of_edits(edits: &EditArgs, prepend_bos: bool, enable: &[String]) -> Given {
    let prompt = PromptArgs { prompt: None, tokens: None, prepend_bos, enable: enable.to_vec() };
    given(&prompt, edits)
}

/// A model as a script repeats it; `name` is as `--model` takes it.
pub(super) fn of_model<'a>(name: &'a str, loaded: &'a Loaded) -> OfModel<'a> {
    OfModel {
        name,
        revision: loaded.revision.as_deref(),
        processing: loaded.model.processing,
        config: &loaded.model.config,
        dtype: loaded.model.dtype.into(),
    }
}

/// Load the model that was named, or the default one.
pub(super) fn load(args: &ModelArgs) -> Result<Loaded> {
    let loaded = ModelChoice::from(args).load(&mut Bar::on_stderr().into_callback())?;
    print_notes(&loaded.notes);
    Ok(loaded)
}

/// Print on stderr which parts of the checkpoint's files are not used.
pub(super) fn print_notes(notes: &[String]) {
    for note in notes {
        printed::note(format_args!("note: {}", escaped(note)));
    }
}

/// The model that another one is compared with, and its name, if one is given.
pub(super) fn against(
    name: Option<&str>,
    model: &ModelArgs,
    engine: &Engine,
    on_progress: OnProgress<'_>,
) -> Result<Option<(String, Engine)>, ExperimentError> {
    let Some(name) = name else { return Ok(None) };
    let other = experiment::against(name, &model.into(), engine, on_progress, &|| true)?;
    Ok(Some((experiment::shown_name(&other, name), other)))
}

/// The lenses that the arguments name, without the logit lens, and what there is to say about them.
pub(super) fn lenses(
    chosen: &[LensChoice],
    prepared: &Prepared,
    offline: bool,
    on_progress: OnProgress<'_>,
) -> Result<(Vec<Arc<Lens>>, Vec<String>)> {
    let (hub, mut lenses, mut notes) = (Hub::from_env(offline), Vec::new(), Vec::new());
    for choice in chosen.iter().filter(|choice| choice.kind != LensKind::Logit) {
        let lens = lens(choice, prepared, &hub, on_progress)?;
        notes.extend(lens.notes.iter().cloned());
        lenses.push(Arc::new(lens));
    }
    Ok((lenses, notes))
}

/// A lens for the model that was prepared.
pub(super) fn lens(choice: &LensChoice, prepared: &Prepared, hub: &Hub, on_progress: OnProgress<'_>) -> Result<Lens> {
    let found = choice.load((&prepared.source, &prepared.engine.loaded), hub, on_progress);
    found.with_context(|| format!("--lens {}", escaped(&choice.to_string())))
}

/// [`prepare`] for a subcommand that prints: no demo in place of a missing model, no default prompt; notes go to stderr.
pub(super) fn headless(model: &ModelArgs, prompt: &PromptArgs, edits: &EditArgs) -> Result<Prepared> {
    let prepared = prepare(model, prompt, edits, None, &mut Bar::on_stderr().into_callback(), &|| true)?;
    print_notes(&prepared.engine.loaded.notes);
    Ok(prepared)
}

/// [`experiment::prepare`] with the experiment file that the arguments name. `demo` is the prompt if none is given.
pub(super) fn prepare(
    model: &ModelArgs,
    prompt: &PromptArgs,
    edits: &EditArgs,
    demo: Option<&str>,
    on_progress: OnProgress<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<Prepared, ExperimentError> {
    let file = edits.experiment.as_deref().map(File::read).transpose()?;
    experiment::prepare(&model.into(), &given(prompt, edits), file.as_ref(), demo, on_progress, keep_going)
}
