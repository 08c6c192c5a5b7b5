//! Reads a table into [`Results`].

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{ResultPrompt, ResultRow, Results, curves::Sums};
use crate::{
    analysis::MeanEffect,
    model::{is_of_suite, pythia, repository, step_of},
    printed,
    table::{Cell, Columns, Kind, Reader, TableError},
};

/// The rows up to which the uncertainty of the mean is computed while a file opens.
const FEW: usize = 20_000;

/// Where the columns are. Tables that were made with other programs may lack some.
struct Places {
    baseline: usize,
    value: usize,
    texts: [Option<usize>; 11],
}

/// Texts of a row, in the order of [`Places::texts`].
const TEXTS: [&str; 11] = [
    "model",
    "revision",
    "prompt",
    "tokens",
    "ids",
    "contrast",
    "contrast_tokens",
    "contrast_ids",
    "edits",
    "metric",
    "weights",
];

impl Places {
    fn of(columns: &Columns) -> Option<Self> {
        Some(Self {
            baseline: columns.find("baseline", Kind::Float)?,
            value: columns.find("value", Kind::Float)?,
            texts: TEXTS.map(|name| columns.find(name, Kind::Text)),
        })
    }

    fn texts<'a>(&self, row: &'a [Cell]) -> [Option<&'a str>; 11] {
        self.texts.map(|at| row.get(at?)?.text())
    }
}

/// Gives each of equal things the same number.
struct Numbers<T>(HashMap<T, usize>, Vec<T>);

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn new() -> Self {
        Self(HashMap::new(), vec![])
    }

    fn of(&mut self, thing: T) -> usize {
        if let Some(number) = self.0.get(&thing) {
            return *number;
        }
        self.0.insert(thing.clone(), self.1.len());
        self.1.push(thing);
        self.1.len() - 1
    }
}

impl Results {
    /// Read a Parquet file that `grid`, `corpus` or `merge` wrote, or that another program made of one. `decode` gives the text of
    /// tokens, where a table has only those.
    ///
    /// # Errors
    /// It can't be read, has no columns `baseline` and `value`, or holds several metrics.
    pub fn read(path: &Path, decode: &dyn Fn(&[u32]) -> String) -> Result<Self, TableError> {
        let wrong = |reason: String| TableError::Read { path: path.to_path_buf(), reason };
        let reader = Reader::open(path)?;
        let places = Places::of(&reader.columns).ok_or_else(|| {
            wrong("it has no columns `baseline` and `value`; expected a table of grid or corpus".into())
        })?;
        let mut results = Self { path: path.to_path_buf(), ..Self::default() };
        let (mut models, mut prompts, mut sums) = (Numbers::new(), Numbers::new(), Sums::default());
        let mut revision: Option<Arc<str>> = None;
        for row in reader.into_rows() {
            let row = row?;
            let [model, at, prompt, tokens, ids, contrast, contrast_tokens, contrast_ids, edits, metric, weights] =
                places.texts(&row);
            let metric = metric.unwrap_or("metric");
            if results.metric.is_empty() {
                results.metric = metric.into();
            } else if results.metric != metric {
                let names = format!("{} and {metric}", results.metric);
                return Err(wrong(format!(
                    "it holds several metrics ({}); select one of them",
                    printed::escaped(&names)
                )));
            }
            let float = |at: usize| row[at].float().filter(|value| value.is_finite());
            let (Some(baseline), Some(value)) = (float(places.baseline), float(places.value)) else {
                results.failed += 1;
                continue;
            };
            if revision.as_deref() != at {
                revision = at.map(Arc::from);
            }
            let model = model.unwrap_or_default();
            if let Some((at, step)) = at.and_then(|at| Some((at, step(model, at)?))) {
                // a directory's name is its revision
                let training =
                    model.trim_end_matches('/').strip_suffix(at).map_or(model, |rest| rest.trim_end_matches('/'));
                sums.add(training, step, (baseline, value), weights);
            }
            let tokens = tokens.or(ids).and_then(numbers);
            let contrast_tokens = contrast_tokens.or(contrast_ids).and_then(numbers);
            let text = |text: Option<&str>, ids: &Option<Vec<u32>>| {
                text.map(String::from).or_else(|| ids.as_ref().map(|ids| decode(ids)))
            };
            let prompt = ResultPrompt {
                text: text(prompt, &tokens).unwrap_or_default(),
                contrast: text(contrast, &contrast_tokens),
                tokens,
                contrast_tokens,
                edits: edits.map(String::from),
            };
            results.rows.push(ResultRow {
                model: models.of(model.to_string()),
                prompt: prompts.of(prompt),
                revision: revision.clone(),
                baseline,
                value,
            });
        }
        results.rows.sort_by(|a, b| a.effect().total_cmp(&b.effect()));
        // the same prompt on several checkpoints is no independent sample
        let is_one = |pair: &[ResultRow]| (pair[0].model, &pair[0].revision) == (pair[1].model, &pair[1].revision);
        if results.rows.len() <= FEW && results.rows.windows(2).all(is_one) {
            let effects: Vec<f64> = results.rows.iter().map(ResultRow::effect).collect();
            results.mean = MeanEffect::of(&effects, 0);
        }
        (results.models, results.prompts, results.curves) = (models.1, prompts.1, sums.curves());
        Ok(results)
    }
}

/// Token ids between commas or spaces.
fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split([',', ' ']).map(|id| id.trim().parse().ok()).collect()
}

/// The training step of a revision; `main` of the Pythia suite is its last.
fn step(model: &str, revision: &str) -> Option<u64> {
    let is_last = || revision == "main" && repository(model).is_ok_and(|name| is_of_suite(&name));
    step_of(revision).or_else(|| is_last().then(|| pythia::steps().last().map(u64::from)).flatten())
}
