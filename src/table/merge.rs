//! Parts of one experiment into one table.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    path::{Path, PathBuf},
};

use super::{Cell, Columns, Kind, Metadata, Part, Reader, Rows, TableError, write};
use crate::printed;

/// Why parts can't be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("no parts; give the files of every shard")]
    Nothing,
    #[error("{} is not a part of an experiment; expected a Parquet file that grid or corpus wrote", printed::path(.0))]
    NoPart(PathBuf),
    #[error("{} and {} are of different experiments", printed::path(.0), printed::path(.1))]
    Different(PathBuf, PathBuf),
    #[error("{} and {} both hold shard {shard} of {of}", printed::path(.first), printed::path(.second))]
    Twice { first: PathBuf, second: PathBuf, shard: usize, of: usize },
    #[error("{} of {of} shards are missing: {}", .missing.len(), listed(.missing))]
    MissingShards { missing: Vec<usize>, of: usize },
    #[error("{} of {of} {key}s have no rows, from {key} {} on; run the shards again", .missing, .first)]
    MissingUnits { missing: usize, first: usize, of: usize, key: String },
    #[error("{key} {unit} is in {} and in {}", printed::path(.first), printed::path(.second))]
    UnitTwice { unit: i64, key: String, first: PathBuf, second: PathBuf },
    #[error("{}: {reason}", printed::path(.path))]
    Broken { path: PathBuf, reason: String },
    #[error(transparent)]
    Table(#[from] TableError),
}

impl MergeError {
    /// Whether other files have to be given.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Nothing | Self::NoPart(_) | Self::Different(..) | Self::Twice { .. } | Self::UnitTwice { .. } => true,
            Self::MissingShards { .. } | Self::MissingUnits { .. } | Self::Broken { .. } => false,
            Self::Table(error) => error.is_usage(),
        }
    }
}

/// Numbers of shards, from 1; of many the first ones.
fn listed(numbers: &[usize]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = numbers.iter().take(SHOWN).map(ToString::to_string).collect();
    shown.join(" ") + if numbers.len() > SHOWN { " ..." } else { "" }
}

/// The rows of a merged table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    pub rows: usize,
    pub units: usize,
    pub parts: usize,
}

/// Merge every shard of an experiment into one table, in the order of its units: what a run without shards would have written.
///
/// # Errors
/// A file is no part, parts are of different experiments, a shard or a unit is missing or there twice; an error of reading or
/// writing. `out` is then unchanged.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<Merged, MergeError> {
    let opened = parts.iter().map(|path| open(path.as_path())).collect::<Result<Vec<_>, _>>()?;
    let (part, columns, metadata) = checked(parts, &opened)?;
    let key = columns.find(&part.key, Kind::Int);
    let key = key.ok_or_else(|| MergeError::NoPart(parts.first().cloned().unwrap_or_default()))?;
    let mut merging =
        Merging { paths: parts, key, name: part.key.clone(), sources: Vec::new(), heap: BinaryHeap::new() };
    for (at, (reader, _)) in opened.into_iter().enumerate() {
        merging.sources.push(reader.into_rows());
        merging.advance(at)?;
    }
    let mut seen = Seen { units: part.units, next: 0, missing: None, last: None };
    let mut rows = 0;
    // an error of merging, which the writer only passes on
    let mut failed = None;
    let written = write(out, &columns, &metadata, |sink| {
        while let Some(Reverse(Next { unit, part: at, row })) = merging.heap.pop() {
            let step = seen.add(unit, at, &merging).and_then(|()| merging.advance(at));
            if let Err(error) = step {
                failed = Some(error);
                return Err(io::Error::other("merging stopped"));
            }
            sink.push(row)?;
            rows += 1;
        }
        if let Err(error) = seen.finish(&part.key) {
            failed = Some(error);
            return Err(io::Error::other("merging stopped"));
        }
        Ok(())
    });
    match failed {
        Some(error) => Err(error),
        None => written.map(|()| Merged { rows, units: part.units, parts: parts.len() }).map_err(MergeError::from),
    }
}

fn open(path: &Path) -> Result<(Reader, Part), MergeError> {
    let reader = Reader::open(path)?;
    let part = Part::read(&reader.metadata).ok_or_else(|| MergeError::NoPart(path.to_path_buf()))?;
    Ok((reader, part))
}

