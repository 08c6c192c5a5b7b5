//! The model that is explored.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::{
    app::ModelInfo,
    engine::{Engine, Live, Report, Worker},
    model::{Config, Loaded, Placement, Source, Tokenizer},
};

/// The worker that has the model, and what texts are checked against.
pub(super) struct Subject {
    /// Which it is of those that were explored.
    pub number: u64,
    pub source: Source,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    pub place: Placement,
    pub worker: Worker,
}

impl Subject {
    /// # Errors
    /// The worker can't be started.
    pub fn new(
        number: u64,
        source: Source,
        engine: Engine,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Result<Self> {
        let Loaded { model, tokenizer, .. } = &engine.loaded;
        let (tokenizer, config, place) = (tokenizer.clone(), model.config.clone(), model.place());
        let worker = Worker::start(Live::new(engine), report).context("starting the worker")?;
        Ok(Self { number, source, tokenizer, config, place, worker })
    }
}

/// What the screen says of a model.
pub(super) fn info(loaded: &Loaded, source: &Source, name: String, note: Option<String>) -> ModelInfo {
    let branch = match source {
        Source::Snapshot { revision, commit, .. } if revision != "main" && revision != commit => Some(revision.clone()),
        _ => None,
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
