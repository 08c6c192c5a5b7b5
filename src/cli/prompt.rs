//! From arguments, and the experiment that they name, to a loaded model and a checked specification of what to run.

use std::path::Path;

use anyhow::{Context, Result};
use toml::Spanned;

use super::{
    Usage,
    args::{EditArgs, ModelArgs, PromptArgs},
    experiment::File,
    progress::Bar,
};
use crate::{
    app::{Distractor, EditLine, Setup, Token},
    engine::Engine,
    fs,
    hooks::{Edit, Plan, Schema},
    model::{
        self, Config, GoOn, Hub, HubError, Loaded, ModelError, Placement, Processing, Source, Tell, Tokenizer,
        repository,
    },
    printed::{self, escaped},
};

/// The model that is meant when none is named.
const DEFAULT: &str = "pythia-70m-deduped";

fn processing(args: &ModelArgs) -> Processing {
    if args.no_processing { Processing::None } else { Processing::Folded }
}

/// What a model's name leads to.
enum Named {
    Here(Source),
    /// A repository and its revision.
    Hub(String, String),
}

/// A model's name with `~` and variables replaced, where the shell did not: in an experiment, in quotes.
fn expanded(name: &str) -> String {
    fs::expanded(Path::new(name)).to_string_lossy().into_owned()
}

fn named(args: &ModelArgs) -> Result<Named, ModelError> {
    let name = &expanded(args.model.as_deref().unwrap_or(DEFAULT));
    let (path, revision) = (Path::new(name), args.revision.as_deref());
    // what is a path is none of the hub, also if it leads nowhere
    let local = || path.is_dir() || path.is_absolute() || name.starts_with(['.', '~']) || name.contains('$');
    let source = match name.as_str() {
        "demo" => Source::Demo,
        // a folder that happens to be called so is not what is meant when nothing is named
        _ if args.model.is_some() && local() => {
            // as it is found from anywhere
            Source::Directory(std::path::absolute(path).unwrap_or_else(|_| path.into()))
        }
        _ => {
            let revision = model::revision(revision.unwrap_or("main"))?;
            return Ok(Named::Hub(repository(name)?, revision.into()));
        }
    };
    if revision.is_some() { Err(ModelError::NoRevisions(name.clone())) } else { Ok(Named::Here(source)) }
}

/// The model that was named, or the default one; fetched if it is not here.
pub(super) fn source(args: &ModelArgs, tell: Tell<'_>) -> Result<Source, ModelError> {
    match named(args)? {
        Named::Here(source) => Ok(source),
        Named::Hub(repository, revision) => Hub::from_env(args.offline).get(&repository, &revision, tell),
    }
}

/// The same without asking the network.
pub(super) fn source_here(args: &ModelArgs) -> Result<Source, ModelError> {
    source(&ModelArgs { offline: true, ..args.clone() }, &mut |_| true)
}

/// What the model is, without its weights.
pub(super) fn config(args: &ModelArgs) -> Result<Config, ModelError> {
    match named(args)? {
        Named::Here(source) => source.config(),
        Named::Hub(repository, revision) => Hub::from_env(args.offline).config(&repository, &revision),
    }
}

/// The device and type that are asked for.
pub(super) fn place(args: &ModelArgs) -> Result<Placement, ModelError> {
    Ok(Placement { device: args.device.open()?, dtype: args.dtype.into() })
}

/// The model that was named, or the default one.
pub(super) fn load(args: &ModelArgs) -> Result<Loaded> {
    // before minutes are spent on a download
    let place = place(args)?;
    let source = source(args, &mut Bar::on_stderr().tell())?;
    let loaded = source.load(processing(args), place)?;
    print_notes(&loaded.notes);
    Ok(loaded)
}

/// What was found on loading and not used, on stderr.
fn print_notes(notes: &[String]) {
    for note in notes {
        printed::note(format_args!("note: {}", escaped(note)));
    }
}

