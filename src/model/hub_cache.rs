//! Models that are already in the local Hugging Face cache, in the layout that its Python library writes.

use std::path::PathBuf;

use super::{ModelError, Source};

/// The snapshot of a model's revision (a branch, a tag or a commit) in the cache: `pythia-70m-deduped`, or `OWNER/NAME`.
///
/// # Errors
/// It is not there.
pub fn find(name: &str, revision: &str) -> Result<Source, ModelError> {
    let repository = if name.contains('/') { name.to_string() } else { format!("EleutherAI/{name}") };
    let cache = directory();
    let not_there =
        || ModelError::NotCached { name: name.to_string(), revision: revision.to_string(), cache: cache.clone() };
    let folder = cache.join(format!("models--{}", repository.replace('/', "--")));
    // what is no branch or tag can be a commit
    let commit = std::fs::read_to_string(folder.join("refs").join(revision)).unwrap_or_else(|_| revision.to_string());
    let snapshot = folder.join("snapshots").join(commit.trim());
    if !snapshot.join("config.json").is_file() {
        return Err(not_there());
    }
    let name = repository.rsplit('/').next().unwrap_or(name).to_string();
    Ok(Source::Snapshot { directory: snapshot, name, commit: commit.trim().to_string() })
}

/// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
fn directory() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_default();
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"));
    set("HF_HUB_CACHE").unwrap_or_else(|| set("HF_HOME").unwrap_or_else(|| cache().join("huggingface")).join("hub"))
}
