//! The model that an experiment runs on.

use std::path::Path;

use super::File;
use crate::{
    fs,
    model::{
        Config, Dtype, Hub, Loaded, ModelError, OnProgress, Place, Placement, Processing, Source, repository, revision,
    },
};

/// The default model.
pub const DEFAULT_MODEL: &str = "pythia-70m-deduped";

/// A request for a model: its name, and how to load it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// `demo`, a directory, or a name on the hub; without it, the default model.
    pub name: Option<String>,
    pub revision: Option<String>,
    pub processing: Processing,
    pub device: Place,
    pub dtype: Dtype,
    /// Do not use the network.
    pub offline: bool,
}

/// Where a model's name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Here(Source),
    Hub { repository: String, revision: String },
}

impl ModelChoice {
    /// The same, completed from a file.
    #[must_use]
    pub fn with_file<V>(&self, file: Option<&File<V>>) -> Self {
        let mut chosen = self.clone();
        if let Some(File { experiment, .. }) = file {
            if chosen.name.is_none() {
                chosen.name = Some(experiment.model.clone());
                chosen.revision = chosen.revision.or_else(|| experiment.revision.clone());
            }
            if chosen.processing.is_folded() {
                chosen.processing = experiment.processing;
            }
        }
        chosen
    }

    /// Where the model is; it is fetched if it is not on this machine.
    ///
    /// # Errors
    /// A name that can't be a model's, a model that does not exist, a failed download.
    pub fn source(&self, on_progress: OnProgress<'_>) -> Result<Source, ModelError> {
        match self.named()? {
            Named::Here(source) => Ok(source),
            Named::Hub { repository, revision } => Hub::from_env(self.offline).get(&repository, &revision, on_progress),
        }
    }

    /// The same, without using the network.
    ///
    /// # Errors
    /// As [`Self::source`], and a model that is not in the cache.
    pub fn source_here(&self) -> Result<Source, ModelError> {
        Self { offline: true, ..self.clone() }.source(&mut |_| true)
    }

    /// The config of the model, without its weights.
    ///
    /// # Errors
    /// As [`Self::source`], and a config that can't be read.
    pub fn config(&self) -> Result<Config, ModelError> {
        match self.named()? {
            Named::Here(source) => source.config(),
            Named::Hub { repository, revision } => Hub::from_env(self.offline).config(&repository, &revision),
        }
    }

    /// The requested device and type.
    ///
    /// # Errors
    /// There is no such device.
    pub fn placement(&self) -> Result<Placement, ModelError> {
        Ok(Placement { device: self.device.open()?, dtype: self.dtype.into() })
    }

    /// # Errors
    /// As [`Self::source`] and [`Self::placement`], and a checkpoint that can't be read.
    pub fn load(&self, on_progress: OnProgress<'_>) -> Result<Loaded, ModelError> {
        // before minutes are spent on a download
        let place = self.placement()?;
        self.source(on_progress)?.load(self.processing, place)
    }

    /// What the name leads to, before anything is fetched.
    ///
    /// # Errors
    /// A name that can be no model's.
    pub fn named(&self) -> Result<Named, ModelError> {
        let name = &expanded(self.name.as_deref().unwrap_or(DEFAULT_MODEL));
        let path = Path::new(name);
        // a path is never a name on the hub, even if it leads nowhere
        let local = || path.is_dir() || path.is_absolute() || name.starts_with(['.', '~']) || name.contains('$');
        let source = match name.as_str() {
            "demo" => Source::Demo,
            // without a name, a directory that happens to have the default model's name is not meant
            _ if self.name.is_some() && local() => {
                // an absolute path can be used from anywhere
                Source::Directory(std::path::absolute(path).unwrap_or_else(|_| path.into()))
            }
            _ => {
                let revision = revision(self.revision.as_deref().unwrap_or("main"))?.to_string();
                return Ok(Named::Hub { repository: repository(name)?, revision });
            }
        };
        if self.revision.is_some() { Err(ModelError::NoRevisions(name.clone())) } else { Ok(Named::Here(source)) }
    }
}

/// A model's name with `~` and variables expanded where the shell did not: in an experiment, in quotes.
pub(super) fn expanded(name: &str) -> String {
    fs::expanded(Path::new(name)).to_string_lossy().into_owned()
}