/// A model that was loaded, and what is to be run on it.
pub(super) struct Prepared {
    pub engine: Engine,
    pub setup: Setup,
    pub source: Source,
    /// The source as `--model` takes it.
    pub name: String,
    /// Why this is not the model that was meant, if it is not.
    pub note: Option<String>,
}

/// [`prepare`] for a subcommand that prints: nothing stands in for what is not there, and notes go to stderr.
pub(super) fn prepare_headless(model: &ModelArgs, prompt: &PromptArgs, edits: &EditArgs) -> Result<Prepared> {
    let prepared = prepare(model, prompt, edits, None, &mut Bar::on_stderr().tell(), &|| true)?;
    print_notes(&prepared.engine.loaded.notes);
    Ok(prepared)
}

/// Load the model that the arguments or the experiment name, and check what is to be run.
///
/// With `demo`, where no model was named, the default one is not here and the hub can't be asked, it is the demo, with a note
/// that says so; and a prompt that was not given is that one.
pub(super) fn prepare(
    model: &ModelArgs,
    prompt: &PromptArgs,
    edits: &EditArgs,
    demo: Option<&str>,
    tell: Tell<'_>,
    go_on: GoOn<'_>,
) -> Result<Prepared> {
    let file = edits.experiment.as_deref().map(File::read).transpose()?;
    let chosen = choose(model, file.as_ref());
    let place = place(&chosen)?;
    let (source, note) = match source(&chosen, tell) {
        Err(ModelError::Hub(why))
            if demo.is_some() && chosen.model.is_none() && chosen.revision.is_none() && why.is_unreachable() =>
        {
            let because = match why {
                HubError::Offline { .. } => ", which is not here",
                HubError::Unreachable { .. } => ": the hub can't be reached",
                _ => ": the hub has trouble",
            };
            (Source::Demo, Some(format!("not {DEFAULT}{because}")))
        }
        source => (source?, None),
    };
    let loaded = source.load_while(processing(&chosen), place, go_on)?;
    let mut prompt = prompt.clone();
    if file.is_none() && prompt.prompt.is_none() && prompt.tokens.is_none() {
        prompt.prompt = demo.map(String::from);
    }
    let setup = setup(Words::from(&loaded), &prompt, edits, file.as_ref());
    let setup = match &note {
        // what does not fit may fit the model that was meant
        Some(note) => setup.with_context(|| format!("on the demo ({note})"))?,
        None => setup?,
    };
    let name = match &source {
        Source::Demo => "demo".into(),
        Source::Directory(path) => path.display().to_string(),
        Source::Snapshot { repository, .. } => chosen.model.map_or_else(|| repository.clone(), |name| expanded(&name)),
    };
    Ok(Prepared { engine: engine(loaded, &setup), setup, source, name, note })
}

/// Which model: the one named in the arguments, else the experiment's.
pub(super) fn choose(args: &ModelArgs, file: Option<&File>) -> ModelArgs {
    let mut chosen = args.clone();
    if let Some(File { experiment, .. }) = file {
        if chosen.model.is_none() {
            chosen.model = Some(experiment.model.clone());
            chosen.revision = chosen.revision.or_else(|| experiment.revision.clone());
        }
        chosen.no_processing |= !experiment.processing.is_folded();
    }
    chosen
}

/// An engine with the opt-in hooks of a setup.
pub(super) fn engine(loaded: Loaded, setup: &Setup) -> Engine {
    let mut schema = Schema::new(loaded.model.config.dims());
    schema.set_enabled(setup.enabled.clone());
    Engine::new(loaded, schema)
}

/// What texts are checked against: a model without its weights.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub tokenizer: &'a Tokenizer,
    pub config: &'a Config,
}

impl<'a> From<&'a Loaded> for Words<'a> {
    fn from(loaded: &'a Loaded) -> Self {
        Self { tokenizer: &loaded.tokenizer, config: &loaded.model.config }
    }
}

