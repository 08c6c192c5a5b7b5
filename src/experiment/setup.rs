//! What is to be run on a model: from the arguments, and from a file what they do not say.

use std::collections::BTreeSet;

use toml::Spanned;

use super::{ExperimentError, File, PromptParser, Token, View};
use crate::{
    engine::{Metric, Spec},
    hooks::{Edit, HookPoint, Plan, Schema},
    model::ModelError,
};

/// An edit in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct EditLine {
    pub edit: Edit,
    pub on: bool,
}

/// The token whose logit is taken off the target's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Distractor {
    /// The likeliest token of the baseline that is not the target.
    #[default]
    Likeliest,
    None,
    Chosen(Token),
}

/// What arguments give beside a file, or without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub prompt: Option<String>,
    /// Ids, which go before the text.
    pub tokens: Option<Vec<u32>>,
    pub contrast: Option<String>,
    pub contrast_tokens: Option<Vec<u32>>,
    pub prepend_bos: bool,
    /// Opt-in hooks, added to the file's.
    pub enable: Vec<String>,
    /// Edits as text, which come after the file's.
    pub edits: Vec<String>,
}

impl Given {
    /// Whether a prompt is given, which takes the place of the file's.
    #[must_use]
    pub fn has_prompt(&self) -> bool {
        self.prompt.is_some() || self.tokens.is_some()
    }

    fn has_contrast(&self) -> bool {
        self.contrast.is_some() || self.contrast_tokens.is_some()
    }
}

/// What an experiment comes to with a model: what a run is made from, and what the explorer opens with or goes on with.
#[derive(Clone, Debug)]
pub struct Setup<V> {
    /// Text and tokens.
    pub prompt: (String, Vec<Token>),
    pub contrast: Option<(String, Vec<Token>)>,
    /// The beginning-of-sequence token stands before the prompts.
    pub prepend_bos: bool,
    pub enabled: BTreeSet<HookPoint>,
    pub edits: Vec<EditLine>,
    pub target: Option<Token>,
    pub distractor: Distractor,
    /// What a sweep measures, where it was chosen.
    pub metric: Option<Metric>,
    pub view: Option<V>,
}

impl<V> Default for Setup<V> {
    fn default() -> Self {
        Self {
            prompt: Default::default(),
            contrast: None,
            prepend_bos: false,
            enabled: BTreeSet::new(),
            edits: Vec::new(),
            target: None,
            distractor: Distractor::default(),
            metric: None,
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
        }
    }
}

impl<V: View> Setup<V> {
    /// Check against a model what the arguments give, and from the file what they do not. The edits of the arguments are
    /// parsed only: what they are at is checked when they are run.
    ///
    /// # Errors
    /// No prompt; a prompt, token, hook, edit or view that does not fit the model.
    pub fn new(parser: PromptParser<'_>, given: &Given, file: Option<&File<V>>) -> Result<Self, ExperimentError> {
        let mut schema = Schema::new(parser.config.dims());
        for name in &given.enable {
            schema.enable(name).map_err(ExperimentError::Enable)?;
        }
        let mut setup = Self { prepend_bos: given.prepend_bos, ..Self::default() };
        if let Some(file) = file {
            setup.prepend_bos |= file.experiment.prepend_bos;
            for name in &file.experiment.enable {
                schema.enable(name.get_ref()).map_err(|e| file.wrong(name.span(), e))?;
            }
        }
        setup.prompt = prompt(parser, given, file, setup.prepend_bos)?;
        setup.contrast = contrast(parser, given, file, setup.prepend_bos)?;
        if let Some(file) = file {
            setup.take_from(file, parser, &schema, given)?;
        }
        let added = given.edits.iter().map(|line| line.parse::<Edit>()).collect::<Result<Vec<_>, _>>();
        let added = added.map_err(ExperimentError::Edit)?;
        setup.edits.extend(added.into_iter().map(|edit| EditLine { edit, on: true }));
        setup.enabled.clone_from(schema.enabled());
        Ok(setup)
    }

    /// What a file alone can say, or says first: edits, target, distractor, metric and view.
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
        if let Some(view) = &experiment.view {
            // another prompt may be shorter than the one that was looked at
            let n_pos = (!given.has_prompt()).then_some(n_pos);
            view.get_ref().check(schema, n_pos).map_err(|reason| file.wrong(view.span(), reason))?;
            self.view = Some(view.get_ref().clone());
        }
        Ok(())
    }
}

fn prompt<V>(
    parser: PromptParser<'_>,
    given: &Given,
    file: Option<&File<V>>,
    prepend_bos: bool,
) -> Result<(String, Vec<Token>), ExperimentError> {
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
) -> Result<Option<(String, Vec<Token>)>, ExperimentError> {
    if given.has_contrast() {
        let read = parser.text(given.contrast.as_deref(), given.contrast_tokens.as_deref(), prepend_bos);
        return read.map(Some).map_err(misfit("the contrast prompt"));
    }
    let Some(file) = file else { return Ok(None) };
    let (text, ids) = (file.experiment.contrast.as_deref(), file.experiment.contrast_tokens.as_ref());
    parser.of_file(file, text, ids, prepend_bos)
}

fn misfit(what: &'static str) -> impl FnOnce(ModelError) -> ExperimentError {
    move |reason| ExperimentError::Prompt { what, reason: Box::new(reason) }
}
