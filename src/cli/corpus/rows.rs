//! The table of a corpus: one row a prompt.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;

use super::{
    super::corpus_args::CorpusArgs,
    reading::{LeftOut, Surveyed},
    setup::Set,
};
use crate::{
    engine::Measured,
    experiment::Entry,
    hooks::Needs,
    printed,
    table::{Cell, Columns, Journal, Kind, Metadata, Numbered, Part, fingerprint},
};

/// The metric of a prompt, without the edits and with them.
pub(super) type Pair = (f64, f64);

/// What is kept of a row in memory.
struct Noted {
    pair: Option<Pair>,
    left_out: Option<String>,
}

impl Noted {
    fn of(row: &[Cell]) -> Self {
        let cell = |at: usize| row.get(at).and_then(Cell::float);
        let left_out = row.get(LEFT_OUT).and_then(Cell::text).map(String::from);
        Self { pair: cell(BASELINE).zip(cell(VALUE)), left_out }
    }
}

/// The rows that are done.
pub(super) struct Rows {
    /// None if no table is written.
    journal: Option<Journal>,
    out: Option<PathBuf>,
    part: Part,
    /// The cells that are the same in every row.
    constant: Constant,
    /// None for a prompt that was left out.
    done: Numbered<Option<Pair>>,
    left_out: BTreeMap<String, u64>,
}

struct Constant {
    model: String,
    revision: Option<String>,
    processing: &'static str,
    device: String,
    corpus: String,
    edits: String,
    dictionaries: String,
    metric: &'static str,
}

fn columns() -> Columns {
    Columns::new(&[
        ("prompt", Kind::Int),
        ("line", Kind::Int),
        ("document", Kind::Int),
        ("first_token", Kind::Int),
        ("tokens", Kind::Int),
        ("ids", Kind::Text),
        ("contrast_ids", Kind::Text),
        ("model", Kind::Text),
        ("revision", Kind::Text),
        ("processing", Kind::Text),
        ("device", Kind::Text),
        ("corpus", Kind::Text),
        ("edits", Kind::Text),
        ("dictionaries", Kind::Text),
        ("metric", Kind::Text),
        ("target", Kind::Int),
        ("distractor", Kind::Int),
        ("baseline", Kind::Float),
        ("value", Kind::Float),
        ("effect", Kind::Float),
        ("left_out", Kind::Text),
    ])
}

/// The places of what is read back from a row.
const BASELINE: usize = 17;
const VALUE: usize = 18;
const LEFT_OUT: usize = 20;

/// Where the table is written: as asked for, else beside the saved activations.
pub(super) fn out(args: &CorpusArgs) -> Option<PathBuf> {
    args.out.clone().or_else(|| args.save_to.as_ref().map(|directory| directory.join("prompts.parquet")))
}

/// A hash of everything that the rows depend on.
pub(super) fn made_of(set: &Set, surveyed: &Surveyed) -> String {
    let Set { engine, task, weights, .. } = set;
    let model = &engine.loaded.model;
    let edits: Vec<String> = task.spec.edits.iter().map(ToString::to_string).collect();
    fingerprint(&format!(
        "1 {weights} {} {} {} {edits:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        model.processing.name(),
        model.place(),
        surveyed.digest,
        task.spec.enabled,
        task.spec.vectors,
        task.spec.contrast,
        task.question,
        set.dictionaries,
        task.ablation.filter(|op| op.needs() == Some(Needs::Corpus)),
    ))
}

