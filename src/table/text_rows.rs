//! CSV and JSON lines.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{
    Cell, Columns,
    row_writer::{RowWriter, unwrapped},
};

/// A float as the shortest text that reads back as the same number; `inf`, `-inf` and `NaN` as Python and `DuckDB` read them.
fn written(x: f64) -> String {
    format!("{x:?}")
}

/// CSV (RFC 4180) with a header.
pub(super) struct CsvRows<W: Write>(csv::Writer<W>);

impl<W: Write> CsvRows<W> {
    pub fn new(to: W, columns: &Columns) -> io::Result<Self> {
        let mut rows = csv::Writer::from_writer(to);
        rows.write_record(columns.0.iter().map(|column| &column.name)).map_err(unwrapped)?;
        Ok(Self(rows))
    }
}

impl<W: Write> RowWriter for CsvRows<W> {
    fn push(&mut self, row: Vec<Cell>) -> io::Result<()> {
        let cells = row.into_iter().map(|cell| match cell {
            Cell::Missing => String::new(),
            Cell::Int(value) => value.to_string(),
            Cell::Float(value) => written(value),
            Cell::Text(value) => value,
        });
        self.0.write_record(cells).map_err(unwrapped)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.into_inner().map_err(|failed| unwrapped(failed.into_error()))?.flush()
    }
}

/// A JSON object a line. JSON has no infinite numbers and no NaN: they are the texts `"inf"`, `"-inf"` and `"NaN"`.
pub(super) struct JsonRows<'a, W> {
    to: W,
    columns: &'a Columns,
}

impl<'a, W: Write> JsonRows<'a, W> {
    pub fn new(to: W, columns: &'a Columns) -> Self {
        Self { to, columns }
    }
}

impl<W: Write> RowWriter for JsonRows<'_, W> {
    fn push(&mut self, row: Vec<Cell>) -> io::Result<()> {
        let value = |cell| match cell {
            Cell::Missing => Value::Null,
            Cell::Int(value) => value.into(),
            Cell::Float(value) if value.is_finite() => value.into(),
            Cell::Float(value) => written(value).into(),
            Cell::Text(value) => value.into(),
        };
        let names = self.columns.0.iter().map(|column| column.name.clone());
        let object: Map<String, Value> = names.zip(row.into_iter().map(value)).collect();
        serde_json::to_writer(&mut self.to, &object)?;
        self.to.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.to.flush()
    }
}
