use crate::experiment::{Measured, ResultRow, Results};

#[derive(Clone, Debug, Default)]
pub struct Corpus {
    pub measured: Measured,
    /// The rows by the number that is shown, in ascending order.
    pub(super) order: Vec<usize>,
    pub cursor: usize,
}

impl Corpus {
    /// Sort the rows, and go to the one furthest from 0.
    pub fn reset(&mut self, results: Option<&Results>) {
        let rows: &[ResultRow] = results.map_or(&[], |results| &results.rows);
        let value = |row: &usize| rows[*row].of(self.measured);
        self.order = (0..rows.len()).collect();
        self.order.sort_by(|a, b| value(a).total_cmp(&value(b)));
        let size = |at: Option<&usize>| at.map_or(0.0, |row| value(row).abs());
        let last = self.order.len().saturating_sub(1);
        self.cursor = if size(self.order.first()) > size(self.order.last()) { 0 } else { last };
    }
}
