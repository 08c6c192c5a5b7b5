//! Running a grid's cells, a checkpoint at a time.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    cells::Cells,
    cost::Unit,
    plan::Grid,
    row::{Place, Weights, grid_columns, is_computed, row},
};
use crate::{
    engine::Engine,
    experiment::{ExperimentError, ModelChoice, Named, View, dictionaries, shard::Shard},
    hooks::{HookPoint, Schema},
    model::{Fetched, Hub, Progress, Source, WeightHashes},
    table::{Cell, Journal, TableError, fingerprint},
};

/// What happens while a grid runs.
pub trait GridProgress {
    /// A checkpoint is about to be loaded, to run this many cells.
    fn begins(&mut self, model: &str, revision: Option<&str>, cells: usize);

    fn fetches(&mut self, progress: Progress);

    /// A cell is done, or failed for this reason.
    fn ends(&mut self, error: Option<&str>);
}

/// How a grid is run.
pub struct GridRun<'a> {
    pub shard: Shard,
    /// Whether models that are downloaded for it stay in the cache.
    pub keep_cache: bool,
    /// Set from outside to stop; the cells at hand are then not done.
    pub cancel: &'a AtomicBool,
}

/// Adds the row of a cell to the journal.
type Add<'a> = &'a mut dyn FnMut(Vec<Cell>, usize, &mut dyn GridProgress) -> Result<(), TableError>;

/// What became of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The cells of the shard.
    pub cells: usize,
    /// Those that an earlier start had done.
    pub earlier: usize,
    pub failed: usize,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

