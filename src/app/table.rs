//! What the view shows as text and numbers, to be copied or saved.

use super::{Component, Extent, Focus, State, Tab};
use crate::{
    analysis::{HeadScores, Score, Stats, cell, exact_number, short_number},
    engine::{Attribution, Compare, Filling, LensCell, Metric, Prediction, Thumbnails, View, lens_points},
    hooks::Axis,
    printed::escaped,
};

/// A view's contents: a table of words, and arrays of numbers with their shapes.
///
/// So that the table reads back as it was: no two rows and no two columns have the same label, a token is a JSON string
/// (`" the"`) with its position before it where it is a label (`3 " the"`), and a cell is empty where there is no number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Row-major, by name.
    pub arrays: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl State {
    /// A file name without ending, or a title, that says what the view shows.
    #[must_use]
    pub fn table_name(&self) -> String {
        let head = |block: usize| format!("blocks.{block}.attn.hook_{}-head{}", self.looks.which.title(), self.head);
        let what = match self.tab {
            Tab::Shape => format!("{}-statistics", self.point()),
            Tab::Values => {
                let fixed = self.slice().fixed.filter(|(axis, _)| *axis != Axis::One);
                let fixed = fixed.map(|(axis, at)| format!("-{axis}{at}")).unwrap_or_default();
                format!("{}{fixed}", self.point())
            }
            Tab::Attention => match self.looks.extent {
                Extent::Head => head(self.block()),
                Extent::Block => format!("blocks.{}.attn.{}-heads", self.block(), self.looks.which.title()),
                Extent::Model => format!("attn.{}-all-heads", self.looks.which.title()),
            },
            Tab::Logits => format!("logits-pos{}", self.cell.0),
            Tab::Lens => match self.view() {
                Some(View::Lens { first, cells, .. }) => {
                    format!("logit-lens-pos{first}-{}", first + cells.first().map_or(1, Vec::len).max(1) - 1)
                }
                _ => "logit-lens".into(),
            },
            Tab::Attribution => format!("logit-attribution-pos{}", self.cell.0),
            Tab::Heads => "head-scores".into(),
            Tab::Sweep => format!("sweep-{}-{}", self.looks.map.name(), self.looks.metric().name()),
            Tab::Training => format!("training-{}", self.quantity_title()),
        };
        let compare = match self.compare() {
            // both stand there, or it is of the edited run alone
            _ if matches!(self.tab, Tab::Shape | Tab::Sweep | Tab::Training) => "",
            Compare::Edited if self.shown.as_ref().is_some_and(|s| !s.spec.edits.is_empty()) => "-edited",
            Compare::Edited => "",
            Compare::Difference => "-difference",
            Compare::Baseline => "-baseline",
        };
        let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
        format!("{}-{what}{compare}", self.model.name).chars().map(plain).collect()
    }

    /// What `y` copies: in the tree the hook's name, in a view the value under the cursor.
    #[must_use]
    pub fn under_cursor(&self) -> String {
        let name = self.point().to_string();
        let value = match (self.focus, self.tab) {
            (Focus::Edits, _) => self.edits.get(self.edit_cursor).map(|line| line.edit.to_string()),
            (Focus::Tree, _) | (_, Tab::Shape) => None,
            (_, Tab::Values) => {
                let (row, column) = (self.index(self.slice().rows), self.index(self.slice().columns));
                self.matrix()
                    .and_then(|(columns, values)| values.get(row * columns + column).copied())
                    .map(exact_number)
            }
            (_, Tab::Attention) => {
                let at =
                    |(columns, values): (usize, Vec<f32>)| values.get(self.cell.0 * columns + self.cell.1).copied();
                self.matrix().and_then(at).map(exact_number)
            }
            (_, Tab::Logits | Tab::Lens) => self.token_under_cursor().map(|token| token.text),
            (_, Tab::Attribution) => self.chosen_component().map(|c| short_number(self.attributed(c))),
            (_, Tab::Sweep) => match self.view() {
                Some(View::Sweep(filling)) => {
                    let cell = self.swept.0 * filling.grid.columns.len() + self.swept.1;
                    filling.value(cell, self.looks.metric()).map(|value| value.to_string())
                }
                _ => None,
            },
            (_, Tab::Training) => {
                let at = self.training.cursor;
                let value = self.over_training().into_iter().find(|point| point.at == at).map(|p| p.value.to_string());
                value.or_else(|| self.training.steps.get(at).map(|step| step.revision.clone()))
            }
            (_, Tab::Heads) => match self.compared().as_deref() {
                Some(View::Heads { scores, .. }) => {
                    let scores = scores.get(self.block()).and_then(|row| row.get(self.head));
                    scores.map(|scores| self.looks.score.of(scores).to_string())
                }
                _ => None,
            },
        };
        value.unwrap_or(name)
    }

    /// Labels of the indices along an axis: tokens for positions, else numbers.
    #[must_use]
    pub fn labels(&self, axis: Axis) -> Vec<String> {
        if axis.is_position() {
            return self.tokens.iter().map(|token| token.text.clone()).collect();
        }
        (0..self.schema.size(axis, self.tokens.len())).map(|i| i.to_string()).collect()
    }

    /// Labels of the indices along an axis in a table.
    fn table_labels(&self, axis: Axis) -> Vec<String> {
        if axis.is_position() {
            return self
                .tokens
                .iter()
                .enumerate()
                .map(|(pos, token)| format!("{pos} {}", quoted(&token.text)))
                .collect();
        }
        self.labels(axis)
    }

    /// The view as a table; None while it is on its way, or where there is nothing to see.
    #[must_use]
    pub fn table(&self) -> Option<Table> {
        if self.tab == Tab::Training {
            return Some(self.training_table());
        }
        let shown = self.compared()?;
        Some(match &*shown {
            View::Hook { stats, baseline, .. } => statistics(stats, baseline.as_ref()),
            View::Values { .. } => {
                let slice = self.slice();
                self.matrix_table(&self.table_labels(slice.rows), &self.table_labels(slice.columns), slice.rows)?
            }
            View::Attention { .. } => {
                let labels = self.table_labels(Axis::Query);
                self.matrix_table(&labels, &labels, Axis::Query)?
            }
            View::Patterns(thumbnails) => pictures(thumbnails, self.compare()),
            View::Logits { top, logits, baseline, .. } => next_tokens(top, logits, baseline.as_deref()),
            View::Lens { first, cells, .. } => self.lens_table(*first, cells),
            View::Attribution { parts, .. } => self.attribution_table(parts),
            View::Heads { scores, .. } => head_scores(scores),
            View::Sweep(filling) => sweep(filling, self.looks.metric()),
            View::Nothing(_) => return None,
        })
    }

    /// The number that is looked at, over the steps that were visited.
    fn training_table(&self) -> Table {
        let points = self.over_training();
        let step = |at: usize| &self.training.steps[at];
        let rows = points.iter().map(|point| {
            let baseline = point.baseline.map_or_else(String::new, cell);
            vec![step(point.at).step.to_string(), step(point.at).revision.clone(), cell(point.value), baseline]
        });
        #[allow(clippy::cast_precision_loss, reason = "steps are below 2^24")]
        let steps = points.iter().map(|point| step(point.at).step as f32).collect();
        let value = points.iter().map(|point| short(point.value)).collect();
        let baseline = points.iter().map(|point| short(point.baseline.unwrap_or(f64::NAN))).collect();
        let array = |name: &str, values: Vec<f32>| (name.to_string(), vec![values.len()], values);
        let header = ["step".into(), "revision".into(), self.quantity_title(), "baseline".into()];
        Table {
            header: header.to_vec(),
            rows: rows.collect(),
            arrays: vec![array("step", steps), array("value", value), array("baseline", baseline)],
        }
    }

    fn lens_table(&self, first: usize, cells: &[Vec<LensCell>]) -> Table {
        let header = ["stream", "position", "after", "token", "id", "probability", "kl from final", "kl from baseline"];
        let left_out: Vec<String> = self.left_out_of_lens().into_iter().map(ToString::to_string).collect();
        // a column that says what the numbers are without, where they are
        let without = (!left_out.is_empty()).then(|| left_out.join("; "));
        let without = without.as_ref();
        let points = lens_points(self.schema.dims.n_layers);
        let rows = cells.iter().zip(&points).flat_map(|(row, point)| {
            row.iter().zip(first..).filter_map(move |(here, pos)| {
                let likeliest = here.top.first();
                let [token, id, prob] =
                    likeliest.map(|p| [quoted(&p.text), p.id.to_string(), cell(p.prob)]).unwrap_or_default();
                let (after, moved) = (quoted(&self.tokens.get(pos)?.text), here.moved.map_or_else(String::new, cell));
                let cells = [point.to_string(), pos.to_string(), after, token, id, prob, cell(here.kl), moved];
                Some(cells.into_iter().chain(without.cloned()).collect())
            })
        });
        let shape = vec![cells.len(), cells.first().map_or(0, Vec::len)];
        let array = |name: &str, of: fn(&LensCell) -> f64| {
            (name.to_string(), shape.clone(), cells.iter().flatten().map(|cell| short(of(cell))).collect())
        };
        let probability = |cell: &LensCell| cell.top.first().map_or(f64::NAN, |p| p.prob);
        let last = first + shape[1];
        #[allow(clippy::cast_precision_loss, reason = "positions")]
        let positions = ("position".to_string(), vec![shape[1]], (first..last).map(|pos| pos as f32).collect());
        let moved = array("kl_from_baseline", |cell| cell.moved.unwrap_or(f64::NAN));
        let arrays = vec![positions, array("probability", probability), array("kl_from_final", |cell| cell.kl), moved];
        let header = header.into_iter().chain(without.map(|_| "without edits")).map(String::from);
        Table { header: header.collect(), rows: rows.collect(), arrays }
    }

    fn attribution_table(&self, parts: &Attribution) -> Table {
        let rows = self.components().into_iter().map(|c| vec![c.name(), cell(c.of(parts))]);
        let (layers, heads) = (parts.heads.len(), parts.heads.first().map_or(0, Vec::len));
        let of = |c: Component| short(c.of(parts));
        let all = (0..layers).flat_map(|block| (0..heads).map(move |head| Component::Head(block, head)));
        let rest = [Component::Embed, Component::Bias, Component::Constant].map(of).to_vec();
        let arrays = vec![
            ("heads".into(), vec![layers, heads], all.map(of).collect()),
            ("mlps".into(), vec![layers], (0..layers).map(|block| of(Component::Mlp(block))).collect()),
            ("embed_bias_constant".into(), vec![3], rest),
        ];
        Table { header: vec!["component".into(), "logit".into()], rows: rows.collect(), arrays }
    }

    fn matrix_table(&self, rows: &[String], columns: &[String], axis: Axis) -> Option<Table> {
        let (n, values) = self.matrix()?;
        let header = std::iter::once(axis.to_string()).chain(columns.iter().take(n).cloned()).collect();
        let lines = values.chunks(n.max(1)).zip(rows).map(|(line, label)| {
            std::iter::once(label.clone())
                .chain(line.iter().map(|x| if x.is_nan() { String::new() } else { exact_number(*x) }))
                .collect()
        });
        let shape = vec![values.len() / n.max(1), n];
        Some(Table { header, rows: lines.collect(), arrays: vec![("values".into(), shape, values)] })
    }
}

