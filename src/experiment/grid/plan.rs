//! A grid that was read: its cells, in order.

use std::path::Path;

use serde_json::json;

use super::{
    checkpoints::{GridCheckpoint, checkpoints},
    cost::{self, Unit},
    prompts::{self, GridPrompt},
    table::GridTable,
};
use crate::{
    analysis::ObjectiveKind,
    experiment::{DictionaryChoice, ExperimentError, File, Given, ModelChoice, View, shard::Shard, wrong::Wrong},
    fs, printed,
    table::{Part, fingerprint},
};

/// An experiment with everything that its grid varies. A cell is a prompt on a checkpoint; its number is that of the checkpoint
/// times the number of prompts, plus that of the prompt.
pub struct Grid<V> {
    pub(super) file: File<V>,
    pub(super) choice: ModelChoice,
    dictionaries: Vec<DictionaryChoice>,
    pub checkpoints: Vec<GridCheckpoint>,
    pub prompts: Vec<GridPrompt>,
    pub metric: ObjectiveKind,
    /// A hash of everything that determines the numbers.
    pub fingerprint: String,
}

impl<V: View> Grid<V> {
    /// The grid of an experiment. A model or a revision in `choice` stands in place of those of the file, and dictionaries in
    /// place of the file's at the same hooks.
    ///
    /// # Errors
    /// The file, or a file that it names, can't be read; a list is empty or says the same twice; the metric needs a target and a
    /// prompt has none.
    pub fn read(path: &Path, choice: &ModelChoice, dictionaries: &[DictionaryChoice]) -> Result<Self, ExperimentError> {
        let file = File::<V>::read(path)?;
        let mut table = file.experiment.grid.clone().unwrap_or_default();
        let choice = choice.with_file(Some(&file));
        let name = choice.name.clone().unwrap_or_default();
        if choice.name.as_ref() != Some(&file.experiment.model) {
            table.models.clear();
            table.seeds.clear();
        }
        if choice.revision != file.experiment.revision {
            table.revisions = None;
        }
        let placed = |wrong: Wrong| file.wrong(wrong.at, wrong.reason);
        let checkpoints = checkpoints(&table, &name, choice.revision.as_deref()).map_err(placed)?;
        let metric = table.metric.or(file.experiment.metric.map(ObjectiveKind::from)).unwrap_or_default();
        let prompts = all_prompts(&file, &table, metric)?;
        let dictionaries = dictionaries.to_vec();
        let mut grid = Self { file, choice, dictionaries, checkpoints, prompts, metric, fingerprint: String::new() };
        grid.fingerprint = fingerprint(&grid.written()?);
        Ok(grid)
    }

    /// What stands beside the file.
    pub(super) fn given(&self) -> Given {
        Given { dictionaries: self.dictionaries.clone(), ..Given::default() }
    }

    /// The number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.checkpoints.len() * self.prompts.len()
    }

    /// The number of a cell.
    #[must_use]
    pub fn cell(&self, checkpoint: usize, prompt: usize) -> usize {
        checkpoint * self.prompts.len() + prompt
    }

    /// The units of a shard.
    #[must_use]
    pub fn units(&self, shard: Shard) -> Vec<Unit> {
        cost::units(&self.checkpoints, &self.prompts, shard)
    }

    /// What the table of a shard holds.
    #[must_use]
    pub fn part(&self, shard: Shard) -> Part {
        Part {
            of: "grid".into(),
            fingerprint: self.fingerprint.clone(),
            shard: (shard.at, shard.of),
            units: self.cells(),
            key: "cell".into(),
        }
    }

    /// Everything that determines the numbers, as text. Of files of vectors, the contents.
    fn written(&self) -> Result<String, ExperimentError> {
        let experiment = &self.file.experiment;
        let edits: Vec<&String> =
            experiment.edit.iter().filter(|line| line.on).map(|line| line.line.get_ref()).collect();
        let mut vectors = Vec::new();
        for vector in &experiment.vector {
            let source = vector.source.get_ref();
            let contents = match source_file(source) {
                Some(path) => {
                    let path = self.file.directory().join(fs::expanded(Path::new(path)));
                    let bytes = fs::read(&path, u64::MAX).map_err(|reason| {
                        let reason = format!("can't read {}: {reason}", printed::path(&path));
                        self.file.wrong(vector.source.span(), reason)
                    })?;
                    Some(crate::table::fingerprint_of(&bytes))
                }
                None => None,
            };
            vectors.push(json!([vector.name.get_ref(), source, contents]));
        }
        let enable: Vec<&String> = experiment.enable.iter().map(toml::Spanned::get_ref).collect();
        let given = self.dictionaries.iter().map(ToString::to_string);
        let dictionaries: Vec<String> =
            given.chain(experiment.dictionary.iter().map(|one| one.source.get_ref().clone())).collect();
        Ok(json!({
            "version": 1,
            "checkpoints": self.checkpoints,
            "prompts": self.prompts,
            "metric": self.metric.name(),
            "dtype": self.choice.dtype.to_string(),
            "processing": self.choice.processing.name(),
            "prepend-bos": experiment.prepend_bos,
            "enable": enable,
            "edits": edits,
            "dictionaries": dictionaries,
            "vectors": vectors,
        })
        .to_string())
    }
}

/// The file that a vector comes from.
fn source_file(source: &str) -> Option<&str> {
    if let Some(path) = source.strip_prefix("diff@") {
        return Some(path);
    }
    let is_made = ["diff:", "unembed:", "embed:"].iter().any(|made| source.starts_with(made));
    (!is_made).then(|| source.rsplit_once('#').map_or(source, |(path, _)| path))
}

/// The prompts of the table and of its file, else the experiment's own; each with what it leaves out.
fn all_prompts<V: View>(
    file: &File<V>,
    table: &GridTable,
    metric: ObjectiveKind,
) -> Result<Vec<GridPrompt>, ExperimentError> {
    let experiment = &file.experiment;
    let mut prompts = table.prompt.clone();
    if let Some(name) = &table.prompts {
        let path = file.directory().join(fs::expanded(Path::new(name.get_ref())));
        let read = prompts::read(&path).map_err(|(line, reason)| {
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            file.wrong(name.span(), format!("{}{line}: {reason}", printed::path(&path)))
        })?;
        prompts.extend(read);
    }
    if prompts.is_empty() {
        prompts.push(GridPrompt {
            prompt: experiment.prompt.clone(),
            tokens: experiment.tokens.as_ref().map(|ids| ids.get_ref().clone()),
            ..GridPrompt::default()
        });
    }
    for (number, prompt) in prompts.iter_mut().enumerate() {
        if prompt.prompt.is_none() && prompt.tokens.is_none() {
            return Err(file.wrong(0..0, format!("prompt {} has neither a text nor tokens", number + 1)));
        }
        if prompt.contrast.is_none() && prompt.contrast_tokens.is_none() {
            prompt.contrast.clone_from(&experiment.contrast);
            prompt.contrast_tokens = experiment.contrast_tokens.as_ref().map(|ids| ids.get_ref().clone());
        }
        let text = |text: &Option<toml::Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        if prompt.target.is_none() {
            prompt.target = text(&experiment.target);
        }
        if prompt.distractor.is_none() {
            prompt.distractor = text(&experiment.distractor);
        }
        // the position and the ids do not matter here
        if metric.of(0, prompt.target.as_ref().map(|_| 0), None).is_none() {
            let reason =
                format!("the metric {metric} needs a target, and prompt {} has none: add `target = TOKEN`", number + 1);
            return Err(file.wrong(0..0, reason));
        }
    }
    Ok(prompts)
}
