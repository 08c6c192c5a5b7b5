//! The prompts of a grid on one checkpoint, in batches of equal length.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicBool},
};

use super::{plan::Grid, prompts::GridPrompt, row::Values};
use crate::{
    analysis::ObjectiveKind,
    engine::{
        Batch, BatchOutcome, Control, CorpusPrompt, CorpusQuestion, CorpusTask, Engine, Measured, PromptEffect, Spec,
        Watch, groups,
    },
    experiment::{ExperimentError, Given, PromptParser, Setup, Text, View},
    hooks::{CorpusValues, HookPoint, RunError},
    model::{Config, Loaded, Tokenizer},
    table::TableError,
};

/// Prompts that are read before they are gathered into batches.
const AT_ONCE: usize = 1024;

/// A checkpoint that runs prompts of a grid.
pub(super) struct Cells<'a, V> {
    grid: &'a Grid<V>,
    engine: Engine,
    tokenizer: Arc<Tokenizer>,
    config: Config,
    /// The number of features of its dictionaries.
    d_sae: BTreeMap<HookPoint, usize>,
    /// The experiment for prompts and contrast prompts of some lengths, or why it does not fit them.
    fits: BTreeMap<(usize, Option<usize>), Result<Spec, String>>,
}

/// A prompt that can be run.
struct Cell {
    number: usize,
    text: String,
    contrast: Option<String>,
    prompt: CorpusPrompt,
}

/// Receives a prompt's number and its result.
type Done<'a> = &'a mut dyn FnMut(usize, &Loaded, Result<Values, String>) -> Result<(), TableError>;

impl<'a, V: View> Cells<'a, V> {
    pub fn new(grid: &'a Grid<V>, engine: Engine, d_sae: BTreeMap<HookPoint, usize>) -> Self {
        let (tokenizer, config) = (engine.loaded.tokenizer.clone(), engine.loaded.model.config.clone());
        Self { grid, engine, tokenizer, config, d_sae, fits: BTreeMap::new() }
    }

    /// Run the prompts with these numbers, in any order, until `cancel` is set.
    ///
    /// # Errors
    /// Those of `done`.
    pub fn run(&mut self, numbers: &[usize], cancel: &AtomicBool, done: Done<'_>) -> Result<(), TableError> {
        for numbers in numbers.chunks(AT_ONCE) {
            let (mut cells, mut task) = (vec![], None);
            for number in numbers {
                match self.read(*number) {
                    Ok((cell, spec)) => {
                        task = Some(self.task(spec));
                        cells.push(cell);
                    }
                    Err(reason) => done(*number, &self.engine.loaded, Err(reason))?,
                }
            }
            let Some(task) = task else { continue };
            let prompts = cells.iter().map(|cell| &cell.prompt).enumerate();
            for group in groups(prompts, |length| self.engine.corpus_rows(&task, length)) {
                let group: Vec<&Cell> = group.into_iter().map(|at| &cells[at]).collect();
                if self.group(&task, &group, cancel, done)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Run prompts together; breaks off if `cancel` is set.
    fn group(
        &mut self,
        task: &CorpusTask,
        group: &[&Cell],
        cancel: &AtomicBool,
        done: Done<'_>,
    ) -> Result<ControlFlow<()>, TableError> {
        match self.batch(task, group, cancel) {
            Err(RunError::Cancelled) => return Ok(ControlFlow::Break(())),
            Ok(outcome) => self.tell(task, group, outcome, done)?,
            Err(reason) if group.len() == 1 => done(group[0].number, &self.engine.loaded, Err(reason.to_string()))?,
            // perhaps only one of them fails
            Err(_) => {
                for cell in group {
                    if self.group(task, &[cell], cancel, done)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A prompt as this checkpoint has it, and the experiment.
    fn read(&mut self, number: usize) -> Result<(Cell, Spec), String> {
        let GridPrompt { prompt, tokens, contrast, contrast_tokens, target, distractor } = &self.grid.prompts[number];
        let given = Given {
            prompt: prompt.clone(),
            tokens: tokens.clone(),
            contrast: contrast.clone(),
            contrast_tokens: contrast_tokens.clone(),
            d_sae: self.d_sae.clone(),
            ..self.grid.given()
        };
        let parser = PromptParser { tokenizer: &self.tokenizer, config: &self.config };
        let said = |error: ExperimentError| error.to_string();
        let file = Some(&self.grid.file);
        let (text, other) = Setup::texts(parser, &given, file).map_err(said)?;
        let ids = |text: &Text| text.1.iter().map(|token| token.id).collect::<Vec<u32>>();
        let lengths = (text.1.len(), other.as_ref().map(|other| other.1.len()));
        // whether edits fit depends on the lengths alone
        let fits = self.fits.entry(lengths);
        let fits = fits.or_insert_with(|| Ok(Setup::new(parser, &given, file).map_err(said)?.spec()));
        let spec = fits.clone()?;
        if self.grid.metric == ObjectiveKind::Loss && text.1.len() < 2 {
            return Err(RunError::NoNextToken.to_string());
        }
        let token = |text: &String| parser.token(text).map(|token| token.id).map_err(|error| error.to_string());
        let prompt = CorpusPrompt {
            tokens: ids(&text),
            contrast: other.as_ref().map(ids),
            target: target.as_ref().map(token).transpose()?,
            distractor: distractor.as_ref().filter(|text| !text.is_empty()).map(token).transpose()?,
        };
        Ok((Cell { number, text: text.0, contrast: other.map(|other| other.0), prompt }, spec))
    }

    /// What is done with every prompt.
    fn task(&self, spec: Spec) -> CorpusTask {
        let question = CorpusQuestion { metric: self.grid.metric, alone: true, ..CorpusQuestion::default() };
        CorpusTask { spec: Spec { tokens: vec![], contrast: None, ..spec }, question, ablation: None }
    }

    fn batch(&mut self, task: &CorpusTask, cells: &[&Cell], cancel: &AtomicBool) -> Result<BatchOutcome, RunError> {
        let batch = Batch { prompts: cells.iter().map(|cell| &cell.prompt).collect(), ..Batch::default() };
        let watch = Watch { effects: true, ..Watch::nothing() };
        let control = Control { cancel, progress: &|_, _| {} };
        self.engine.run_batch(task, &batch, &CorpusValues::default(), &watch, control)
    }

    fn tell(
        &self,
        task: &CorpusTask,
        cells: &[&Cell],
        outcome: BatchOutcome,
        done: Done<'_>,
    ) -> Result<(), TableError> {
        let mut effects = outcome.effects.into_iter();
        for (cell, Measured { value, baseline, .. }) in cells.iter().zip(outcome.measured) {
            let effect = effects.next();
            let CorpusPrompt { tokens, contrast, target, distractor } = cell.prompt.clone();
            let values = Values {
                prompt: cell.text.clone(),
                tokens,
                contrast: cell.contrast.clone().zip(contrast),
                target,
                distractor,
                baseline,
                value,
                kl: effect.as_ref().map(|effect| effect.kl),
                note: effect.as_ref().and_then(|effect| note(task, effect)),
            };
            done(cell.number, &self.engine.loaded, Ok(values))?;
        }
        Ok(())
    }
}

/// The edits that had no effect, and why.
fn note(task: &CorpusTask, effect: &PromptEffect) -> Option<String> {
    let why = effect.no_effect.iter().zip(&task.spec.edits);
    let notes: Vec<String> =
        why.filter_map(|(why, edit)| Some(format!("{edit}: no effect: {}", why.as_ref()?))).collect();
    (!notes.is_empty()).then(|| notes.join("\n"))
}
