//! The dictionaries of an experiment: those of the arguments, then those of the file, with their labels.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::Spanned;

use super::{
    DictionaryChoice, ExperimentError, File, Given, View, dictionary, format::DictionaryLine, labels::read_labels,
};
use crate::{
    fs,
    hooks::{HookPoint, Schema},
    model::{Dictionary, Hub, Loaded, ModelError, OnProgress, Source},
};

/// A dictionary at its hook, and where it and its labels are from.
pub(super) struct Found {
    pub hook: HookPoint,
    pub dictionary: Arc<Dictionary>,
    choice: DictionaryChoice,
    labels: Option<PathBuf>,
    /// The demo's own, which is there unless another is named.
    usual: bool,
}

impl Found {
    /// What a file says to have it again; None if it need not.
    pub(super) fn line(&self) -> Option<DictionaryLine> {
        let spanned = |text: String| Spanned::new(0..0, text);
        let named = !self.usual || self.labels.is_some();
        named.then(|| DictionaryLine {
            source: spanned(self.choice.to_string()),
            labels: self.labels.as_ref().map(|path| spanned(path.display().to_string())),
        })
    }
}

/// Where dictionaries are looked for.
pub(super) struct Place<'a> {
    pub source: &'a Source,
    pub loaded: &'a Loaded,
    pub offline: bool,
}

/// The dictionaries of the arguments, and those of the file at other hooks; of the demo without any its own.
///
/// # Errors
/// A dictionary that can't be fetched or read, or does not fit its hook; labels that can't be read, or are too many.
pub(super) fn load<V: View>(
    Place { source, loaded, offline }: &Place<'_>,
    given: &Given,
    file: Option<&File<V>>,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Found>, ExperimentError> {
    let (schema, place) = (Schema::new(loaded.model.config.dims()), loaded.model.place());
    let mut open = |choice: DictionaryChoice, usual: bool| -> Result<Found, ExperimentError> {
        let (hook, dictionary) = choice.load(&schema, &place, &Hub::from_env(*offline), on_progress)?;
        let choice = DictionaryChoice { hook: Some(hook), ..choice };
        Ok(Found { hook, dictionary: Arc::new(dictionary), choice, labels: None, usual })
    };
    let failed = |choice: &DictionaryChoice| {
        let name = choice.to_string();
        move |reason| ExperimentError::Sae { name, reason: Box::new(reason) }
    };
    let mut found = Vec::new();
    for choice in &given.dictionaries {
        found.push(open(choice.below(Path::new("")), false).map_err(failed(choice))?);
    }
    let of_arguments = found.len();
    let replaced = |found: &[Found], hook| found[..of_arguments].iter().any(|given| given.hook == hook);
    for (file, line) in file.iter().flat_map(|file| file.experiment.dictionary.iter().map(move |line| (file, line))) {
        let choice = choice(file, line)?;
        if choice.hook.is_some_and(|hook| replaced(&found, hook)) {
            continue;
        }
        let mut one = open(choice.clone(), false).map_err(|reason| match reason {
            ExperimentError::Model(ModelError::Hub(_)) => failed(&choice)(reason),
            reason => file.wrong(line.source.span(), reason),
        })?;
        if replaced(&found, one.hook) {
            continue;
        }
        if let Some(text) = &line.labels {
            let path = fs::absolute(&file.directory().join(fs::expanded(Path::new(text.get_ref()))));
            one.label(&path).map_err(|reason| file.wrong(text.span(), reason))?;
        }
        found.push(one);
    }
    if found.is_empty() && matches!(source, Source::Demo) {
        found.push(open(DictionaryChoice { hook: None, name: dictionary::DEMO.into() }, true)?);
    }
    if given.labels.len() > found.len() {
        return Err(ExperimentError::Labels { labels: given.labels.len(), dictionaries: found.len() });
    }
    for (one, path) in found.iter_mut().zip(&given.labels) {
        one.label(&fs::absolute(path))?;
    }
    Ok(found)
}

impl Found {
    fn label(&mut self, path: &Path) -> Result<(), ExperimentError> {
        let read = read_labels(path)?;
        // nothing else holds it yet
        if let Some(dictionary) = Arc::get_mut(&mut self.dictionary) {
            dictionary.labels = read;
        }
        self.labels = Some(path.to_path_buf());
        Ok(())
    }
}

/// What a line of a file names, with its path from the root of the file system.
fn choice<V: View>(file: &File<V>, line: &DictionaryLine) -> Result<DictionaryChoice, ExperimentError> {
    let parsed = line.source.get_ref().parse::<DictionaryChoice>();
    Ok(parsed.map_err(|reason| file.wrong(line.source.span(), reason))?.below(file.directory()))
}

/// Whether a file's dictionaries are those that a session records; a file that names none takes the session's.
///
/// # Errors
/// A line that names no dictionary.
pub fn has_dictionaries_of<V: View>(file: &File<V>, session: &[DictionaryLine]) -> Result<bool, ExperimentError> {
    let lines = &file.experiment.dictionary;
    if lines.is_empty() {
        return Ok(true);
    }
    let mut same = lines.len() == session.len();
    for (line, kept) in lines.iter().zip(session) {
        let choice = choice(file, line)?;
        let labels = |line: &DictionaryLine| line.labels.as_ref().map(|text| file.directory().join(text.get_ref()));
        let kept_choice = kept.source.get_ref().parse::<DictionaryChoice>();
        let is_same =
            |kept: DictionaryChoice| kept.name == choice.name && choice.hook.is_none_or(|h| kept.hook == Some(h));
        same &= kept_choice.is_ok_and(is_same) && labels(line) == labels(kept);
    }
    Ok(same)
}
