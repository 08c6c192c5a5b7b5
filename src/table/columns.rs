//! What a table's cells are.

/// The type of a column. Any cell may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit whole number.
    Int,
    /// A 64-bit float, which may be infinite or NaN.
    Float,
    /// Text in UTF-8.
    Text,
}

/// A column's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// The columns of a table, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<Column>);

impl Columns {
    /// Columns with these names and types.
    #[must_use]
    pub fn new(columns: &[(&str, Kind)]) -> Self {
        Self(columns.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect())
    }

    /// The place of a column of this name and type.
    #[must_use]
    pub fn find(&self, name: &str, kind: Kind) -> Option<usize> {
        self.0.iter().position(|column| column.name == name && column.kind == kind)
    }

    /// Whether a row has a cell for each column, of its type or missing.
    #[must_use]
    pub fn fit(&self, row: &[Cell]) -> bool {
        row.len() == self.0.len() && row.iter().zip(&self.0).all(|(cell, column)| cell.is(column.kind))
    }
}

/// One value of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    #[default]
    Missing,
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    /// Whether it may stand in a column of this type.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        match self {
            Self::Missing => true,
            Self::Int(_) => kind == Kind::Int,
            Self::Float(_) => kind == Kind::Float,
            Self::Text(_) => kind == Kind::Text,
        }
    }

    #[must_use]
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    #[must_use]
    pub fn float(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// A count. One above 2^63 - 1 becomes that.
impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}
