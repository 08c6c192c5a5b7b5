use super::quantity::Quantity;
use crate::{
    experiment::{Curve, Measured},
    views::Scene,
};

#[derive(Clone, Debug, Default)]
pub struct Training {
    pub quantity: Quantity,
    /// Whether the curves of a table stand in place of the visited checkpoints.
    pub(super) of_table: bool,
    /// What is shown of the table: each number of the first model, then of the next.
    pub(super) choice: usize,
    pub(super) cursor: usize,
}

impl Training {
    /// Show the curves of the table that was opened.
    pub fn show_results(&mut self) {
        (self.of_table, self.choice, self.cursor) = (true, 0, 0);
    }

    /// The curve and the number that are shown; None where those of visited checkpoints are.
    pub(super) fn shown<'a>(&self, scene: &'a Scene) -> Option<(&'a Curve, Measured)> {
        let results = scene.results.as_ref().filter(|_| self.of_table)?;
        let curve = results.curves.get(self.choice / Measured::ALL.len())?;
        Some((curve, Measured::ALL[self.choice % Measured::ALL.len()]))
    }

    /// The next number of the table.
    pub(super) fn next_choice(&mut self, curves: usize) {
        self.choice = (self.choice + 1) % (curves * Measured::ALL.len()).max(1);
    }
}
