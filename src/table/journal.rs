//! What is done of a table, kept in a file beside it until all of it is.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use super::{Cell, Columns, Format, Kind, Metadata, Numbered, Part, Reader, Sink, TableError, record, write};
use crate::fs::WriteError;

/// The units of a part that are done, with their rows. Each unit is written at once, so that a process that is killed loses only
/// the unit it was working on; the next start goes on from there.
///
/// The file is called as the part, with `.journal` after it: a line that says what it is of, then a line for each unit.
pub struct Journal {
    path: PathBuf,
    file: File,
    columns: Columns,
    /// Where the line of each unit begins.
    lines: Numbered<NonZeroU64>,
    end: u64,
}

impl Journal {
    /// The journal of the part that is written to `out`. Units all of whose rows `is_done` accepts are kept, from what an
    /// interrupted run left, and from a finished part in Parquet; both must be of the same part.
    ///
    /// # Errors
    /// They are of another part, another process is working on it, the disk fails.
    pub fn open(
        out: &Path,
        part: &Part,
        columns: &Columns,
        is_done: impl Fn(&[Cell]) -> bool,
    ) -> Result<Self, TableError> {
        // before anything is written
        let finished = match Format::of(out)? {
            Format::Parquet if out.is_file() => Some(opened(out, part, columns)?),
            Format::Parquet | Format::Csv | Format::JsonLines => None,
        };
        let mut name = out.file_name().unwrap_or_default().to_os_string();
        name.push(".journal");
        let path = out.with_file_name(name);
        let file = locked(&path)?;
        let mut journal = Self { path, file, columns: columns.clone(), lines: Numbered::default(), end: 0 };
        journal.begin(&record::heading(part, columns), &is_done)?;
        if let Some(finished) = finished {
            journal.take_from(out, finished, &part.key, is_done)?;
        }
        Ok(journal)
    }

    /// Read the file, or begin it with a heading.
    fn begin(&mut self, heading: &str, is_done: impl Fn(&[Cell]) -> bool) -> Result<(), TableError> {
        let mut lines = BufReader::new(&self.file);
        let mut line = String::new();
        let mut found = Numbered::default();
        let mut end = 0;
        loop {
            line.clear();
            // text that is no UTF-8 ends it as a torn line does
            let read = lines.read_line(&mut line).unwrap_or(0);
            let Some(whole) = line.strip_suffix('\n') else { break };
            if end == 0 {
                if whole != heading {
                    return Err(TableError::OtherPart(self.path.clone()));
                }
            } else {
                let Some((unit, rows)) = record::parsed(whole, &self.columns) else { break };
                // the latest line of a unit counts
                found.remove(unit);
                if let Some(at) = NonZeroU64::new(end).filter(|_| rows.iter().all(|row| is_done(row))) {
                    found.insert(unit, at);
                }
            }
            end += read as u64;
        }
        (self.lines, self.end) = (found, end);
        // a killed process may have left half a line
        let cut = self.file.set_len(end);
        cut.map_err(|error| self.failed(error))?;
        if end == 0 { self.append(heading) } else { Ok(()) }
    }

    /// Take over the units that a finished part holds.
    fn take_from(
        &mut self,
        out: &Path,
        finished: Reader,
        key: &str,
        is_done: impl Fn(&[Cell]) -> bool,
    ) -> Result<(), TableError> {
        let wrong = |reason: &str| TableError::Read { path: out.to_path_buf(), reason: reason.into() };
        let key = self.columns.find(key, Kind::Int).ok_or_else(|| wrong("its key column is missing"))?;
        let mut unit: Option<(usize, Vec<Vec<Cell>>)> = None;
        for row in finished.into_rows() {
            let row = row?;
            let number = row[key].int().and_then(|number| usize::try_from(number).ok());
            let number = number.ok_or_else(|| wrong("a row has no number"))?;
            match &mut unit {
                Some((of, rows)) if *of == number => rows.push(row),
                _ => {
                    if let Some((of, rows)) = unit.replace((number, vec![row])) {
                        self.take(of, &rows, &is_done)?;
                    }
                }
            }
        }
        unit.map_or(Ok(()), |(of, rows)| self.take(of, &rows, &is_done))
    }

    fn take(&mut self, unit: usize, rows: &[Vec<Cell>], is_done: impl Fn(&[Cell]) -> bool) -> Result<(), TableError> {
        match !self.lines.contains(unit) && rows.iter().all(|row| is_done(row)) {
            true => self.add(unit, rows),
            false => Ok(()),
        }
    }

    /// Whether the rows of a unit are there.
    #[must_use]
    pub fn contains(&self, unit: usize) -> bool {
        self.lines.contains(unit)
    }

    /// The number of units that are done.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Add the rows of a unit that is done, in the place of earlier ones.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, unit: usize, rows: &[Vec<Cell>]) -> Result<(), TableError> {
        let at = NonZeroU64::new(self.end);
        self.append(&record::written(unit, rows))?;
        // the heading comes first, so this is not 0
        if let Some(at) = at {
            self.lines.insert(unit, at);
        }
        Ok(())
    }

    /// The rows of each unit, by number.
    ///
    /// # Errors
    /// The file can't be read, or was changed; an error of `each`.
    pub fn for_each(&self, mut each: impl FnMut(usize, Vec<Vec<Cell>>) -> io::Result<()>) -> io::Result<()> {
        let mut lines = BufReader::new(&self.file);
        let mut at = 0;
        lines.rewind()?;
        let mut line = String::new();
        for (unit, start) in self.lines.iter() {
            let start = start.get();
            // units are mostly done in their order, and then nothing is sought
            if start != at {
                lines.seek(SeekFrom::Start(start))?;
            }
            line.clear();
            at = start + lines.read_line(&mut line)? as u64;
            let read = record::parsed(line.trim_end_matches('\n'), &self.columns);
            let (_, rows) = read.filter(|(found, _)| *found == unit).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "its journal was changed by another program")
            })?;
            each(unit, rows)?;
        }
        Ok(())
    }

    /// Write the table, in the order of its units, and remove the journal.
    ///
    /// # Errors
    /// As [`write`]. The journal then stays.
    pub fn finish(self, out: &Path, metadata: &Metadata) -> Result<(), TableError> {
        write(out, &self.columns, metadata, |sink: &mut Sink<'_>| {
            self.for_each(|_, rows| rows.into_iter().try_for_each(|row| sink.push(row)))
        })?;
        fs::remove_file(&self.path).map_err(|error| self.failed(error))
    }

    /// Add a line in one write.
    fn append(&mut self, line: &str) -> Result<(), TableError> {
        let line = format!("{line}\n");
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(line.as_bytes()));
        written.map_err(|error| self.failed(error))?;
        self.end += line.len() as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> TableError {
        WriteError { path: self.path.clone(), source }.into()
    }
}

/// A finished part, which must be this one.
fn opened(out: &Path, part: &Part, columns: &Columns) -> Result<Reader, TableError> {
    let reader = Reader::open(out)?;
    match Part::read(&reader.metadata).as_ref() == Some(part) && reader.columns == *columns {
        true => Ok(reader),
        false => Err(TableError::OtherPart(out.to_path_buf())),
    }
}

/// Open a journal that no other process has open.
fn locked(path: &Path) -> Result<File, TableError> {
    let failed = |source| WriteError { path: path.to_path_buf(), source };
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(TableError::InUse(path.to_path_buf())),
            // some file systems have no locks
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // the process that had it open may have finished and removed it in between
        if path.is_file() {
            return Ok(file);
        }
    }
}
