//! Operations as text.

use std::fmt;

use super::{
    Op, Operation,
    op_facts::{Arguments, Takes},
};

impl Operation {
    /// Its syntax: `+= noise SD [seed N]`.
    pub(crate) fn syntax(self) -> String {
        let row = self.row();
        let takes = match row.takes {
            Takes::Nothing => None,
            Takes::Number => Some("NUMBER"),
            Takes::Deviation => Some("SD [seed N]"),
            Takes::Seed => Some("[seed N]"),
            Takes::Multiple => Some("A * NAME"),
            Takes::Vector => Some("NAME"),
        };
        [Some(row.sign), row.word, takes].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Its name in the script that repeats a run.
    pub(crate) fn key(self) -> &'static str {
        let row = self.row();
        row.word.unwrap_or(if row.takes == Takes::Multiple { "vector" } else { row.sign })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (row, Arguments { number, seed, vector }) = (self.row(), self.arguments());
        f.write_str(row.sign)?;
        if let Some(word) = row.word {
            write!(f, " {word}")?;
        }
        match (row.takes, seed) {
            (Takes::Nothing, _) | (Takes::Seed, 0) => Ok(()),
            (Takes::Seed, _) => write!(f, " seed {seed}"),
            (Takes::Number, _) | (Takes::Deviation, 0) => write!(f, " {number}"),
            (Takes::Deviation, _) => write!(f, " {number} seed {seed}"),
            (Takes::Multiple, _) => write!(f, " {number} * {vector}"),
            (Takes::Vector, _) => write!(f, " {vector}"),
        }
    }
}

/// The table of operations for the documentation, in Markdown.
#[must_use]
pub fn operation_table() -> String {
    let row = |operation: &Operation| format!("| `{}` | {} |\n", operation.syntax(), operation.row().about);
    "| operation | what it does |\n|---|---|\n".to_string() + &Operation::ALL.iter().map(row).collect::<String>()
}
