//! Rows out of Parquet, a batch at a time.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
};

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
};

use super::{Cell, Columns, Metadata, TableError, parquet_file};
use crate::{fs, panics};

/// The rows that are held in memory.
const BATCH: usize = 4096;

/// A Parquet file that is open for reading.
pub struct Reader {
    path: PathBuf,
    file: SerializedFileReader<File>,
    pub columns: Columns,
    pub metadata: Metadata,
}

impl Reader {
    /// Open a Parquet file; its rows are not read yet.
    ///
    /// # Errors
    /// It can't be read, is no Parquet file, or has columns of other types than [`super::Kind`].
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let opened = fs::open(path).map_err(|reason| TableError::Open { path: path.to_path_buf(), reason })?;
        let wrong = |reason: String| TableError::Read { path: path.to_path_buf(), reason };
        let file = guarded(|| SerializedFileReader::new(opened)).map_err(|reason| {
            let cause = if starts_as_parquet(path) { reason } else { "it is no Parquet file".into() };
            wrong(format!("{cause}; expected a table that pythia-tui wrote"))
        })?;
        let about = file.metadata().file_metadata();
        let columns = parquet_file::columns(about.schema_descr()).map_err(wrong)?;
        let metadata = parquet_file::metadata(about.key_value_metadata());
        Ok(Self { path: path.to_path_buf(), file, columns, metadata })
    }

    /// The number of rows, as the file states it.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every row in order, with a cell for each column.
    #[must_use]
    pub fn into_rows(self) -> Rows {
        Rows { reader: self, group: 0, columns: vec![], left: 0, batch: VecDeque::new() }
    }
}

/// Whether a file begins with Parquet's mark: a truncated one still does.
fn starts_as_parquet(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = fs::open(path).map(|mut file| std::io::Read::read_exact(&mut file, &mut start));
    matches!(read, Ok(Ok(()))) && start == *b"PAR1"
}

/// Run a part of the library, which panics on some broken files.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match panics::expected(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::NYI(reason) | ParquetError::General(reason))) if reason.contains("feature") => {
            Err(format!("its compression is not supported ({reason}); expected Snappy or none"))
        }
        Ok(Err(ParquetError::General(reason))) => Err(reason),
        Ok(Err(error)) => Err(error.to_string()),
        Err(reason) => Err(format!("the file is broken: {reason}")),
    }
}

/// The rows of a file.
pub struct Rows {
    reader: Reader,
    /// The row group to open next.
    group: usize,
    columns: Vec<ColumnReader>,
    /// The rows of the open group that were not read yet.
    left: usize,
    batch: VecDeque<Vec<Cell>>,
}

impl Iterator for Rows {
    type Item = Result<Vec<Cell>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.batch.is_empty() {
            match guarded(|| self.refill()) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(reason) => {
                    (self.left, self.group) = (0, self.reader.file.num_row_groups());
                    return Some(Err(TableError::Read { path: self.reader.path.clone(), reason }));
                }
            }
        }
        self.batch.pop_front().map(Ok)
    }
}

impl Rows {
    /// Read the next batch; false at the end.
    fn refill(&mut self) -> Result<bool, ParquetError> {
        if self.left == 0 {
            if self.group >= self.reader.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.file.get_row_group(self.group)?;
            self.left = usize::try_from(group.metadata().num_rows())?;
            let columns = 0..self.reader.columns.0.len();
            self.columns = columns.map(|at| group.get_column_reader(at)).collect::<Result<_, _>>()?;
            self.group += 1;
            return Ok(true);
        }
        let n = self.left.min(BATCH);
        let mut rows = vec![Vec::with_capacity(self.columns.len()); n];
        for column in &mut self.columns {
            let cells = cells(column, n)?;
            if cells.len() != n {
                let found = cells.len();
                return Err(ParquetError::General(format!("a column has {found} values where {n} are expected")));
            }
            rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
        self.left -= n;
        self.batch = rows.into();
        Ok(true)
    }
}

/// The next `n` cells of a column.
fn cells(column: &mut ColumnReader, n: usize) -> Result<Vec<Cell>, ParquetError> {
    let text = |value: parquet::data_type::ByteArray| -> Result<Cell, ParquetError> {
        Ok(Cell::Text(value.as_utf8()?.to_string()))
    };
    match column {
        ColumnReader::BoolColumnReader(column) => read(column, n, |value| Ok(Cell::Int(value.into()))),
        ColumnReader::Int32ColumnReader(column) => read(column, n, |value| Ok(Cell::Int(value.into()))),
        ColumnReader::Int64ColumnReader(column) => read(column, n, |value| Ok(Cell::Int(value))),
        ColumnReader::FloatColumnReader(column) => read(column, n, |value| Ok(Cell::Float(value.into()))),
        ColumnReader::DoubleColumnReader(column) => read(column, n, |value| Ok(Cell::Float(value))),
        ColumnReader::ByteArrayColumnReader(column) => read(column, n, text),
        ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
            Err(ParquetError::General("a column of an unknown type".into()))
        }
    }
}

fn read<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    n: usize,
    cell: impl Fn(T::T) -> Result<Cell, ParquetError>,
) -> Result<Vec<Cell>, ParquetError> {
    let (mut defined, mut values) = (Vec::new(), Vec::new());
    let (records, found, levels) = column.read_records(n, Some(&mut defined), None, &mut values)?;
    let mut values = values.into_iter();
    // a required column has no levels
    if found == records && levels == found && defined.is_empty() {
        return values.map(cell).collect();
    }
    let mut next = |defined: i16| match defined {
        0 => Ok(Cell::Missing),
        _ => cell(values.next().ok_or_else(|| ParquetError::General("a column ends early".into()))?),
    };
    defined.into_iter().map(&mut next).collect()
}
