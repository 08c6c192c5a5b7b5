//! A cell as a row of the table.

use super::{checkpoints::GridCheckpoint, prompts::GridPrompt};
use crate::{
    model::{Loaded, step_of},
    table::{Cell, Columns, Kind},
};

/// The columns of a grid's table, in order.
#[must_use]
pub fn grid_columns() -> Columns {
    Columns::new(&[
        ("cell", Kind::Int),
        ("model", Kind::Text),
        ("revision", Kind::Text),
        ("step", Kind::Int),
        ("seed", Kind::Int),
        ("commit", Kind::Text),
        ("weights", Kind::Text),
        ("dtype", Kind::Text),
        ("processing", Kind::Text),
        ("prompt_number", Kind::Int),
        ("prompt", Kind::Text),
        ("tokens", Kind::Text),
        ("n_tokens", Kind::Int),
        ("contrast", Kind::Text),
        ("contrast_tokens", Kind::Text),
        ("edits", Kind::Text),
        ("dictionaries", Kind::Text),
        ("metric", Kind::Text),
        ("target", Kind::Text),
        ("distractor", Kind::Text),
        ("baseline", Kind::Float),
        ("value", Kind::Float),
        ("effect", Kind::Float),
        ("kl", Kind::Float),
        ("note", Kind::Text),
        ("error", Kind::Text),
    ])
}

/// Where the error stands.
const ERROR: usize = 25;

/// Whether the cell was computed.
pub(super) fn is_computed(row: &[Cell]) -> bool {
    row.get(ERROR) == Some(&Cell::Missing)
}

/// What is known of a cell before it is computed.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub cell: usize,
    pub checkpoint: &'a GridCheckpoint,
    pub number: usize,
    pub prompt: &'a GridPrompt,
    pub metric: &'static str,
    pub dtype: &'a str,
    pub processing: &'static str,
    pub edits: &'a str,
}

/// The checkpoint that a cell was computed on.
pub(super) struct Weights {
    pub commit: Option<String>,
    /// A hash of the files of weights; None where they have no known hashes.
    pub hash: Option<String>,
    /// The hub's revision, or the directory's name.
    pub revision: Option<String>,
    /// The dictionaries that were loaded for it, as `--sae` takes them, one a line.
    pub dictionaries: Option<String>,
}

impl Weights {
    pub fn unknown(revision: Option<String>) -> Self {
        Self { commit: None, hash: None, revision, dictionaries: None }
    }
}

/// What a cell's run gave.
pub(super) struct Values {
    pub prompt: String,
    pub tokens: Vec<u32>,
    pub contrast: Option<(String, Vec<u32>)>,
    pub target: Option<u32>,
    pub distractor: Option<u32>,
    pub baseline: f64,
    pub value: f64,
    pub kl: Option<f64>,
    pub note: Option<String>,
}

/// A row, of what was computed or of why it could not be.
pub(super) fn row(
    place: Place<'_>,
    weights: &Weights,
    loaded: Option<&Loaded>,
    result: Result<Values, String>,
) -> Vec<Cell> {
    let ids = |tokens: &[u32]| tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let token = |id: u32| loaded.map_or_else(|| format!("#{id}"), |loaded| loaded.tokenizer.token(id));
    let GridPrompt { prompt, tokens, contrast, contrast_tokens, target, distractor } = place.prompt.clone();
    let (values, error) = match result {
        Ok(values) => (Some(values), None),
        Err(error) => (None, Some(error)),
    };
    let known = values.as_ref();
    let (contrast, contrast_ids) = match known.and_then(|values| values.contrast.as_ref()) {
        Some((text, ids)) => (Some(text.clone()), Some(ids.clone())),
        None => (contrast, contrast_tokens),
    };
    let tokens = known.map(|values| values.tokens.clone()).or(tokens);
    let revision = weights.revision.as_deref();
    vec![
        place.cell.into(),
        place.checkpoint.model.as_str().into(),
        revision.into(),
        revision.and_then(step_of).and_then(|step| i64::try_from(step).ok()).into(),
        place.checkpoint.seed.and_then(|seed| i64::try_from(seed).ok()).into(),
        weights.commit.clone().into(),
        weights.hash.clone().into(),
        place.dtype.into(),
        place.processing.into(),
        place.number.into(),
        known.map(|values| values.prompt.clone()).or(prompt).into(),
        tokens.as_deref().map(ids).into(),
        tokens.as_ref().map(Vec::len).into(),
        contrast.into(),
        contrast_ids.as_deref().map(ids).into(),
        Some(place.edits).filter(|edits| !edits.is_empty()).into(),
        weights.dictionaries.clone().into(),
        place.metric.into(),
        known.map_or(target, |values| values.target.map(token)).into(),
        known.map_or(distractor, |values| values.distractor.map(token)).into(),
        known.map(|values| values.baseline).into(),
        known.map(|values| values.value).into(),
        known.map(|values| values.value - values.baseline).into(),
        known.and_then(|values| values.kl).into(),
        known.and_then(|values| values.note.clone()).into(),
        error.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_stands_where_it_is_looked_for() {
        assert_eq!(grid_columns().find("error", Kind::Text), Some(ERROR));
    }
}