impl Rows {
    /// What an earlier run left, if anything.
    ///
    /// # Errors
    /// It left another experiment's rows; another process is working on them; the disk fails.
    pub fn open(args: &CorpusArgs, set: &Set, surveyed: &Surveyed) -> Result<Self> {
        let loaded = &set.engine.loaded;
        let edits: Vec<String> = set.task.spec.edits.iter().map(ToString::to_string).collect();
        let constant = Constant {
            model: loaded.name.clone(),
            revision: loaded.revision.clone(),
            processing: loaded.model.processing.name(),
            device: loaded.model.place().to_string(),
            corpus: set.corpus.path.display().to_string(),
            edits: edits.join("\n"),
            dictionaries: set.dictionaries.join("\n"),
            metric: set.task.question.metric.name(),
        };
        let part = Part {
            of: "corpus".into(),
            fingerprint: made_of(set, surveyed),
            shard: (surveyed.shard.at, surveyed.shard.of),
            units: usize::try_from(surveyed.all.0).unwrap_or(usize::MAX),
            key: "prompt".into(),
        };
        let out = out(args).map(|out| surveyed.shard.named(&out));
        if let Some(directory) = &args.save_to {
            std::fs::create_dir_all(directory)
                .map_err(|source| crate::fs::WriteError { path: directory.clone(), source })?;
        }
        let journal = out.as_ref().map(|out| Journal::open(out, &part, &columns(), |_| true)).transpose()?;
        let mut rows = Self { journal, out, part, constant, done: Numbered::default(), left_out: BTreeMap::new() };
        if let Some(journal) = &rows.journal {
            let mut found = vec![];
            journal.for_each(|unit, all| {
                found.extend(all.iter().map(|row| (unit, Noted::of(row))));
                Ok(())
            })?;
            for (number, noted) in found {
                rows.note(number, noted);
            }
            if !rows.done.is_empty() && rows.len() < surveyed.prompts {
                let (done, all) = (rows.len(), surveyed.prompts);
                printed::note(format_args!("{done} of {all} prompts were done before; going on with the others"));
            }
        }
        Ok(rows)
    }

    pub fn len(&self) -> u64 {
        self.done.len() as u64
    }

    pub fn contains(&self, number: u64) -> bool {
        usize::try_from(number).is_ok_and(|number| self.done.contains(number))
    }

    /// The metric of every prompt that has one, in order.
    pub fn values(&self) -> impl Iterator<Item = Pair> {
        self.done.iter().filter_map(|(_, pair)| *pair)
    }

    /// How many prompts were left out, by the reason.
    pub fn left_out(&self) -> &BTreeMap<String, u64> {
        &self.left_out
    }

    /// Add a prompt, in the place of an earlier row of it.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, entry: &Entry, measured: Result<Measured, LeftOut>) -> Result<()> {
        let ids = |tokens: &[u32]| tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let id = |token: Option<u32>| token.map(i64::from);
        let count = |number: u64| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let Constant { model, revision, processing, device, corpus, edits, dictionaries, metric } = &self.constant;
        let of = |value: fn(&Measured) -> f64| Cell::from(measured.as_ref().ok().map(value));
        let row = vec![
            count(entry.number),
            count(entry.line),
            count(entry.document),
            count(entry.first),
            Cell::from(entry.prompt.tokens.len()),
            ids(&entry.prompt.tokens).into(),
            entry.prompt.contrast.as_deref().map(ids).into(),
            model.as_str().into(),
            revision.clone().into(),
            (*processing).into(),
            device.as_str().into(),
            corpus.as_str().into(),
            edits.as_str().into(),
            dictionaries.as_str().into(),
            (*metric).into(),
            measured.as_ref().ok().and_then(|measured| id(measured.target)).into(),
            measured.as_ref().ok().and_then(|measured| id(measured.distractor)).into(),
            of(|measured| measured.baseline),
            of(|measured| measured.value),
            of(|measured| measured.value - measured.baseline),
            measured.as_ref().err().map(|why| why.name()).into(),
        ];
        let number = usize::try_from(entry.number)?;
        if let Some(journal) = &mut self.journal {
            journal.add(number, std::slice::from_ref(&row))?;
        }
        self.note(number, Noted::of(&row));
        Ok(())
    }

    fn note(&mut self, number: usize, Noted { pair, left_out }: Noted) {
        let before = self.done.insert(number, pair);
        if let (None, Some(why)) = (before, left_out) {
            *self.left_out.entry(why).or_default() += 1;
        }
    }

    /// Write the table, once every prompt is done.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        if let (Some(journal), Some(out)) = (self.journal, &self.out) {
            let mut metadata = Metadata::new();
            self.part.write(&mut metadata);
            journal.finish(out, &metadata)?;
        }
        Ok(())
    }
}