/// Whether every shard is there once; what the whole is.
fn checked(paths: &[PathBuf], opened: &[(Reader, Part)]) -> Result<(Part, Columns, Metadata), MergeError> {
    let (reader, first) = opened.first().ok_or(MergeError::Nothing)?;
    let mut shards: BTreeMap<usize, &PathBuf> = BTreeMap::new();
    for (path, (other, part)) in paths.iter().zip(opened) {
        let (shard, of) = part.shard;
        let same = Part { shard: (first.shard.0, of), ..part.clone() } == *first;
        if !same || other.columns != reader.columns {
            return Err(MergeError::Different(paths[0].clone(), path.clone()));
        }
        if let Some(earlier) = shards.insert(shard, path) {
            return Err(MergeError::Twice { first: earlier.clone(), second: path.clone(), shard: shard + 1, of });
        }
    }
    let of = first.shard.1;
    let missing: Vec<usize> = (0..of).filter(|shard| !shards.contains_key(shard)).map(|shard| shard + 1).collect();
    if !missing.is_empty() {
        return Err(MergeError::MissingShards { missing, of });
    }
    let part = Part { shard: (0, 1), ..first.clone() };
    let mut metadata = reader.metadata.clone();
    part.write(&mut metadata);
    Ok((part, reader.columns.clone(), metadata))
}

/// The next row of a part.
struct Next {
    unit: i64,
    part: usize,
    row: Vec<Cell>,
}

impl Next {
    fn place(&self) -> (i64, usize) {
        (self.unit, self.part)
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

/// The parts, each at its next row.
struct Merging<'a> {
    paths: &'a [PathBuf],
    key: usize,
    name: String,
    sources: Vec<Rows>,
    heap: BinaryHeap<Reverse<Next>>,
}

impl Merging<'_> {
    /// Take the next row of a part.
    fn advance(&mut self, part: usize) -> Result<(), MergeError> {
        let Some(row) = self.sources[part].next() else { return Ok(()) };
        let row = row?;
        let broken = |reason: String| MergeError::Broken { path: self.paths[part].clone(), reason };
        let unit = row[self.key].int().filter(|unit| *unit >= 0);
        let unit = unit.ok_or_else(|| broken(format!("a row has no {}", self.name)))?;
        self.heap.push(Reverse(Next { unit, part, row }));
        Ok(())
    }
}

/// The units that came by, which must be all of them in order.
struct Seen {
    units: usize,
    /// The unit that has to come next.
    next: usize,
    /// How many did not come, and the first of them.
    missing: Option<(usize, usize)>,
    /// The latest unit, and its part.
    last: Option<(i64, usize)>,
}

impl Seen {
    fn add(&mut self, unit: i64, part: usize, merging: &Merging<'_>) -> Result<(), MergeError> {
        let path = |part: usize| merging.paths[part].clone();
        match self.last {
            Some((last, of)) if last == unit => {
                if of != part {
                    let key = merging.name.clone();
                    return Err(MergeError::UnitTwice { unit, key, first: path(of), second: path(part) });
                }
                return Ok(());
            }
            Some((last, _)) if last > unit => {
                let reason = format!("{} {unit} comes after {last}; expected rows in order", merging.name);
                return Err(MergeError::Broken { path: path(part), reason });
            }
            Some(_) | None => {}
        }
        self.last = Some((unit, part));
        let number = usize::try_from(unit).ok().filter(|number| *number < self.units);
        let number = number.ok_or_else(|| MergeError::Broken {
            path: path(part),
            reason: format!("{} {unit} is out of range; there are {}", merging.name, self.units),
        })?;
        self.skip_to(number);
        self.next = number + 1;
        Ok(())
    }

    fn skip_to(&mut self, number: usize) {
        if number > self.next {
            let (missing, first) = self.missing.unwrap_or((0, self.next));
            self.missing = Some((missing + number - self.next, first));
        }
    }

    fn finish(mut self, key: &str) -> Result<(), MergeError> {
        self.skip_to(self.units);
        match self.missing {
            Some((missing, first)) => Err(MergeError::MissingUnits { missing, first, of: self.units, key: key.into() }),
            None => Ok(()),
        }
    }
}
