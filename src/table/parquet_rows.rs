//! Rows into Parquet, a row group at a time.

use std::{fs::File, io, sync::Arc};

use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
};

use super::{
    Cell, Columns, Kind, Metadata,
    parquet_file::{key_values, schema},
    row_writer::{RowWriter, unwrapped},
};

/// The rows of a row group: enough for columns to compress well, few enough to hold in memory.
const GROUP: usize = 1 << 16;
/// The bytes of text after which a row group ends early.
const TEXT: usize = 64 << 20;

/// The values of a column that are there, and for each row whether its value is.
struct Buffer {
    values: Values,
    defined: Vec<i16>,
}

enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Int => Values::Int(vec![]),
            Kind::Float => Values::Float(vec![]),
            Kind::Text => Values::Text(vec![]),
        };
        Self { values, defined: vec![] }
    }

    /// The cell is of the column's type, or missing.
    fn push(&mut self, cell: Cell) {
        let defined = match (&mut self.values, cell) {
            (Values::Int(values), Cell::Int(value)) => {
                values.push(value);
                1
            }
            (Values::Float(values), Cell::Float(value)) => {
                values.push(value);
                1
            }
            (Values::Text(values), Cell::Text(value)) => {
                values.push(ByteArray::from(value.into_bytes()));
                1
            }
            (Values::Int(_) | Values::Float(_) | Values::Text(_), _) => 0,
        };
        self.defined.push(defined);
    }

    /// Write what it holds, and empty it.
    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = std::mem::take(&mut self.defined);
        match &mut self.values {
            Values::Int(values) => {
                column.typed::<Int64Type>().write_batch(&std::mem::take(values), Some(&defined), None)?;
            }
            Values::Float(values) => {
                column.typed::<DoubleType>().write_batch(&std::mem::take(values), Some(&defined), None)?;
            }
            Values::Text(values) => {
                column.typed::<ByteArrayType>().write_batch(&std::mem::take(values), Some(&defined), None)?;
            }
        }
        Ok(())
    }
}

/// A Parquet file, compressed with Snappy, which every reader of Parquet knows.
pub(super) struct ParquetRows<'a> {
    file: SerializedFileWriter<&'a mut File>,
    buffers: Vec<Buffer>,
    rows: usize,
    text: usize,
}

impl<'a> ParquetRows<'a> {
    pub fn new(file: &'a mut File, columns: &Columns, metadata: &Metadata) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("pythia-tui {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(key_values(metadata)))
            .build();
        let schema = schema(columns).map_err(unwrapped)?;
        let file = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(unwrapped)?;
        let buffers = columns.0.iter().map(|column| Buffer::new(column.kind)).collect();
        Ok(Self { file, buffers, rows: 0, text: 0 })
    }

    /// Write the rows that are held as a row group.
    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        (self.rows, self.text) = (0, 0);
        let mut group = self.file.next_row_group()?;
        let mut buffers = self.buffers.iter_mut();
        while let Some(mut column) = group.next_column()? {
            if let Some(buffer) = buffers.next() {
                buffer.write(&mut column)?;
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

impl RowWriter for ParquetRows<'_> {
    fn push(&mut self, row: Vec<Cell>) -> io::Result<()> {
        self.text += row.iter().filter_map(Cell::text).map(str::len).sum::<usize>();
        self.buffers.iter_mut().zip(row).for_each(|(buffer, cell)| buffer.push(cell));
        self.rows += 1;
        if self.rows >= GROUP || self.text >= TEXT { self.write_group().map_err(unwrapped) } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_group().map_err(unwrapped)?;
        self.file.close().map_err(unwrapped)?;
        Ok(())
    }
}
