//! What to run on a model, from the arguments and, where they are silent, from a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use toml::Spanned;

use super::{
    Circuit, CircuitTable, Continuations, Corpus, CorpusError, DictionaryChoice, EditLine, ExperimentError, File,
    GridTable, PromptParser, Token, View,
    format::DictionaryLine,
    stops::KeptBreakpoint,
    vectors::{VectorParser, file_vector, given_vector, known_vector},
    wrong::Wrong,
};
use crate::{
    analysis::GraphShape,
    engine::{CorpusPrompt, Metric, Spec},
    hooks::{Edit, HookPoint, Plan, Schema, VectorDefinitions, Vectors},
    model::ModelError,
    predicate::Quantity,
};

/// A text and its tokens.
pub type Text = (String, Vec<Token>);

/// The token whose logit is subtracted from the target's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Distractor {
    /// The likeliest token of the baseline that is not the target.
    #[default]
    Likeliest,
    None,
    Chosen(Token),
}

/// What arguments specify, beside a file or without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub prompt: Option<String>,
    /// Token ids, which override the text.
    pub tokens: Option<Vec<u32>>,
    pub contrast: Option<String>,
    pub contrast_tokens: Option<Vec<u32>>,
    pub prepend_bos: bool,
    /// Opt-in hooks, added to the file's.
    pub enable: Vec<String>,
    /// Vectors as `NAME=SOURCE`, which come before the file's.
    pub vectors: Vec<String>,
    /// Edits as text, appended to the file's.
    pub edits: Vec<String>,
    /// Dictionaries to load, which replace the file's at the same hooks.
    pub dictionaries: Vec<DictionaryChoice>,
    /// Files of labels, in the order of the dictionaries: of these, then of the file's.
    pub labels: Vec<PathBuf>,
    /// The number of features of each that is loaded.
    pub d_sae: BTreeMap<HookPoint, usize>,
    /// A corpus, whose first prompt stands for the prompt.
    pub corpus: Option<Corpus>,
}

impl Given {
    /// Whether a prompt is given, which overrides the file's.
    #[must_use]
    pub fn has_prompt(&self) -> bool {
        self.prompt.is_some() || self.tokens.is_some() || self.corpus.is_some()
    }

    fn has_contrast(&self) -> bool {
        self.contrast.is_some() || self.contrast_tokens.is_some()
    }
}

/// An experiment resolved against a model: it specifies a run, and how the explorer opens or continues.
#[derive(Clone, Debug)]
pub struct Setup<V> {
    pub prompt: Text,
    pub contrast: Option<Text>,
    /// Whether the beginning-of-sequence token is prepended to the prompts.
    pub prepend_bos: bool,
    pub enabled: BTreeSet<HookPoint>,
    /// The dictionaries that were loaded for it, as a file names them.
    pub dictionaries: Vec<DictionaryLine>,
    /// The vectors that edits can name.
    pub vectors: VectorDefinitions,
    pub edits: Vec<EditLine>,
    pub target: Option<Token>,
    pub distractor: Distractor,
    /// The metric of a sweep, if one was chosen.
    pub metric: Option<Metric>,
    /// The circuit that `circuit` runs, and with which the explorer opens.
    pub circuit: Option<Circuit>,
    /// What `grid` varies, which the explorer keeps.
    pub grid: Option<GridTable>,
    pub breakpoints: Vec<KeptBreakpoint>,
    pub watches: Vec<Quantity>,
    /// How the explorer continues texts.
    pub continuations: Continuations,
    pub view: Option<V>,
}

impl<V> Default for Setup<V> {
    fn default() -> Self {
        Self {
            prompt: Default::default(),
            contrast: None,
            prepend_bos: false,
            enabled: BTreeSet::new(),
            dictionaries: Vec::new(),
            vectors: VectorDefinitions::new(),
            edits: Vec::new(),
            target: None,
            distractor: Distractor::default(),
            metric: None,
            circuit: None,
            grid: None,
            breakpoints: Vec::new(),
            watches: Vec::new(),
            continuations: Continuations::default(),
            view: None,
        }
    }
}

