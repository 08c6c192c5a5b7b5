//! Another model for the same prompt and edits: a checkpoint, a seed, a fine-tune.

use std::path::Path;

use super::{ExperimentError, ModelChoice};
use crate::{
    engine::Engine,
    model::{Config, KeepGoing, OnProgress},
};

/// Load the model that is called `MODEL` or `MODEL@REVISION`, to run with what `this` runs with: the same hooks, lenses and
/// dictionaries. The device and the precision are those of `choice`, and so is the processing.
///
/// # Errors
/// It can't be loaded, has other sizes, or another tokenizer.
pub fn against(
    name: &str,
    choice: &ModelChoice,
    this: &Engine,
    on_progress: OnProgress<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<Engine, ExperimentError> {
    let (model, revision) = match name.rsplit_once('@') {
        // a directory's name may have one
        Some((model, revision)) if !Path::new(name).is_dir() => (model, Some(revision.to_string())),
        _ => (name, None),
    };
    let processing = this.loaded.model.processing;
    let choice = ModelChoice { name: Some(model.into()), revision, processing, ..choice.clone() };
    let place = choice.placement()?;
    let source = choice.source(on_progress)?;
    // before its weights are read
    let refused = |reason: String| ExperimentError::Against { name: name.into(), reason };
    if let Some(reason) = differs(&this.loaded.model.config, &source.config()?) {
        return Err(refused(reason));
    }
    let loaded = source.load_while(processing, place, keep_going)?;
    let n = u32::try_from(loaded.model.config.d_vocab).unwrap_or(u32::MAX);
    if let Some(id) = this.loaded.tokenizer.differs_from(&loaded.tokenizer, n) {
        let (own, other) = (this.loaded.tokenizer.token(id), loaded.tokenizer.token(id));
        return Err(refused(format!(
            "its tokenizer is another: token {id} is {other:?} there and {own:?} here, so the same prompt would be other tokens"
        )));
    }
    let mut engine = Engine::new(loaded, this.schema.clone());
    engine.lenses.clone_from(&this.lenses);
    for (hook, dictionary) in &this.dictionaries {
        engine.use_dictionary(*hook, dictionary.clone());
    }
    Ok(engine)
}

/// The first size that differs; None if every hook has the same shape in both.
fn differs(this: &Config, that: &Config) -> Option<String> {
    let sizes = |config: &Config| {
        [
            ("blocks", config.n_layers),
            ("heads", config.n_heads),
            ("dimensions (d_model)", config.d_model),
            ("neurons (d_mlp)", config.d_mlp),
            ("tokens in its vocabulary", config.d_vocab),
        ]
    };
    let differs = sizes(this).into_iter().zip(sizes(that)).find(|(this, that)| this != that);
    if let Some(((what, here), (_, there))) = differs {
        return Some(format!(
            "it has {there} {what} and this model {here}; expected a model of the same sizes, such as another checkpoint or seed"
        ));
    }
    let kind = |config: &Config| if config.parallel { "parallel" } else { "sequential" };
    (this.parallel != that.parallel).then(|| format!("its blocks are {} and this model's {}", kind(that), kind(this)))
}

/// The name of a model and its revision, as it is shown.
#[must_use]
pub fn shown_name(engine: &Engine, name: &str) -> String {
    let revision = name.rsplit_once('@').map(|(_, revision)| revision).filter(|_| !Path::new(name).is_dir());
    match revision {
        Some(revision) => format!("{}@{revision}", engine.loaded.name),
        None => engine.loaded.name.clone(),
    }
}
