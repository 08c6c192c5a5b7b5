//! What a view shows as text and numbers, to be copied or saved.

use super::Scene;
use crate::{analysis::exact_number, hooks::Axis, printed::escaped};

/// A view's contents: a table of words, and arrays of numbers with their shapes.
///
/// So that the table reads back unchanged, no two rows and no two columns have the same label. A token is a JSON string
/// (`" the"`), in labels with its position before it (`3 " the"`). A cell without a number is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Row-major, by name.
    pub arrays: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Table {
    /// A matrix, row-major, with the name of its row axis in the corner.
    #[must_use]
    pub fn of_matrix(corner: &str, rows: &[String], columns: &[String], (n, values): (usize, Vec<f32>)) -> Self {
        let header = std::iter::once(corner.to_string()).chain(columns.iter().take(n).cloned()).collect();
        let lines = values.chunks(n.max(1)).zip(rows).map(|(line, label)| {
            std::iter::once(label.clone())
                .chain(line.iter().map(|x| if x.is_nan() { String::new() } else { exact_number(*x) }))
                .collect()
        });
        let rows = lines.collect();
        let shape = vec![values.len() / n.max(1), n];
        Self { header, rows, arrays: vec![("values".into(), shape, values)] }
    }

    /// Labels of the indices along an axis; those of a position have its number and token.
    #[must_use]
    pub fn labels(scene: &Scene, axis: Axis) -> Vec<String> {
        if !axis.is_position() {
            return scene.labels(axis);
        }
        let label = |(pos, token): (usize, &crate::experiment::Token)| format!("{pos} {}", quoted(&token.text));
        scene.tokens().iter().enumerate().map(label).collect()
    }

    /// Lines of cells separated by tabs, without tabs in cells; control characters are escaped.
    #[must_use]
    pub fn tab_separated(&self) -> String {
        let line = |cells: &Vec<String>| cells.iter().map(|text| escaped(text)).collect::<Vec<_>>().join("\t") + "\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }
}

/// A token in a table: a JSON string, which neither breaks a line nor reads back as a number or a missing value.
pub(crate) fn quoted(token: &str) -> String {
    serde_json::Value::from(token).to_string()
}

/// A name for a file or an array: other characters than letters, digits, `.`, `_` and `-` become `-`.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

/// For files of f32.
#[allow(clippy::cast_possible_truncation, reason = "numbers that were f32")]
pub(crate) fn short(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_cells_stay_cells_and_cannot_control_a_terminal() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        let rows = vec![row(["a\tb\n", "\u{1b}]52;c;\u{7}\u{9b}\u{202e}"]), row(["é", ""])];
        let table = Table { header: row(["token", "\r"]), rows, arrays: vec![] };
        let text = table.tab_separated();
        assert_eq!(text, "token\t\\r\na\\tb\\n\t\\u001b]52;c;\\u0007\\u009b\\u202e\né\t\n");
    }
}