impl<V> Setup<V> {
    /// What is to be run.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect();
        Spec {
            tokens: ids(&self.prompt.1),
            contrast: self.contrast.as_ref().map(|(_, tokens)| ids(tokens)),
            edits: self.edits.iter().filter(|line| line.on).map(|line| line.edit.clone()).collect(),
            enabled: self.enabled.clone(),
            vectors: self.vectors.clone(),
            generated: 0,
        }
    }
}

impl<V: View> Setup<V> {
    /// Check the arguments, completed from the file, against a model. Edits of the arguments are only parsed; their
    /// places are checked when they are run.
    ///
    /// # Errors
    /// No prompt; a prompt, token, hook, edit or view that does not fit the model.
    pub fn new(parser: PromptParser<'_>, given: &Given, file: Option<&File<V>>) -> Result<Self, ExperimentError> {
        let mut schema = Schema::new(parser.config.dims());
        schema.set_dictionaries(given.d_sae.clone());
        if given.corpus.is_some() {
            schema.set_corpus();
        }
        for name in &given.enable {
            schema.enable(name).map_err(ExperimentError::Enable)?;
        }
        let mut setup = Self { prepend_bos: prepends_bos(given, file), ..Self::default() };
        if let Some(file) = file {
            for name in &file.experiment.enable {
                schema.enable(name.get_ref()).map_err(|e| file.wrong(name.span(), e))?;
            }
        }
        (setup.prompt, setup.contrast) = Self::texts(parser, given, file)?;
        let with = VectorParser { prompts: parser, d_sae: &given.d_sae, prepend_bos: setup.prepend_bos };
        let vectors = given.vectors.iter().map(|given| given_vector(with, given));
        setup.vectors = vectors.collect::<Result<_, _>>()?;
        if let Some(file) = file {
            for line in &file.experiment.vector {
                let (name, definition) = file_vector(with, file, line)?;
                setup.vectors.entry(name).or_insert(definition);
            }
        }
        *schema.vectors_mut() = Vectors::from(setup.vectors.clone());
        if let Some(file) = file {
            setup.take_from(file, parser, &schema, given)?;
        }
        let edit = |line: &String| line.parse::<Edit>().and_then(|edit| known_vector(line, edit, &setup.vectors));
        let added = given.edits.iter().map(edit).collect::<Result<Vec<_>, _>>();
        let added = added.map_err(ExperimentError::Edit)?;
        setup.edits.extend(added.into_iter().map(|edit| EditLine { edit, on: true }));
        setup.enabled.clone_from(schema.enabled());
        Ok(setup)
    }

    /// The prompt and the contrast prompt, each as a text and its tokens.
    ///
    /// # Errors
    /// No prompt, or one that does not fit the model.
    pub(super) fn texts(
        parser: PromptParser<'_>,
        given: &Given,
        file: Option<&File<V>>,
    ) -> Result<(Text, Option<Text>), ExperimentError> {
        let bos = prepends_bos(given, file);
        Ok((prompt(parser, given, file, bos)?, contrast(parser, given, file, bos)?))
    }

