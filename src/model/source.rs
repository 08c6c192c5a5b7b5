use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Config, GoOn, Model, ModelError, Placement, Processing, Tokenizer, checkpoint::Checkpoint, demo};
use crate::fs::{self, ReadError, TEXT_LIMIT, without_mark};

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The model embedded in the program.
    Demo,
    /// A directory in the published layout.
    Directory(PathBuf),
    /// A snapshot in the Hugging Face cache, of a revision (a branch, a tag or a commit) of `OWNER/NAME`.
    Snapshot { directory: PathBuf, repository: String, revision: String, commit: String },
}

/// A model with its tokenizer and the names it goes by.
pub struct Loaded {
    pub model: Model,
    pub tokenizer: Arc<Tokenizer>,
    /// As the header shows it: `demo`, or the directory's name.
    pub name: String,
    /// The commit or training step, where the source tells it.
    pub revision: Option<String>,
    /// What was found in the files and not used: a sentence each.
    pub notes: Vec<String>,
}

impl Source {
    /// What the model is, without its weights.
    ///
    /// # Errors
    /// A missing or unreadable file, an unsupported config.
    pub fn config(&self) -> Result<Config, ModelError> {
        match self {
            Self::Demo => parse_config(demo::CONFIG, Path::new("config.json")),
            Self::Directory(dir) | Self::Snapshot { directory: dir, .. } => read_config(dir),
        }
    }

    /// # Errors
    /// A missing or unreadable file, an unsupported config, tensors that do not fit.
    pub fn load(&self, processing: Processing, place: Placement) -> Result<Loaded, ModelError> {
        self.load_while(processing, place, &|| true)
    }

    /// [`Self::load`] as long as `go_on` says so: it is asked before each tensor.
    ///
    /// # Errors
    /// As [`Self::load`], and [`ModelError::Stopped`].
    pub fn load_while(&self, processing: Processing, place: Placement, go_on: GoOn<'_>) -> Result<Loaded, ModelError> {
        let (began, at) = (Instant::now(), place.to_string());
        let loaded = self.read(processing, place, go_on);
        log::info!(
            "{self:?}, {processing}, {at}: {} after {:?}",
            if loaded.is_ok() { "loaded" } else { "failed" },
            began.elapsed()
        );
        loaded
    }

    fn read(&self, processing: Processing, place: Placement, go_on: GoOn<'_>) -> Result<Loaded, ModelError> {
        match self {
            Self::Demo => {
                let config = self.config()?;
                let checkpoint = Checkpoint::embedded(demo::WEIGHTS)?;
                let (model, notes) = Model::new(config, &checkpoint, processing, place)?;
                let tokenizer = Arc::new(Tokenizer::from_bytes(demo::TOKENIZER, Path::new("tokenizer.json"))?);
                Ok(Loaded { model, tokenizer, name: "demo".into(), revision: None, notes })
            }
            Self::Directory(dir) => {
                let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
                let name = absolute
                    .file_name()
                    .map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
                load_directory(dir, (name, None), processing, place, go_on)
            }
            Self::Snapshot { directory, repository, commit, .. } => {
                let name = repository.rsplit('/').next().unwrap_or(repository).to_string();
                load_directory(directory, (name, Some(commit.clone())), processing, place, go_on)
            }
        }
    }
}

fn load_directory(
    dir: &Path,
    (name, revision): (String, Option<String>),
    processing: Processing,
    place: Placement,
    go_on: GoOn<'_>,
) -> Result<Loaded, ModelError> {
    let config = read_config(dir)?;
    // the tokenizer is one long JSON, read by one thread; not by one of the pool, which could then not help with a run
    let (tokenizer, model) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| Tokenizer::open(dir));
        let checkpoint = Checkpoint::open(dir, go_on);
        let model = checkpoint.and_then(|checkpoint| Model::new(config, &checkpoint, processing, place));
        (tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), model)
    });
    let (tokenizer, (model, mut notes)) = (Arc::new(tokenizer?), model?);
    notes.extend(tokenizer.notes().iter().cloned());
    Ok(Loaded { model, tokenizer, name, revision, notes })
}

fn read_config(dir: &Path) -> Result<Config, ModelError> {
    let found = dir.metadata().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ModelError::NoDirectory(dir.to_path_buf()),
        _ => ModelError::io(dir)(e),
    })?;
    if !found.is_dir() {
        return Err(ModelError::NoDirectory(dir.to_path_buf()));
    }
    let path = dir.join("config.json");
    match fs::read_text(&path, TEXT_LIMIT) {
        Ok(text) => parse_config(&text, &path),
        Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
            Err(ModelError::MissingFile(dir.to_path_buf(), "config.json"))
        }
        Err(reason) => Err(ModelError::Read { path, reason }),
    }
}

fn parse_config(text: &str, path: &Path) -> Result<Config, ModelError> {
    let json = serde_json::from_str(without_mark(text)).map_err(ModelError::json(path))?;
    Config::from_json(&json)
}
