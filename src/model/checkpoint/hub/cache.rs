//! The local cache of Hugging Face models, in the layout of Hugging Face's Python library.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{kind::Kind, names};
use crate::{
    fs as files,
    model::{ModelError, Source, checkpoint::files as checkpoint},
};

/// A revision of a model that is completely in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// A branch or tag, such as `main` or `step3000`.
    pub revision: String,
    pub commit: String,
    pub directory: PathBuf,
}

impl Cached {
    /// The size of the files that this program uses.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let weights = checkpoint::files(&self.directory).map(|files| files.paths).unwrap_or_default();
        let others = ["config.json", "tokenizer.json"].map(|name| self.directory.join(name));
        others.iter().chain(&weights).filter_map(|path| path.metadata().ok()).map(|found| found.len()).sum()
    }
}

/// Where models are kept: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub directory: PathBuf,
}

impl Cache {
    #[must_use]
    pub fn from_env() -> Self {
        let directory = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
        Self { directory: directory.unwrap_or_else(|| home().join("hub")) }
    }

    /// The folder of a repository, `OWNER/NAME`.
    #[must_use]
    pub fn folder(&self, repository: &str) -> PathBuf {
        self.folder_of(Kind::Model, repository)
    }

    /// The folder of a repository of some kind.
    pub(super) fn folder_of(&self, kind: Kind, repository: &str) -> PathBuf {
        self.directory.join(kind.repo(repository).folder_name())
    }

    /// The directory of a revision's files, as many as are there; None if nothing of the revision was fetched.
    pub(super) fn snapshot(&self, kind: Kind, repository: &str, revision: &str) -> Option<PathBuf> {
        let folder = self.folder_of(kind, repository);
        let commit = commit_in(&folder.join("refs").join(revision)).unwrap_or_else(|| revision.to_string());
        Some(folder.join("snapshots").join(&commit)).filter(|path| files::is_below(&commit) && path.is_dir())
    }

    /// The snapshot of a revision (a branch, a tag or a commit).
    ///
    /// # Errors
    /// It is not in the cache, or not completely.
    pub fn find(&self, repository: &str, revision: &str) -> Result<Source, ModelError> {
        names::check(repository, revision)?;
        let folder = self.folder(repository);
        let named = commit_in(&folder.join("refs").join(revision));
        // a name that is neither a branch nor a tag may be a commit
        let commit = named.clone().unwrap_or_else(|| revision.to_string());
        let directory = folder.join("snapshots").join(&commit);
        if !files::is_below(&commit) || !is_complete(&directory) {
            let (name, revision) = (repository.to_string(), revision.to_string());
            return Err(ModelError::NotCached { name, revision, cache: self.directory.clone() });
        }
        let mut revision = revision.to_string();
        if named.is_none() {
            // a branch or tag that points to the commit is the better name
            revision = self.names(repository).find(|(_, target)| *target == commit).map_or(revision, |(name, _)| name);
        }
        Ok(Source::Snapshot { directory, repository: repository.into(), revision, commit })
    }

    /// Whether a commit may have this file although it is not cached, because the cache does not record that the file
    /// is missing.
    pub(super) fn may_have(&self, repository: &str, commit: &str, file: &str) -> bool {
        let folder = self.folder(repository);
        !folder.join("snapshots").join(commit).join(file).is_file()
            && !folder.join(".no_exist").join(commit).join(file).is_file()
    }

    /// Record that a commit has no such file, as the Python library does. A failed record only costs another request.
    pub(super) fn record_missing(&self, repository: &str, commit: &str, file: &str) {
        let path = self.folder(repository).join(".no_exist").join(commit);
        let _ = fs::create_dir_all(&path).and_then(|()| fs::File::create_new(path.join(file)));
    }

    /// The branches and tags with their commits, whether the commits are cached or not.
    fn names(&self, repository: &str) -> impl Iterator<Item = (String, String)> + use<> {
        let refs = self.folder(repository).join("refs");
        let names = fs::read_dir(&refs).into_iter().flatten().flatten();
        names.filter_map(move |entry| {
            // a name with a leading dot is a partial file of a killed process
            let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
            let commit = commit_in(&refs.join(&name))?;
            Some((name, commit))
        })
    }

    /// The completely cached revisions of a repository, sorted by name.
    #[must_use]
    pub fn revisions(&self, repository: &str) -> Vec<Cached> {
        let mut all = Vec::new();
        for (name, _) in self.names(repository) {
            if let Ok(Source::Snapshot { directory, revision, commit, .. }) = self.find(repository, &name) {
                all.push(Cached { revision, commit, directory });
            }
        }
        all.sort_by(|a, b| a.revision.cmp(&b.revision));
        all
    }

    /// The cached GPT-NeoX models by repository, with their completely cached revisions.
    #[must_use]
    pub fn models(&self) -> BTreeMap<String, Vec<Cached>> {
        let folders = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
        let repositories = names.filter_map(|name| Some(name.strip_prefix("models--")?.replacen("--", "/", 1)));
        let is_supported = |cached: &Cached| Source::Directory(cached.directory.clone()).config().is_ok();
        let cached = |repository: &str| self.revisions(repository).into_iter().filter(is_supported).collect::<Vec<_>>();
        let all = repositories.map(|repository| (cached(&repository), repository));
        all.filter(|(cached, _)| !cached.is_empty()).map(|(cached, repository)| (repository, cached)).collect()
    }
}

/// `HF_HOME`, else `~/.cache/huggingface`.
pub(super) fn home() -> PathBuf {
    let user = || std::env::home_dir().unwrap_or_default();
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| user().join(".cache"));
    set("HF_HOME").unwrap_or_else(|| cache().join("huggingface"))
}

/// A path in the environment, expanded as the Python library does.
pub(super) fn set(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(files::expanded(Path::new(&path)))
}

/// The commit that the file of a branch or tag holds.
fn commit_in(path: &Path) -> Option<String> {
    const LONGEST: u64 = 1 << 10;
    files::read_text(path, LONGEST).ok().map(|commit| commit.trim().to_string())
}

/// Whether a snapshot has its config and weights; an interrupted download leaves only some of the files.
fn is_complete(directory: &Path) -> bool {
    directory.join("config.json").is_file() && checkpoint::files(directory).is_ok()
}