    /// Take what only a file can specify, and its defaults for the rest: edits, target, distractor, metric, circuit and
    /// view.
    fn take_from(
        &mut self,
        file: &File<V>,
        parser: PromptParser<'_>,
        schema: &Schema,
        given: &Given,
    ) -> Result<(), ExperimentError> {
        let experiment = &file.experiment;
        let (n_pos, contrast) = (self.prompt.1.len(), self.contrast.as_ref().map(|(_, tokens)| tokens.len()));
        for (line, at) in experiment.edits().map_err(|wrong| file.wrong(wrong.at, wrong.reason))? {
            if line.on {
                let fits = Plan::resolve(std::slice::from_ref(&line.edit), schema, n_pos, contrast);
                fits.map_err(|e| file.wrong(at, e))?;
            }
            self.edits.push(line);
        }
        let token = |text: &Spanned<String>| parser.token(text.get_ref()).map_err(|e| file.wrong(text.span(), e));
        self.target = experiment.target.as_ref().map(token).transpose()?;
        self.distractor = match &experiment.distractor {
            None => Distractor::Likeliest,
            Some(text) if text.get_ref().is_empty() => Distractor::None,
            Some(text) => Distractor::Chosen(token(text)?),
        };
        self.metric = experiment.metric;
        self.grid.clone_from(&experiment.grid);
        let stop = |wrong: Wrong| file.wrong(wrong.at, wrong.reason);
        let breakpoints = experiment.breakpoint.iter().map(|table| table.check(schema, n_pos));
        self.breakpoints = breakpoints.collect::<Result<_, _>>().map_err(stop)?;
        let watches = experiment.watch.iter().map(|table| table.check(schema, n_pos));
        self.watches = watches.collect::<Result<_, _>>().map_err(stop)?;
        if let Some(table) = &experiment.continuation {
            let (mut table, is_edited) = (table.clone(), self.edits.iter().any(|line| line.on));
            // branches are of the texts of the file
            if given.has_prompt() {
                table.unedited.clear();
            }
            if given.has_prompt() || given.has_contrast() || !given.edits.is_empty() {
                table.edited.clear();
            }
            self.continuations = table.check(n_pos, parser.config, is_edited).map_err(stop)?;
        }
        // another prompt may be shorter than the saved one
        let n_pos = (!given.has_prompt()).then_some(n_pos);
        let checked = |table: &CircuitTable| table.check(GraphShape::from(schema.dims), n_pos);
        self.circuit =
            experiment.circuit.as_ref().map(checked).transpose().map_err(|wrong| file.wrong(wrong.at, wrong.reason))?;
        if let Some(view) = &experiment.view {
            view.get_ref().check(schema, n_pos).map_err(|reason| file.wrong(view.span(), reason))?;
            self.view = Some(view.get_ref().clone());
        }
        Ok(())
    }
}

fn prepends_bos<V>(given: &Given, file: Option<&File<V>>) -> bool {
    given.prepend_bos || file.is_some_and(|file| file.experiment.prepend_bos)
}

fn prompt<V>(
    parser: PromptParser<'_>,
    given: &Given,
    file: Option<&File<V>>,
    prepend_bos: bool,
) -> Result<Text, ExperimentError> {
    if let Some(corpus) = &given.corpus {
        let first = first(corpus, parser)?;
        return parser.text(None, Some(&first.tokens), false).map_err(misfit("the first prompt"));
    }
    if given.has_prompt() {
        let read = parser.text(given.prompt.as_deref(), given.tokens.as_deref(), prepend_bos);
        return read.map_err(misfit("the prompt"));
    }
    let file = file.ok_or(ExperimentError::NoPrompt)?;
    let (text, ids) = (file.experiment.prompt.as_deref(), file.experiment.tokens.as_ref());
    let read = parser.of_file(file, text, ids, prepend_bos)?;
    read.ok_or_else(|| file.wrong(0..0, "expected `prompt = TEXT` or `tokens = [IDS]`"))
}

fn contrast<V>(
    parser: PromptParser<'_>,
    given: &Given,
    file: Option<&File<V>>,
    prepend_bos: bool,
) -> Result<Option<Text>, ExperimentError> {
    if given.has_contrast() {
        let read = parser.text(given.contrast.as_deref(), given.contrast_tokens.as_deref(), prepend_bos);
        return read.map(Some).map_err(misfit("the contrast prompt"));
    }
    if let Some(corpus) = &given.corpus
        && let Some(corrupted) = first(corpus, parser)?.contrast
    {
        return parser.text(None, Some(&corrupted), false).map(Some).map_err(misfit("the first corrupted prompt"));
    }
    let Some(file) = file else { return Ok(None) };
    let (text, ids) = (file.experiment.contrast.as_deref(), file.experiment.contrast_tokens.as_ref());
    parser.of_file(file, text, ids, prepend_bos)
}

/// The first prompt of a corpus.
fn first(corpus: &Corpus, parser: PromptParser<'_>) -> Result<CorpusPrompt, ExperimentError> {
    let first = corpus.open(parser).and_then(|mut entries| match entries.next() {
        Some(entry) => entry,
        None => Err(CorpusError::empty(&corpus.path)),
    });
    Ok(first.map_err(Box::new)?.prompt)
}

fn misfit(what: &'static str) -> impl FnOnce(ModelError) -> ExperimentError {
    move |reason| ExperimentError::Prompt { what, reason: Box::new(reason) }
}
