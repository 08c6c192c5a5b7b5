use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Config, KeepGoing, Model, ModelError, Placement, Processing, Tokenizer, checkpoint::Checkpoint, demo};
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
    /// A file of activations, without weights.
    Cache(PathBuf),
}

/// A model with its tokenizer and the names it goes by.
pub struct Loaded {
    pub model: Model,
    pub tokenizer: Arc<Tokenizer>,
    /// The name in the header: `demo`, the directory's name, or the repository's without its owner.
    pub name: String,
    /// The commit, if the model comes from the hub.
    pub revision: Option<String>,
    /// Sentences about contents of the files that the program does not use.
    pub notes: Vec<String>,
}

impl Source {
    /// The config, read without the weights.
    ///
    /// # Errors
    /// A missing or unreadable file, an unsupported config.
    pub fn config(&self) -> Result<Config, ModelError> {
        match self {
            Self::Demo => parse_config(demo::CONFIG, Path::new("config.json")),
            Self::Directory(dir) | Self::Snapshot { directory: dir, .. } => read_config(dir),
            Self::Cache(path) => Err(ModelError::NoWeights(path.clone())),
        }
    }

    /// # Errors
    /// A missing or unreadable file, an unsupported config, tensors that do not fit.
    pub fn load(&self, processing: Processing, place: Placement) -> Result<Loaded, ModelError> {
        self.load_while(processing, place, &|| true)
    }

    /// [`Self::load`], which stops when `keep_going` returns false. It is called before each tensor is read.
    ///
    /// # Errors
    /// As [`Self::load`], and [`ModelError::Stopped`].
    pub fn load_while(
        &self,
        processing: Processing,
        place: Placement,
        keep_going: KeepGoing<'_>,
    ) -> Result<Loaded, ModelError> {
        let (began, at) = (Instant::now(), place.to_string());
        let loaded = self.read(processing, place, keep_going);
        log::info!(
            "{self:?}, {processing}, {at}: {} after {:?}",
            if loaded.is_ok() { "loaded" } else { "failed" },
            began.elapsed()
        );
        loaded
    }

    fn read(&self, processing: Processing, place: Placement, keep_going: KeepGoing<'_>) -> Result<Loaded, ModelError> {
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
                load_directory(dir, (name, None), processing, place, keep_going)
            }
            Self::Snapshot { directory, repository, commit, .. } => {
                let name = repository.rsplit('/').next().unwrap_or(repository).to_string();
                load_directory(directory, (name, Some(commit.clone())), processing, place, keep_going)
            }
            Self::Cache(path) => Err(ModelError::NoWeights(path.clone())),
        }
    }
}

impl Source {
    /// The tokenizer, read without the weights.
    ///
    /// # Errors
    /// It can't be read.
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        match self {
            Self::Demo => Tokenizer::from_bytes(demo::TOKENIZER, Path::new("tokenizer.json")),
            Self::Directory(dir) | Self::Snapshot { directory: dir, .. } => Tokenizer::open(dir),
            Self::Cache(_) => Ok(Tokenizer::default()),
        }
    }
}

impl Loaded {
    /// What describes the activations in a file, of a model of this config: all but the weights.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn without_weights(
        path: &Path,
        (config, tokenizer): (Config, Tokenizer),
        processing: Processing,
        notes: Vec<String>,
    ) -> Result<Self, ModelError> {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        let model = Model::without_weights(config, processing)?;
        Ok(Self { model, tokenizer: Arc::new(tokenizer), name, revision: None, notes })
    }
}

fn load_directory(
    dir: &Path,
    (name, revision): (String, Option<String>),
    processing: Processing,
    place: Placement,
    keep_going: KeepGoing<'_>,
) -> Result<Loaded, ModelError> {
    let config = read_config(dir)?;
    // the tokenizer is one long JSON, parsed on a thread outside the pool so that the whole pool converts weights
    let (tokenizer, model) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| Tokenizer::open(dir));
        let checkpoint = Checkpoint::open(dir, keep_going);
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
