//! The model on the screen: its worker, and what prompts and experiments are checked against.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};

use crate::{
    engine::{Engine, Other, Report, Session, Worker},
    hooks::HookPoint,
    model::{Config, Dictionary, Lens, Loaded, Placement, Source, Tokenizer},
    views::ModelInfo,
};

/// The model that the explorer runs, held by its worker.
pub(super) struct LoadedModel {
    /// Counts the models of this process, so that reports of earlier ones can be told apart.
    pub number: u64,
    pub source: Source,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    pub place: Placement,
    /// Those of the engine, for other checkpoints of the model.
    pub lenses: Vec<Arc<Lens>>,
    pub dictionaries: BTreeMap<HookPoint, Arc<Dictionary>>,
    /// The model that it is compared with, for other checkpoints of this one.
    pub against: Option<Other>,
    pub worker: Worker,
}

impl LoadedModel {
    /// Hand the engine, and a model to compare with, to a new worker, which calls `report`.
    ///
    /// # Errors
    /// The worker's thread can't be started.
    pub fn start(
        number: u64,
        source: Source,
        (engine, against): (Engine, Option<Other>),
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Result<Self> {
        let Loaded { model, tokenizer, .. } = &engine.loaded;
        let (tokenizer, config, place) = (tokenizer.clone(), model.config.clone(), model.place());
        let (lenses, dictionaries) = (engine.lenses.clone(), engine.dictionaries.clone());
        let session = Session::new(engine);
        let session = match against.clone() {
            Some(other) => session.against(other),
            None => session,
        };
        let worker = Worker::start(session, report).context("starting the worker")?;
        Ok(Self { number, source, tokenizer, config, place, lenses, dictionaries, against, worker })
    }
}

/// What the header and the Shape view show about a model. `name` is as `--model` takes it; `note` says why this model
/// replaces another.
pub(super) fn model_info(loaded: &Loaded, source: &Source, name: String, note: Option<String>) -> ModelInfo {
    let branch = match source {
        Source::Snapshot { revision, commit, .. } if revision != "main" && revision != commit => Some(revision.clone()),
        Source::Snapshot { .. } | Source::Directory(_) | Source::Demo | Source::Cache(_) => None,
    };
    ModelInfo {
        name: loaded.name.clone(),
        source: name,
        revision: loaded.revision.clone(),
        branch,
        processing: loaded.model.processing,
        device: loaded.model.place().to_string(),
        dtype: loaded.model.dtype.into(),
        config: loaded.model.config.clone(),
        note,
    }
}