impl<V: View> Grid<V> {
    /// Open the journal of a shard.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn journal(&self, out: &std::path::Path, shard: Shard) -> Result<Journal, TableError> {
        Journal::open(out, &self.part(shard), &grid_columns(), is_computed)
    }

    /// Run the cells of a shard that the journal does not hold. A cell that can't be computed is a row with the reason.
    ///
    /// # Errors
    /// There is no such device, or the journal can't be written.
    pub fn run(
        &self,
        how: &GridRun<'_>,
        journal: &mut Journal,
        progress: &mut dyn GridProgress,
    ) -> Result<Ran, ExperimentError> {
        self.choice.placement()?;
        let mut ran = Ran::default();
        let edits: Vec<String> =
            self.file.experiment.edit.iter().filter(|line| line.on).map(|line| line.line.get_ref().clone()).collect();
        let edits = edits.join("\n");
        for unit in self.units(how.shard) {
            let all = unit.prompts.len();
            let missing: Vec<usize> =
                unit.prompts.clone().filter(|prompt| !journal.contains(self.cell(unit.checkpoint, *prompt))).collect();
            ran.cells += all;
            ran.earlier += all - missing.len();
            if missing.is_empty() || ran.stopped {
                continue;
            }
            let checkpoint = &self.checkpoints[unit.checkpoint];
            progress.begins(&checkpoint.model, checkpoint.revision.as_deref(), missing.len());
            let mut add = |row: Vec<Cell>, cell: usize, progress: &mut dyn GridProgress| -> Result<(), TableError> {
                let error = row.last().and_then(Cell::text).map(String::from);
                journal.add(cell, &[row])?;
                ran.failed += usize::from(error.is_some());
                progress.ends(error.as_deref());
                Ok(())
            };
            ran.stopped = self.run_unit(&unit, &missing, &edits, how, progress, &mut add)?;
        }
        Ok(ran)
    }

    /// Run some prompts of a unit; returns whether it was stopped.
    fn run_unit(
        &self,
        unit: &Unit,
        prompts: &[usize],
        edits: &str,
        how: &GridRun<'_>,
        progress: &mut dyn GridProgress,
        add: Add<'_>,
    ) -> Result<bool, ExperimentError> {
        let stopped = || how.cancel.load(Ordering::Relaxed);
        let checkpoint = &self.checkpoints[unit.checkpoint];
        let choice = ModelChoice {
            name: Some(checkpoint.model.clone()),
            revision: checkpoint.revision.clone(),
            ..self.choice.clone()
        };
        let dtype = choice.dtype.to_string();
        let place = |number: usize| Place {
            cell: self.cell(unit.checkpoint, number),
            checkpoint,
            number,
            prompt: &self.prompts[number],
            metric: self.metric.name(),
            dtype: &dtype,
            processing: choice.processing.name(),
            edits,
        };
        let mut fetched = None;
        let opened = self.open(&choice, how, &mut fetched, progress);
        let mut result = Ok(());
        match opened {
            Ok(Opened { engine, weights, d_sae }) => {
                let mut cells = Cells::new(self, engine, d_sae);
                result = cells.run(prompts, how.cancel, &mut |number, loaded, values| {
                    let place = place(number);
                    add(row(place, &weights, Some(loaded), values), place.cell, progress)
                });
            }
            Err(_) if stopped() => {}
            Err(reason) => {
                let weights = Weights::unknown(choice.revision.clone());
                for number in prompts {
                    let place = place(*number);
                    if let Err(error) = add(row(place, &weights, None, Err(reason.clone())), place.cell, progress) {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        if let Some(fetched) = fetched {
            fetched.remove();
        }
        Ok(result.map(|()| stopped())?)
    }

    /// Load a checkpoint with the experiment's dictionaries. What was downloaded for it, if that is to be removed, is in `fetched`,
    /// even after a failure.
    fn open(
        &self,
        choice: &ModelChoice,
        how: &GridRun<'_>,
        fetched: &mut Option<Fetched>,
        progress: &mut dyn GridProgress,
    ) -> Result<Opened, String> {
        let mut load = || -> Result<Opened, ExperimentError> {
            let keep_going = || !how.cancel.load(Ordering::Relaxed);
            let hub = Hub::from_env(choice.offline);
            let named = choice.named()?;
            let before = match &named {
                Named::Hub { repository, revision } if !how.keep_cache => Some(hub.cache.state(repository, revision)),
                Named::Hub { .. } | Named::Here(_) => None,
            };
            let mut on_progress = |at| {
                progress.fetches(at);
                keep_going()
            };
            let source = choice.source(&mut on_progress)?;
            *fetched = before.zip(source.commit()).map(|(before, commit)| before.fetched(commit));
            let loaded = source.load_while(choice.processing, choice.placement()?, &keep_going)?;
            let place = dictionaries::Place { source: &source, loaded: &loaded, offline: choice.offline };
            let found = dictionaries::load(&place, &self.given(), Some(&self.file), &mut on_progress)?;
            let hash = match &source {
                Source::Snapshot { directory, .. } => {
                    let hashes = WeightHashes::of_directory(directory, &keep_going)?;
                    Some(fingerprint(&format!("{:?}", hashes.0)))
                }
                Source::Demo | Source::Directory(_) | Source::Cache(_) => None,
            };
            let lines = found.iter().filter_map(dictionaries::Found::line);
            let sources: Vec<String> = lines.map(|line| line.source.into_inner()).collect();
            let weights = Weights {
                commit: loaded.revision.clone(),
                hash,
                revision: source.revision().map(String::from),
                dictionaries: (!sources.is_empty()).then(|| sources.join("\n")),
            };
            let schema = Schema::new(loaded.model.config.dims());
            let mut engine = Engine::new(loaded, schema);
            let d_sae = found.iter().map(|one| (one.hook, one.dictionary.d_sae)).collect();
            for one in found {
                engine.use_dictionary(one.hook, one.dictionary);
            }
            Ok(Opened { engine, weights, d_sae })
        };
        load().map_err(|error| error.to_string())
    }
}

/// A checkpoint that is ready to run.
struct Opened {
    engine: Engine,
    weights: Weights,
    /// The number of features of its dictionaries.
    d_sae: BTreeMap<HookPoint, usize>,
}