/// Everything that is to be run: from the arguments, and from the experiment what they do not say.
pub(super) fn setup(words: Words<'_>, prompt: &PromptArgs, edits: &EditArgs, file: Option<&File>) -> Result<Setup> {
    let given = |text: &Option<String>, ids: &Option<Vec<u32>>| text.is_some() || ids.is_some();
    let mut schema = Schema::new(words.config.dims());
    for name in &prompt.enable {
        schema.enable(name).map_err(|e| Usage(format!("--enable: {e}")))?;
    }
    let mut setup = Setup { prepend_bos: prompt.prepend_bos, ..Setup::default() };
    if let Some(file) = file {
        let experiment = &file.experiment;
        setup.prepend_bos |= experiment.prepend_bos;
        for name in &experiment.enable {
            schema.enable(name.get_ref()).map_err(|e| file.wrong(name.span(), e))?;
        }
    }
    let text = |text: Option<&str>, ids: Option<&[u32]>| words.text(text, ids, setup.prepend_bos);
    setup.prompt = match file {
        Some(file) if !given(&prompt.prompt, &prompt.tokens) => {
            let (prompt, tokens) = (file.experiment.prompt.as_deref(), file.experiment.tokens.as_ref());
            let read = words.of_file(file, prompt, tokens, setup.prepend_bos)?;
            read.ok_or_else(|| file.wrong(0..0, "expected `prompt = TEXT` or `tokens = [IDS]`"))?
        }
        _ if !given(&prompt.prompt, &prompt.tokens) => {
            return Err(Usage("a prompt is needed: a text, or --tokens IDS".into()).into());
        }
        _ => text(prompt.prompt.as_deref(), prompt.tokens.as_deref()).context("the prompt")?,
    };
    setup.contrast = match file {
        _ if given(&edits.contrast, &edits.contrast_tokens) => {
            let contrast = text(edits.contrast.as_deref(), edits.contrast_tokens.as_deref());
            Some(contrast.context("the contrast prompt")?)
        }
        Some(file) => {
            let (contrast, tokens) = (file.experiment.contrast.as_deref(), file.experiment.contrast_tokens.as_ref());
            words.of_file(file, contrast, tokens, setup.prepend_bos)?
        }
        None => None,
    };
    if let Some(file) = file {
        let experiment = &file.experiment;
        let (n_pos, contrast) = (setup.prompt.1.len(), setup.contrast.as_ref().map(|(_, tokens)| tokens.len()));
        for (line, at) in experiment.edits().map_err(|wrong| file.wrong(wrong.at, wrong.reason))? {
            if line.on {
                let fits = Plan::resolve(std::slice::from_ref(&line.edit), &schema, n_pos, contrast);
                fits.map_err(|e| file.wrong(at, e))?;
            }
            setup.edits.push(line);
        }
        let token =
            |text: &Spanned<String>| words.token(text.get_ref()).map_err(|e| file.wrong(text.span(), format!("{e:#}")));
        setup.target = experiment.target.as_ref().map(token).transpose()?;
        setup.distractor = match &experiment.distractor {
            None => Distractor::Likeliest,
            Some(text) if text.get_ref().is_empty() => Distractor::None,
            Some(text) => Distractor::Chosen(token(text)?),
        };
        setup.metric = Some(experiment.metric);
        if let Some(place) = &experiment.view {
            let (at, place) = (place.span(), *place.get_ref());
            if !schema.all_points().contains(&place.hook) {
                return Err(file.wrong(at, format!("this model has no `{}`", place.hook)).into());
            }
            // another prompt may be shorter, and then the cursor is at its end
            let own = !given(&prompt.prompt, &prompt.tokens);
            let heads = words.config.n_heads;
            let places = [("head", place.head, heads), ("position", place.position, n_pos), ("key", place.key, n_pos)];
            if let Some((what, value, n)) =
                places.into_iter().find(|(what, value, n)| value >= n && (own || *what == "head"))
            {
                return Err(file.wrong(at, format!("{what} {value} is out of range: expected 0 to {}", n - 1)).into());
            }
            setup.view = Some(place);
        }
    }
    let added = edits.edit.iter().map(|line| line.parse::<Edit>()).collect::<Result<Vec<_>, _>>();
    let added = added.map_err(|e| Usage(format!("--edit: {e}")))?;
    setup.edits.extend(added.into_iter().map(|edit| EditLine { edit, on: true }));
    setup.enabled.clone_from(schema.enabled());
    Ok(setup)
}

