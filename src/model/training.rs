//! The checkpoints of a training run: revisions of a repository on the hub, or directories beside each other.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Cache, Source, pythia};

/// A checkpoint that was kept while a model was trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// How many optimizer steps led to it.
    pub step: u64,
    /// As `--revision` takes it; of a directory, its name.
    pub revision: String,
    /// It is on this machine in whole.
    pub here: bool,
}

/// The number in `step3000`, `checkpoint-500` or `stage1-step1000-tokens5B`.
#[must_use]
pub fn step_of(name: &str) -> Option<u64> {
    parts(name).map(|(_, step)| step)
}

/// What stands before the step, and its number.
fn parts(name: &str) -> Option<(&str, u64)> {
    let (before, after) = ["step", "checkpoint"].iter().find_map(|word| name.rsplit_once(word))?;
    let after = after.strip_prefix(['-', '_']).unwrap_or(after);
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (number, rest) = after.split_at(digits);
    let number = number.parse().ok().filter(|_| rest.is_empty() || rest.starts_with(['-', '_']))?;
    Some((before, number))
}

/// The checkpoints of the run that a model comes from, by step; none where it does not tell. `known` are revisions that the
/// hub lists.
#[must_use]
pub fn training_steps(source: &Source, cache: &Cache, known: &[String]) -> Vec<TrainingStep> {
    let mut steps: BTreeMap<u64, TrainingStep> = BTreeMap::new();
    let mut add = |revision: String, here: bool| {
        if let Some(step) = step_of(&revision) {
            steps.insert(step, TrainingStep { step, revision, here });
        }
    };
    match source {
        Source::Demo => {}
        Source::Directory(directory) => {
            let siblings = fs::read_dir(directory.parent().unwrap_or(Path::new("/"))).into_iter().flatten().flatten();
            let whole = siblings.filter(|entry| entry.path().join("config.json").is_file());
            let names = whole.filter_map(|entry| entry.file_name().into_string().ok());
            if let Some((before, _)) = name_of(directory).and_then(parts) {
                // another model's checkpoints may lie beside them
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
                // the end of the training is what was opened
                *last.get_mut() = TrainingStep { step: *last.key(), revision: "main".into(), here: true };
            }
        }
    }
    steps.into_values().collect()
}

/// Whether a repository's training steps are known without asking.
#[must_use]
pub fn is_of_suite(repository: &str) -> bool {
    repository.strip_prefix("EleutherAI/").is_some_and(|name| name.starts_with("pythia-"))
}

fn name_of(directory: &Path) -> Option<&str> {
    directory.file_name().and_then(|name| name.to_str())
}

impl Source {
    /// The revision, or the directory's name.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        match self {
            Self::Demo => None,
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
