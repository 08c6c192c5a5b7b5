//! A cache of activations, opened without the weights of the model that it was taken from.

use std::path::Path;

use super::{ExperimentError, Given, ModelChoice, Prepared, PromptParser, Setup, Token, View};
use crate::{
    engine::{Engine, room_for},
    hooks::Schema,
    model::{CacheFile, Holds, Loaded, ModelError, OnProgress, Processing, Source, Tokenizer},
};

/// Read a cache for the explorer. A model that is named provides sizes and tokenizer, from its config alone; else the sizes are
/// those of the tensors, and tokens have no text.
///
/// # Errors
/// The file or the model's config can't be read, they do not fit each other, or the activations do not fit in memory.
pub fn cached<V: View>(
    path: &Path,
    model: &ModelChoice,
    given: &Given,
    on_progress: OnProgress<'_>,
) -> Result<Prepared<V>, ExperimentError> {
    let file = CacheFile::open(path)?;
    let in_file = file.tokens()?;
    let (config, tokenizer, mut notes) = if model.name.is_some() {
        let source = model.source(on_progress)?;
        (source.config()?, source.tokenizer()?, vec![])
    } else {
        let (config, notes) = file.config(in_file.as_deref().or(given.tokens.as_deref()))?;
        (config, Tokenizer::default(), notes)
    };
    let processing = match file.processing()? {
        _ if file.source.is_unprocessed() => Processing::None,
        Some(found) => found,
        None => model.processing,
    };
    let tokens = tokens(&file, in_file, given, PromptParser { tokenizer: &tokenizer, config: &config }, &mut notes)?;
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    let mut schema = Schema::new(config.dims());
    let opt_in = file.parts.iter().filter_map(|part| match part.holds {
        Holds::Hook(point) if point.is_opt_in() && point.block().is_none_or(|block| block < config.n_layers) => {
            Some(point)
        }
        Holds::Hook(_) | Holds::Tokens | Holds::FinalStream | Holds::HiddenState(_) | Holds::Qkv(_) | Holds::Logits => {
            None
        }
    });
    schema.set_enabled(opt_in.collect());
    room_for(file.bytes()).map_err(|e| file.misfit(e.to_string()))?;
    let activations = file.activations(&schema, ids.len())?;
    let text = tokens.iter().map(|token| token.text.as_str()).collect();
    let setup = Setup { prompt: (text, tokens), enabled: schema.enabled().clone(), ..Setup::default() };
    let loaded = Loaded::without_weights(path, (config, tokenizer), processing, notes)?;
    let engine = Engine::of_cache(loaded, schema, ids, activations).map_err(|e| file.misfit(e.to_string()))?;
    Ok(Prepared {
        engine,
        dictionaries: vec![],
        setup,
        source: Source::Cache(path.into()),
        name: path.display().to_string(),
        note: Some("a cache, without weights".into()),
    })
}

/// The tokens of the cache: its own, those given, or none but their number.
fn tokens(
    file: &CacheFile,
    in_file: Option<Vec<u32>>,
    given: &Given,
    parser: PromptParser<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Token>, ExperimentError> {
    let asked = match (&given.prompt, &given.tokens) {
        (_, Some(ids)) => Some(parser.ids(ids, given.prepend_bos)?),
        (Some(text), None) => Some(parser.prompt(text, given.prepend_bos)?),
        (None, None) => None,
    };
    let ids_of = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect::<Vec<u32>>();
    let wrong = |reason: String| ExperimentError::from(ModelError::Misfit { path: file.path.clone(), reason });
    match (in_file, asked, file.n_pos()) {
        (Some(ids), Some(asked), _) if ids != ids_of(&asked) => {
            Err(wrong("it is of other tokens than the prompt: leave the prompt out".into()))
        }
        (Some(ids), _, _) => Ok(parser.ids(&ids, false)?),
        (None, Some(asked), Some(n)) if n != asked.len() => {
            Err(wrong(format!("it is of {n} tokens, and the prompt has {}", asked.len())))
        }
        (None, Some(asked), _) => Ok(asked),
        (None, None, Some(n)) => {
            notes.push("the cache does not hold its tokens; positions are numbered".into());
            Ok((0..n).map(|pos| Token { id: 0, text: format!("{pos}") }).collect())
        }
        (None, None, None) => Err(wrong("its shapes do not tell how many tokens it is of: give --tokens".into())),
    }
}
