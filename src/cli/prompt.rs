//! From arguments to a loaded model, its hooks and a checked specification of what to run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Device;

use super::{
    Usage,
    args::{EditArgs, ModelArgs, PromptArgs},
};
use crate::{
    engine::{Engine, Spec},
    hooks::{Edit, Schema},
    model::{Config, Loaded, ModelError, Processing, Source, hub_cache},
};

/// The model that is meant when none is named.
const DEFAULT: &str = "pythia-70m-deduped";

fn processing(args: &ModelArgs) -> Processing {
    if args.no_processing { Processing::None } else { Processing::Folded }
}

pub(super) fn source(args: &ModelArgs) -> Result<Source, ModelError> {
    let name = args.model.as_deref().unwrap_or(DEFAULT);
    let path = PathBuf::from(name);
    if args.model.is_none() {
        return hub_cache::find(name);
    }
    match name {
        "demo" => Ok(Source::Demo),
        _ if path.is_dir() || path.is_absolute() || name.starts_with('.') || name.starts_with('~') => {
            Ok(Source::Directory(path))
        }
        _ => hub_cache::find(name),
    }
}

/// The model that was named, or the default one.
pub(super) fn load(args: &ModelArgs) -> Result<Loaded> {
    Ok(source(args)?.load(processing(args), Device::Cpu)?)
}

/// As [`load`]; but where no model was named and the default one is not here, the demo, with a note that says so.
pub(super) fn load_or_demo(args: &ModelArgs) -> Result<(Loaded, Option<String>)> {
    match source(args) {
        Err(_) if args.model.is_none() => {
            let demo = Source::Demo.load(processing(args), Device::Cpu)?;
            Ok((demo, Some(format!("not {DEFAULT}, which is not here"))))
        }
        source => Ok((source?.load(processing(args), Device::Cpu)?, None)),
    }
}

/// An engine with the opt-in hooks that were asked for.
pub(super) fn engine(loaded: Loaded, args: &PromptArgs) -> Result<Engine> {
    let mut schema = Schema::new(loaded.model.config.dims());
    for name in &args.enable {
        schema.enable(name).map_err(|e| Usage(format!("--enable: {e}")))?;
    }
    Ok(Engine::new(loaded, schema))
}

/// The prompt's token ids.
pub(super) fn tokens(loaded: &Loaded, args: &PromptArgs) -> Result<Vec<u32>> {
    let text = args.prompt.as_deref();
    if text.is_none() && args.tokens.is_none() {
        return Err(Usage("a prompt is needed: a text, or --tokens IDS".into()).into());
    }
    encode(loaded, text, args.tokens.as_deref(), args.prepend_bos).context("the prompt")
}

fn encode(loaded: &Loaded, text: Option<&str>, ids: Option<&[u32]>, prepend_bos: bool) -> Result<Vec<u32>> {
    let tokens = match (ids, text) {
        (Some(ids), _) => ids.to_vec(),
        (None, text) => loaded.tokenizer.encode(text.unwrap_or_default())?,
    };
    Ok(checked(tokens, &loaded.model.config, prepend_bos)?)
}

/// Token ids as a prompt: with the beginning-of-sequence token if it is wanted, neither empty nor too long, each in the
/// vocabulary.
pub(super) fn checked(mut tokens: Vec<u32>, config: &Config, prepend_bos: bool) -> Result<Vec<u32>, ModelError> {
    if tokens.is_empty() {
        return Err(ModelError::EmptyPrompt);
    }
    if prepend_bos {
        tokens.insert(0, config.bos);
    }
    if tokens.len() > config.context {
        return Err(ModelError::TooLong { tokens: tokens.len(), context: config.context });
    }
    match tokens.iter().find(|id| **id as usize >= config.d_vocab) {
        Some(&id) => Err(ModelError::NoSuchToken { id, d_vocab: config.d_vocab }),
        None => Ok(tokens),
    }
}

/// A token by its text, of which a leading space is a part; or by its id, as `#7910`.
pub(super) fn token(loaded: &Loaded, text: &str) -> Result<u32> {
    if let Some(id) = text.strip_prefix('#').and_then(|id| id.parse::<u32>().ok()) {
        checked(vec![id], &loaded.model.config, false)?;
        return Ok(id);
    }
    match loaded.tokenizer.encode(text)?.as_slice() {
        [id] => Ok(*id),
        ids => {
            let parts: Vec<String> = ids.iter().map(|id| format!("{:?}", loaded.tokenizer.token(*id))).collect();
            Err(Usage(format!("{text:?} is no token but {}: {}", ids.len(), parts.join(" "))).into())
        }
    }
}

/// Everything that is to be run: the prompt, the contrast prompt and the edits.
pub(super) fn spec(engine: &Engine, tokens: Vec<u32>, prepend_bos: bool, args: &EditArgs) -> Result<Spec> {
    let loaded = &engine.loaded;
    let edits = args.edit.iter().map(|line| line.parse::<Edit>()).collect::<Result<_, _>>();
    let edits = edits.map_err(|e| Usage(format!("--edit: {e}")))?;
    let contrast = match (&args.contrast, &args.contrast_tokens) {
        (None, None) => None,
        (text, ids) => {
            Some(encode(loaded, text.as_deref(), ids.as_deref(), prepend_bos).context("the contrast prompt")?)
        }
    };
    Ok(Spec { tokens, contrast, edits, enabled: engine.schema.enabled().clone() })
}