impl Words<'_> {
    fn named(&self, ids: &[u32]) -> Vec<Token> {
        ids.iter().map(|&id| Token { id, text: self.tokenizer.token(id) }).collect()
    }

    /// The tokens of a text that is to be run.
    pub fn prompt(&self, text: &str, prepend_bos: bool) -> Result<Vec<Token>, ModelError> {
        Ok(self.named(&checked(self.encode(text)?, self.config, prepend_bos)?))
    }

    /// The tokens of a text, unless they are certainly more than the context holds.
    fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let (tokens, context) = (self.tokenizer.fewest_tokens(text), self.config.context);
        // one that is far too long would take long to encode, and much memory
        if tokens > context {
            return Err(ModelError::FarTooLong { bytes: text.len(), tokens, context });
        }
        self.tokenizer.encode(text)
    }

    /// A prompt as text and as tokens: the ids where they are given, else those of the text.
    fn text(&self, text: Option<&str>, ids: Option<&[u32]>, prepend_bos: bool) -> Result<(String, Vec<Token>)> {
        let ids = match (ids, text) {
            (Some(ids), _) => ids.to_vec(),
            (None, text) => self.encode(text.unwrap_or_default())?,
        };
        let text = text.map_or_else(|| self.tokenizer.decode(&ids), String::from);
        Ok((text, self.named(&checked(ids, self.config, prepend_bos)?)))
    }

    /// A prompt that an experiment holds; its tokens must be the text's.
    fn of_file(
        &self,
        file: &File,
        text: Option<&str>,
        ids: Option<&Spanned<Vec<u32>>>,
        prepend_bos: bool,
    ) -> Result<Option<(String, Vec<Token>)>> {
        let at = ids.map_or(0..0, Spanned::span);
        if let (Some(text), Some(ids)) = (text, ids.map(Spanned::get_ref)) {
            let same = || -> Result<bool, ModelError> {
                let spelt: String = ids.iter().map(|id| self.tokenizer.token(*id)).collect();
                if spelt == text || self.tokenizer.decode(ids) == text {
                    return Ok(true);
                }
                match self.encode(text) {
                    Err(ModelError::FarTooLong { .. }) => Ok(false),
                    encoded => Ok(encoded? == *ids),
                }
            };
            if !same()? {
                let text = beginning(text);
                let reason = format!("these are not the tokens of {text:?}: take the line out, or the text");
                return Err(file.wrong(at, reason).into());
            }
        }
        if text.is_none() && ids.is_none() {
            return Ok(None);
        }
        let read = self.text(text, ids.map(|ids| ids.get_ref().as_slice()), prepend_bos);
        read.map(Some).map_err(|e| file.wrong(at, format!("{e:#}")).into())
    }

    /// A token by its text, of which a leading space is a part; or by its id, as `#7910`.
    pub fn token(&self, text: &str) -> Result<Token> {
        /// Of the tokens that a text is instead.
        const SHOWN: usize = 20;
        let id = match text.strip_prefix('#').and_then(|id| id.parse::<u32>().ok()) {
            Some(id) => checked(vec![id], self.config, false)?[0],
            None => match self.encode(text)?.as_slice() {
                [id] => *id,
                ids => {
                    let part = |id: &u32| format!("{:?}", self.tokenizer.token(*id));
                    let mut parts: Vec<String> = ids.iter().take(SHOWN).map(part).collect();
                    parts.extend((ids.len() > SHOWN).then(|| "...".into()));
                    let (text, n) = (beginning(text), ids.len());
                    return Err(Usage(format!("{text:?} is no token but {n}: {}", parts.join(" "))).into());
                }
            },
        };
        Ok(Token { id, text: self.tokenizer.token(id) })
    }
}

/// As much of a text as fits in a message.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 200;
    let end = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    end.map_or_else(|| text.into(), |end| format!("{}...", &text[..end]))
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
