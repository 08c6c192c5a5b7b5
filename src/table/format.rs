use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use super::{
    Cell, Columns, Metadata, TableError,
    parquet_rows::ParquetRows,
    row_writer::RowWriter,
    text_rows::{CsvRows, JsonRows},
};
use crate::fs::{Readers, write_atomic};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv,
    JsonLines,
}

impl Format {
    /// The format that a file's name asks for.
    ///
    /// # Errors
    /// It ends in none of `.parquet`, `.csv`, `.jsonl`.
    pub fn of(path: &Path) -> Result<Self, TableError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => Err(TableError::Extension(path.to_path_buf())),
        }
    }
}

/// Where the rows of a table go.
pub struct Sink<'a> {
    columns: &'a Columns,
    rows: Box<dyn RowWriter + 'a>,
}

impl Sink<'_> {
    /// Add a row.
    ///
    /// # Errors
    /// A cell is not of its column's type; the disk is full.
    pub fn push(&mut self, row: Vec<Cell>) -> io::Result<()> {
        if !self.columns.fit(&row) {
            let columns = &self.columns.0;
            return Err(io::Error::other(format!(
                "internal error: the row {row:?} does not fit the columns {columns:?}"
            )));
        }
        self.rows.push(row)
    }
}

/// Write a table whose rows `fill` adds, in the format that the name's ending says. The file is replaced once all of it is on
/// the disk, and is unchanged if anything fails. Only Parquet holds the metadata; in CSV a missing cell is empty, in JSON null.
///
/// # Errors
/// An unknown ending, an error of `fill`, a full disk, a directory that can't be written.
pub fn write(
    path: &Path,
    columns: &Columns,
    metadata: &Metadata,
    fill: impl FnOnce(&mut Sink<'_>) -> io::Result<()>,
) -> Result<(), TableError> {
    let format = Format::of(path)?;
    write_atomic(path, Readers::AsBefore, |file| {
        let mut sink = Sink { columns, rows: rows(format, file, columns, metadata)? };
        fill(&mut sink)?;
        sink.rows.finish()
    })?;
    Ok(())
}

fn rows<'a>(
    format: Format,
    file: &'a mut File,
    columns: &'a Columns,
    metadata: &Metadata,
) -> io::Result<Box<dyn RowWriter + 'a>> {
    Ok(match format {
        Format::Parquet => Box::new(ParquetRows::new(file, columns, metadata)?),
        Format::Csv => Box::new(CsvRows::new(BufWriter::new(file), columns)?),
        Format::JsonLines => Box::new(JsonRows::new(BufWriter::new(file), columns)),
    })
}
