//! The lines of a journal: exact for every cell, also for floats that are not finite.

use serde_json::{Value, json};

use super::{Cell, Columns, Kind, Part};

/// What a journal is of.
pub(super) fn heading(part: &Part, columns: &Columns) -> String {
    let Part { of, fingerprint, shard, units, key } = part;
    let kind = |kind: Kind| match kind {
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Text => "text",
    };
    let columns: Vec<Value> = columns.0.iter().map(|column| json!([column.name, kind(column.kind)])).collect();
    json!({"version": 1, "of": of, "fingerprint": fingerprint, "shard": shard, "units": units, "key": key, "columns": columns})
        .to_string()
}

/// A unit with its rows. Floats are texts, since not every reader of JSON returns the same number.
pub(super) fn written(unit: usize, rows: &[Vec<Cell>]) -> String {
    let cell = |cell: &Cell| match cell {
        Cell::Missing => Value::Null,
        Cell::Int(value) => json!(value),
        Cell::Float(value) => json!(format!("{value:?}")),
        Cell::Text(value) => json!(value),
    };
    let rows: Vec<Vec<Value>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    json!([unit, rows]).to_string()
}

/// A unit with its rows; None for a line that is none.
pub(super) fn parsed(line: &str, columns: &Columns) -> Option<(usize, Vec<Vec<Cell>>)> {
    let (unit, rows): (usize, Vec<Vec<Value>>) = serde_json::from_str(line).ok()?;
    let cell = |(value, kind): (Value, Kind)| match (value, kind) {
        (Value::Null, _) => Some(Cell::Missing),
        (Value::Number(number), Kind::Int) => number.as_i64().map(Cell::Int),
        (Value::String(text), Kind::Float) => text.parse().ok().map(Cell::Float),
        (Value::String(text), Kind::Text) => Some(Cell::Text(text)),
        (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_), _) => None,
    };
    let row = |row: Vec<Value>| -> Option<Vec<Cell>> {
        let kinds = columns.0.iter().map(|column| column.kind);
        (row.len() == columns.0.len()).then(|| row.into_iter().zip(kinds).map(cell).collect())?
    };
    Some((unit, rows.into_iter().map(row).collect::<Option<_>>()?))
}
