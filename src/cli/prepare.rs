//! From arguments to what is run: the model and the experiment that they name, ready and checked.

use anyhow::Result;

use super::{
    args::{EditArgs, ModelArgs, PromptArgs},
    progress::Bar,
};
use crate::{
    app::SavedView,
    experiment::{self, ExperimentError, File, Given, ModelChoice},
    model::{GoOn, Loaded, Processing, Tell},
    printed::{self, escaped},
};

/// What is run, with the explorer's view, so that a file is checked whole wherever it is run.
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

fn given(prompt: &PromptArgs, edits: &EditArgs) -> Given {
    Given {
        prompt: prompt.prompt.clone(),
        tokens: prompt.tokens.clone(),
        contrast: edits.contrast.clone(),
        contrast_tokens: edits.contrast_tokens.clone(),
        prepend_bos: prompt.prepend_bos,
        enable: prompt.enable.clone(),
        edits: edits.edit.clone(),
    }
}

/// The model that was named, or the default one.
pub(super) fn load(args: &ModelArgs) -> Result<Loaded> {
    let loaded = ModelChoice::from(args).load(&mut Bar::on_stderr().tell())?;
    print_notes(&loaded.notes);
    Ok(loaded)
}

/// What was found on loading and not used, on stderr.
fn print_notes(notes: &[String]) {
    for note in notes {
        printed::note(format_args!("note: {}", escaped(note)));
    }
}

/// [`prepare`] for a subcommand that prints: nothing stands in for what is not there, and notes go to stderr.
pub(super) fn headless(model: &ModelArgs, prompt: &PromptArgs, edits: &EditArgs) -> Result<Prepared> {
    let prepared = prepare(model, prompt, edits, None, &mut Bar::on_stderr().tell(), &|| true)?;
    print_notes(&prepared.engine.loaded.notes);
    Ok(prepared)
}

/// [`experiment::prepare`] with the experiment that the arguments name.
pub(super) fn prepare(
    model: &ModelArgs,
    prompt: &PromptArgs,
    edits: &EditArgs,
    demo: Option<&str>,
    tell: Tell<'_>,
    go_on: GoOn<'_>,
) -> Result<Prepared, ExperimentError> {
    let file = edits.experiment.as_deref().map(File::read).transpose()?;
    experiment::prepare(&model.into(), &given(prompt, edits), file.as_ref(), demo, tell, go_on)
}
