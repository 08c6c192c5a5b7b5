//! `doctor`: checkpoints of a training that are copies of others.

use std::{io::Write, path::Path};

use anyhow::{Context, Result, anyhow};
use rayon::{
    ThreadPoolBuilder,
    iter::{Either, IntoParallelRefIterator, ParallelIterator},
};
use serde_json::{Value, json};

use super::{
    Usage,
    args::{DoctorArgs, ModelArgs},
    check_cache,
};
use crate::{
    experiment::{DEFAULT_MODEL, ModelChoice, Named},
    model::{Hub, ModelError, Source, WeightHashes, step_of, training_steps},
    printed::{self, escaped},
};

/// Revisions that are read at once.
const AT_ONCE: usize = 8;

/// A checkpoint with the hashes of its weight files.
struct Checkpoint {
    revision: String,
    commit: Option<String>,
    hashes: WeightHashes,
}

/// The checkpoints that could be read, and for the others why not.
type Found = (Vec<Checkpoint>, Vec<(String, ModelError)>);

pub(super) fn main(args: &DoctorArgs) -> Result<()> {
    if let Some(cache) = &args.cache {
        return check_cache::main(cache, args);
    }
    if args.model.revision.is_some() || args.prompt.prompt.is_some() || args.prompt.tokens.is_some() {
        return Err(Usage(
            "a revision and a prompt are for `doctor --cache FILE`; without it, every revision is read".into(),
        )
        .into());
    }
    let model = ModelArgs { revision: None, ..args.model.clone() };
    let name = model.model.as_deref().unwrap_or(DEFAULT_MODEL);
    let (checkpoints, failed) = match ModelChoice::from(&model).named()? {
        Named::Here(Source::Directory(directory)) if !directory.is_dir() => {
            return Err(ModelError::NoDirectory(directory).into());
        }
        Named::Here(Source::Directory(directory)) => of_directories(&directory)?,
        Named::Here(Source::Demo | Source::Snapshot { .. } | Source::Cache(_)) => {
            return Err(ModelError::NoRevisions(name.into()).into());
        }
        Named::Hub { repository, .. } => of_hub(&Hub::from_env(model.offline), &repository)?,
    };
    let all: Vec<&WeightHashes> = checkpoints.iter().map(|checkpoint| &checkpoint.hashes).collect();
    let copies = WeightHashes::copies(&all);
    let mut out = printed::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report(name, &checkpoints, &copies, &failed))?)?;
    } else {
        print(&mut out, name, &checkpoints, &copies)?;
    }
    out.flush()?;
    for (revision, why) in &failed {
        printed::note(format_args!("{}: {why}", escaped(revision)));
    }
    match failed.len() {
        0 => Ok(()),
        n => Err(anyhow!("{n} of {} revisions could not be read", n + checkpoints.len())),
    }
}

/// A directory and those beside it that belong to the same training.
fn of_directories(directory: &Path) -> Result<Found> {
    let hub = Hub::from_env(true);
    let steps = training_steps(&Source::Directory(directory.to_path_buf()), &hub.cache, &[]);
    let own = || directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names = if steps.is_empty() { vec![own()] } else { steps.into_iter().map(|step| step.revision).collect() };
    read_all(&names, |name| {
        let hashes = WeightHashes::of_directory(&directory.with_file_name(name), &|| true)?;
        Ok(Checkpoint { revision: name.into(), commit: None, hashes })
    })
}

/// The branches and tags of a repository; offline, those in the cache.
fn of_hub(hub: &Hub, repository: &str) -> Result<Found> {
    let mut names = match hub.offline {
        true => hub.cache.revisions(repository).into_iter().map(|cached| cached.revision).collect(),
        false => hub.revisions(repository)?,
    };
    if names.is_empty() {
        // says that it is not in the cache
        hub.weight_hashes(repository, "main", &mut |_| true)?;
    }
    names.sort_by_key(|name| (step_of(name), name.clone()));
    names.dedup();
    read_all(&names, |revision| {
        let (commit, hashes) = hub.weight_hashes(repository, revision, &mut |_| true)?;
        Ok(Checkpoint { revision: revision.into(), commit: Some(commit), hashes })
    })
}

/// Read several at once; the results are in the order of the names.
fn read_all(names: &[String], read: impl Fn(&str) -> Result<Checkpoint, ModelError> + Sync) -> Result<Found> {
    let threads = ThreadPoolBuilder::new().num_threads(AT_ONCE).build().context("starting threads")?;
    let one = |name: &String| match read(name) {
        Ok(checkpoint) => Either::Left(checkpoint),
        Err(why) => Either::Right((name.clone(), why)),
    };
    Ok(threads.install(|| names.par_iter().partition_map(one)))
}

fn print(out: &mut impl Write, name: &str, checkpoints: &[Checkpoint], copies: &[Vec<usize>]) -> Result<()> {
    let repeated: usize = copies.iter().map(|group| group.len() - 1).sum();
    let (n, different) = (checkpoints.len(), checkpoints.len() - repeated);
    let revisions = if n == 1 { "revision" } else { "revisions" };
    let sets = if different == 1 { "set" } else { "different sets" };
    writeln!(out, "{}: {n} {revisions}, {different} {sets} of weights", escaped(name))?;
    for group in copies {
        let names: Vec<&str> = group.iter().map(|at| checkpoints[*at].revision.as_str()).collect();
        writeln!(out, "the same weights: {}", escaped(&names.join(" ")))?;
    }
    Ok(())
}

fn report(name: &str, checkpoints: &[Checkpoint], copies: &[Vec<usize>], failed: &[(String, ModelError)]) -> Value {
    let revision = |checkpoint: &Checkpoint| {
        json!({
            "revision": checkpoint.revision,
            "commit": checkpoint.commit,
            "step": step_of(&checkpoint.revision),
            "files": checkpoint.hashes.0,
        })
    };
    let group = |group: &Vec<usize>| group.iter().map(|at| checkpoints[*at].revision.clone()).collect::<Vec<_>>();
    let failure = |(revision, why): &(String, ModelError)| json!({"revision": revision, "error": why.to_string()});
    json!({
        "model": name,
        "revisions": checkpoints.iter().map(revision).collect::<Vec<_>>(),
        "same_weights": copies.iter().map(group).collect::<Vec<_>>(),
        "failed": failed.iter().map(failure).collect::<Vec<_>>(),
    })
}