/// A token in a table, which neither breaks a line nor reads back as a number or as missing: a JSON string.
fn quoted(token: &str) -> String {
    serde_json::Value::from(token).to_string()
}

/// For a file of f32.
#[allow(clippy::cast_possible_truncation, reason = "numbers that were f32")]
fn short(x: f64) -> f32 {
    x as f32
}

fn statistics(stats: &Stats, baseline: Option<&Stats>) -> Table {
    let extreme = |e: Option<(f32, usize)>| cell(e.map_or(f32::NAN, |(x, _)| x));
    let column = |s: &Stats| {
        let moments = [s.mean, s.std].map(cell);
        let counts = [s.zeros, s.nan, s.infinite].map(|n| n.to_string());
        [moments.to_vec(), vec![extreme(s.min), extreme(s.max), cell(s.l2)], counts.to_vec()].concat()
    };
    let names = ["mean", "std", "min", "max", "l2", "zeros", "nans", "infinite"];
    let (now, before) = (column(stats), baseline.map(column));
    let row = |(i, name): (usize, &str)| {
        let before = before.as_ref().map(|column| column[i].clone());
        [name.to_string(), now[i].clone()].into_iter().chain(before).collect()
    };
    let header = ["statistic", "value"].into_iter().chain(baseline.map(|_| "baseline")).map(String::from);
    Table { header: header.collect(), rows: names.into_iter().enumerate().map(row).collect(), arrays: vec![] }
}

