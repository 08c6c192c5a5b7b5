//! The checkpoints of a grid: models, with each seed in their names, at each revision.

use serde::Serialize;
use toml::Spanned;

use super::table::{GridTable, Revisions};
use crate::{experiment::wrong::Wrong, model::pythia};

/// What stands for a seed in a model's name.
const SEED: &str = "{seed}";

/// One set of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GridCheckpoint {
    /// As `--model` takes it.
    pub model: String,
    pub revision: Option<String>,
    /// The seed in the model's name: `pythia-70m-seed3` has 3.
    pub seed: Option<u64>,
}

/// The checkpoints of a table in order: by model, then by seed, then by revision.
///
/// # Errors
/// `{seed}` without seeds, seeds without `{seed}`, an empty list, a checkpoint that is listed twice.
pub(super) fn checkpoints(
    table: &GridTable,
    model: &str,
    revision: Option<&str>,
) -> Result<Vec<GridCheckpoint>, Wrong> {
    let whole = Spanned::new(0..0, model.to_string());
    let models = if table.models.is_empty() { std::slice::from_ref(&whole) } else { &table.models[..] };
    let revisions = revisions(table, revision)?;
    let mut found: Vec<GridCheckpoint> = Vec::new();
    for model in models {
        for (name, seed) in with_seeds(model, &table.seeds)? {
            for revision in &revisions {
                let checkpoint = GridCheckpoint { model: name.clone(), revision: revision.clone(), seed };
                if found.contains(&checkpoint) {
                    let at = revision.as_deref().unwrap_or("its default revision");
                    return Err(Wrong { at: model.span(), reason: format!("{name} at {at} is listed twice") });
                }
                found.push(checkpoint);
            }
        }
    }
    if let Some(seeds) =
        (!table.seeds.is_empty() && !models.iter().any(|model| model.get_ref().contains(SEED))).then_some(&table.seeds)
    {
        let name = format!("pythia-70m-seed{SEED}");
        let reason =
            format!("no model has `{SEED}` in its name, which {} seeds are for: expected {name:?}", seeds.len());
        return Err(Wrong { at: models.first().map_or(0..0, Spanned::span), reason });
    }
    Ok(found)
}

fn revisions(table: &GridTable, revision: Option<&str>) -> Result<Vec<Option<String>>, Wrong> {
    let Some(listed) = &table.revisions else { return Ok(vec![revision.map(String::from)]) };
    match listed.get_ref() {
        Revisions::All(_) => Ok(pythia::steps().map(|step| Some(format!("step{step}"))).collect()),
        Revisions::Listed(names) if names.is_empty() => {
            Err(Wrong { at: listed.span(), reason: "no revisions; leave the key out for the main one".into() })
        }
        Revisions::Listed(names) => Ok(names.iter().cloned().map(Some).collect()),
    }
}

fn with_seeds(model: &Spanned<String>, seeds: &[u64]) -> Result<Vec<(String, Option<u64>)>, Wrong> {
    let name = model.get_ref();
    if !name.contains(SEED) {
        return Ok(vec![(name.clone(), seed_of(name))]);
    }
    if seeds.is_empty() {
        let reason = format!("`{SEED}` in a model's name needs `seeds = [1, 2]`");
        return Err(Wrong { at: model.span(), reason });
    }
    Ok(seeds.iter().map(|seed| (name.replace(SEED, &seed.to_string()), Some(*seed))).collect())
}

/// The seed at the end of a name.
fn seed_of(name: &str) -> Option<u64> {
    name.rsplit_once("-seed")?.1.parse().ok()
}
