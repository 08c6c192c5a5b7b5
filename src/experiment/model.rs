//! Which model an experiment is run on.

use std::path::Path;

use super::File;
use crate::{
    fs,
    model::{Config, Dtype, Hub, Loaded, ModelError, Place, Placement, Processing, Source, Tell, repository, revision},
};

/// The model that is meant when none is named.
pub const DEFAULT_MODEL: &str = "pythia-70m-deduped";

/// A model as it is asked for: its name, and how it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// `demo`, a directory, or a name on the hub; without it, the default model.
    pub name: Option<String>,
    pub revision: Option<String>,
    pub processing: Processing,
    pub device: Place,
    pub dtype: Dtype,
    /// Ask the network for nothing.
    pub offline: bool,
}

/// What a model's name leads to.
enum Named {
    Here(Source),
    Hub { repository: String, revision: String },
}

impl ModelChoice {
    /// The same with what a file says and the arguments do not.
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

    /// Where it is; fetched if it is not on this machine.
    ///
    /// # Errors
    /// A name that is not a model's, a model that is not there, whatever stops a download.
    pub fn source(&self, tell: Tell<'_>) -> Result<Source, ModelError> {
        match self.named()? {
            Named::Here(source) => Ok(source),
            Named::Hub { repository, revision } => Hub::from_env(self.offline).get(&repository, &revision, tell),
        }
    }

    /// The same without asking the network.
    ///
    /// # Errors
    /// As [`Self::source`], and a model that is not in the cache.
    pub fn source_here(&self) -> Result<Source, ModelError> {
        Self { offline: true, ..self.clone() }.source(&mut |_| true)
    }

    /// What the model is, without its weights.
    ///
    /// # Errors
    /// As [`Self::source`], and a config that can't be read.
    pub fn config(&self) -> Result<Config, ModelError> {
        match self.named()? {
            Named::Here(source) => source.config(),
            Named::Hub { repository, revision } => Hub::from_env(self.offline).config(&repository, &revision),
        }
    }

    /// The device and type that are asked for.
    ///
    /// # Errors
    /// There is no such device.
    pub fn placement(&self) -> Result<Placement, ModelError> {
        Ok(Placement { device: self.device.open()?, dtype: self.dtype.into() })
    }

    /// # Errors
    /// As [`Self::source`] and [`Self::placement`], and a checkpoint that can't be read.
    pub fn load(&self, tell: Tell<'_>) -> Result<Loaded, ModelError> {
        // before minutes are spent on a download
        let place = self.placement()?;
        self.source(tell)?.load(self.processing, place)
    }

    fn named(&self) -> Result<Named, ModelError> {
        let name = &expanded(self.name.as_deref().unwrap_or(DEFAULT_MODEL));
        let path = Path::new(name);
        // what is a path is none of the hub, also if it leads nowhere
        let local = || path.is_dir() || path.is_absolute() || name.starts_with(['.', '~']) || name.contains('$');
        let source = match name.as_str() {
            "demo" => Source::Demo,
            // a folder that happens to be called so is not what is meant when nothing is named
            _ if self.name.is_some() && local() => {
                // as it is found from anywhere
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

/// A model's name with `~` and variables replaced, where the shell did not: in an experiment, in quotes.
pub(super) fn expanded(name: &str) -> String {
    fs::expanded(Path::new(name)).to_string_lossy().into_owned()
}