fn pictures(thumbnails: &Thumbnails, compare: Compare) -> Table {
    let (blocks, heads) = (thumbnails.heads.len(), thumbnails.heads.first().map_or(0, Vec::len));
    let shape = vec![blocks, heads, thumbnails.side, thumbnails.side];
    let all = thumbnails.heads.iter().flatten().flatten().copied().collect();
    let what = if compare == Compare::Difference { "furthest_from_0" } else { "max" };
    let name = if thumbnails.pool > 1 { format!("{what}_of_{0}x{0}", thumbnails.pool) } else { "values".into() };
    Table { arrays: vec![(name, shape, all)], ..Table::default() }
}

fn next_tokens(top: &[Prediction], logits: &[f32], baseline: Option<&[f32]>) -> Table {
    let header = ["rank", "id", "token", "logit", "probability", "baseline probability"];
    let rows = top.iter().enumerate().map(|(rank, p)| {
        let numbers = [cell(p.logit), cell(p.prob), cell(p.baseline_prob)];
        [vec![(rank + 1).to_string(), p.id.to_string(), quoted(&p.text)], numbers.to_vec()].concat()
    });
    let array = |name: &str, values: &[f32]| (name.to_string(), vec![values.len()], values.to_vec());
    let arrays = [Some(array("logits", logits)), baseline.map(|b| array("baseline", b))];
    let arrays = arrays.into_iter().flatten().collect();
    Table { header: header.map(String::from).to_vec(), rows: rows.collect(), arrays }
}

