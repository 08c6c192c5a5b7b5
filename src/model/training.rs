//! The checkpoints of a training run: revisions of a repository on the hub, or sibling directories.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Cache, Source, pythia};

/// A checkpoint of a training run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// The number of optimizer steps.
    pub step: u64,
    /// The revision, or the name of the directory.
    pub revision: String,
    /// Whether it is completely on this machine.
    pub here: bool,
}

/// The number in `step3000`, `checkpoint-500` or `stage1-step1000-tokens5B`.
#[must_use]
pub fn step_of(name: &str) -> Option<u64> {
    parts(name).map(|(_, step)| step)
}

/// The part of a name before the step, and the step.
fn parts(name: &str) -> Option<(&str, u64)> {
    let (before, after) = ["step", "checkpoint"].iter().find_map(|word| name.rsplit_once(word))?;
    let after = after.strip_prefix(['-', '_']).unwrap_or(after);
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (number, rest) = after.split_at(digits);
    let number = number.parse().ok().filter(|_| rest.is_empty() || rest.starts_with(['-', '_']))?;
    Some((before, number))
}

/// The checkpoints of the training run that a model belongs to, by step; empty if unknown. `known` are the revisions that
/// the hub lists.
#[must_use]
pub fn training_steps(source: &Source, cache: &Cache, known: &[String]) -> Vec<TrainingStep> {
    let mut steps: BTreeMap<u64, TrainingStep> = BTreeMap::new();
    let mut add = |revision: String, here: bool| {
        if let Some(step) = step_of(&revision) {
            steps.insert(step, TrainingStep { step, revision, here });
        }
    };
    match source {
        Source::Demo | Source::Cache(_) => {}
        Source::Directory(directory) => {
            let siblings = fs::read_dir(directory.parent().unwrap_or(Path::new("/"))).into_iter().flatten().flatten();
            let with_config = siblings.filter(|entry| entry.path().join("config.json").is_file());
            let names = with_config.filter_map(|entry| entry.file_name().into_string().ok());
            if let Some((before, _)) = name_of(directory).and_then(parts) {
                // siblings with another prefix belong to other models
                names
                    .filter(|name| parts(name).is_some_and(|(other, _)| other == before))
                    .for_each(|name| add(name, true));
            }
        }
        Source::Snapshot { repository, revision, .. } => {
            let suite = is_of_suite(repository);
            if suite {
                for step in pythia::steps() {
                    add(format!("step{step}"), false);
                }
            }
            for name in known {
                add(name.clone(), false);
            }
            for cached in cache.revisions(repository) {
                add(cached.revision, true);
            }
            if let (true, "main", Some(mut last)) = (suite, revision.as_str(), steps.last_entry()) {
                // `main` is the last step, and it is the open one
                *last.get_mut() = TrainingStep { step: *last.key(), revision: "main".into(), here: true };
            }
        }
    }
    steps.into_values().collect()
}

/// Whether a repository belongs to the Pythia suite, whose training steps are known without asking the hub.
#[must_use]
pub fn is_of_suite(repository: &str) -> bool {
    repository.strip_prefix("EleutherAI/").is_some_and(|name| name.starts_with("pythia-"))
}

fn name_of(directory: &Path) -> Option<&str> {
    directory.file_name().and_then(|name| name.to_str())
}

impl Source {
    /// The commit, of a snapshot of the hub.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        match self {
            Self::Demo | Self::Directory(_) | Self::Cache(_) => None,
            Self::Snapshot { commit, .. } => Some(commit),
        }
    }

    /// The revision, or the directory's name.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        match self {
            Self::Demo | Self::Cache(_) => None,
            Self::Directory(directory) => name_of(directory),
            Self::Snapshot { revision, .. } => Some(revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_names() {
        for (name, step) in [
            ("step0", Some(0)),
            ("step143000", Some(143_000)),
            ("checkpoint-500", Some(500)),
            ("step_20", Some(20)),
            ("stage1-step1000-tokens5B", Some(1000)),
            ("main", None),
            ("step", None),
            ("steps3", None),
            ("step3x", None),
        ] {
            assert_eq!(step_of(name), step, "{name}");
        }
    }
}