fn sweep(filling: &Filling, metric: Metric) -> Table {
    let columns = filling.grid.columns.len();
    let value = |cell: usize| filling.value(cell, metric).unwrap_or(f64::NAN);
    let header = std::iter::once(metric.name().to_string()).chain(filling.grid.columns.iter().map(|c| c.name()));
    let rows = filling.grid.rows.iter().enumerate().map(|(y, row)| {
        let values = (0..columns).map(|x| cell(value(y * columns + x)));
        std::iter::once(row.name()).chain(values).collect()
    });
    let shape = vec![filling.grid.rows.len(), columns];
    let values = (0..filling.measures.len()).map(|cell| short(value(cell))).collect();
    let arrays = vec![(metric.name().replace('-', "_"), shape, values)];
    Table { header: header.collect(), rows: rows.collect(), arrays }
}

fn head_scores(scores: &[Vec<HeadScores>]) -> Table {
    let titles = Score::ALL.iter().map(|score| score.title().to_string());
    let header = ["block".to_string(), "head".into()].into_iter().chain(titles).collect();
    let rows = scores.iter().enumerate().flat_map(|(block, row)| {
        row.iter().enumerate().map(move |(head, s)| {
            let numbers = Score::ALL.iter().map(move |score| cell(score.of(s)));
            [block.to_string(), head.to_string()].into_iter().chain(numbers).collect()
        })
    });
    let shape = vec![scores.len(), scores.first().map_or(0, Vec::len)];
    let array = |score: &Score| {
        let values = scores.iter().flatten().map(|s| short(score.of(s))).collect();
        (score.title().replace(' ', "_"), shape.clone(), values)
    };
    Table { header, rows: rows.collect(), arrays: Score::ALL.iter().map(array).collect() }
}

impl Table {
    /// Lines of cells apart by tabs, of which no cell holds any; what would steer a terminal is escaped.
    #[must_use]
    pub fn tab_separated(&self) -> String {
        let line = |cells: &Vec<String>| cells.iter().map(|text| escaped(text)).collect::<Vec<_>>().join("\t") + "\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_cells_stay_cells_and_steer_no_terminal() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        let rows = vec![row(["a\tb\n", "\u{1b}]52;c;\u{7}\u{9b}\u{202e}"]), row(["é", ""])];
        let table = Table { header: row(["token", "\r"]), rows, arrays: vec![] };
        let text = table.tab_separated();
        assert_eq!(text, "token\t\\r\na\\tb\\n\t\\u001b]52;c;\\u0007\\u009b\\u202e\né\t\n");
    }
}
