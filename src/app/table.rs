//! What the view shows as text and numbers, to be copied or saved.

use super::{Component, Extent, Focus, Score, State, Tab};
use crate::{
    analysis::{exact_number, short_number},
    engine::{Compare, View, lens_points},
    hooks::Axis,
};

/// A view's contents: a table of words, and arrays of numbers with their shapes.
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
            Tab::Lens => "logit-lens".into(),
            Tab::Attribution => format!("logit-attribution-pos{}", self.cell.0),
            Tab::Heads => "head-scores".into(),
        };
        let compare = match self.compare() {
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
                self.matrix().and_then(|(columns, values)| values.get(row * columns + column).copied()).map(exact_number)
            }
            (_, Tab::Attention) => {
                let at = |(columns, values): (usize, Vec<f32>)| values.get(self.cell.0 * columns + self.cell.1).copied();
                self.matrix().and_then(at).map(exact_number)
            }
            (_, Tab::Logits | Tab::Lens) => self.token_under_cursor().map(|token| token.text),
            (_, Tab::Attribution) => self.chosen_component().map(|c| short_number(self.attributed(c))),
            (_, Tab::Heads) => match self.view() {
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

    /// The view as a table; None while it is on its way, or where it is a picture only.
    #[must_use]
    pub fn table(&self) -> Option<Table> {
        match self.view()? {
            View::Hook { stats, baseline, .. } => {
                let row = |name: &str, of: &dyn Fn(&crate::analysis::Stats) -> f64| {
                    let baseline = baseline.as_ref().map(|s| of(s).to_string());
                    [name.to_string(), of(stats).to_string()].into_iter().chain(baseline).collect()
                };
                let extreme = |e: Option<(f32, usize)>| e.map_or(f64::NAN, |(x, _)| x.into());
                #[allow(clippy::cast_precision_loss, reason = "a count")]
                let count = |n: usize| n as f64;
                let header = ["statistic", "value"].into_iter().chain(baseline.as_ref().map(|_| "baseline"));
                Some(Table {
                    header: header.map(String::from).collect(),
                    rows: vec![
                        row("mean", &|s| s.mean),
                        row("std", &|s| s.std),
                        row("min", &|s| extreme(s.min)),
                        row("max", &|s| extreme(s.max)),
                        row("l2", &|s| s.l2),
                        row("zeros", &|s| count(s.zeros)),
                        row("nan", &|s| count(s.nan)),
                        row("infinite", &|s| count(s.infinite)),
                    ],
                    arrays: vec![],
                })
            }
            View::Values { .. } => {
                let slice = self.slice();
                self.matrix_table(&self.labels(slice.rows), &self.labels(slice.columns), slice.rows)
            }
            View::Attention { .. } => {
                let labels = self.labels(Axis::Query);
                self.matrix_table(&labels, &labels, Axis::Query)
            }
            View::Patterns(thumbnails) => {
                let (blocks, heads) = (thumbnails.heads.len(), thumbnails.heads.first().map_or(0, Vec::len));
                let shape = vec![blocks, heads, thumbnails.side, thumbnails.side];
                let all = thumbnails.heads.iter().flatten().flatten().copied().collect();
                let name = if thumbnails.pool > 1 { format!("max_of_{0}x{0}", thumbnails.pool) } else { "values".into() };
                Some(Table { arrays: vec![(name, shape, all)], ..Table::default() })
            }
            View::Logits { top, logits, baseline, .. } => {
                let header = ["rank", "id", "token", "logit", "probability", "baseline probability"];
                let rows = top.iter().enumerate().map(|(rank, p)| {
                    let number = |x: f64| x.to_string();
                    vec![
                        (rank + 1).to_string(),
                        p.id.to_string(),
                        p.text.clone(),
                        p.logit.to_string(),
                        number(p.prob),
                        number(p.baseline_prob),
                    ]
                });
                let mut arrays = vec![("logits".into(), vec![logits.len()], logits.clone())];
                arrays.extend(baseline.iter().map(|b| ("baseline".into(), vec![b.len()], b.clone())));
                Some(Table { header: header.map(String::from).to_vec(), rows: rows.collect(), arrays })
            }
            View::Lens { first: from, cells, baseline } => {
                let cells = if self.compare() == Compare::Baseline { baseline.as_ref().unwrap_or(cells) } else { cells };
                let header = ["stream", "position", "after", "token", "id", "probability", "kl from final"];
                let points = lens_points(self.schema.dims.n_layers);
                let rows = cells.iter().zip(&points).flat_map(|(row, point)| {
                    row.iter().zip(*from..).filter_map(move |(cell, pos)| {
                        let first = cell.top.first()?;
                        let after = self.tokens.get(pos)?.text.clone();
                        let (id, prob, kl) = (first.id.to_string(), first.prob.to_string(), cell.kl.to_string());
                        Some(vec![point.to_string(), pos.to_string(), after, first.text.clone(), id, prob, kl])
                    })
                });
                let shape = vec![cells.len(), cells.first().map_or(0, Vec::len)];
                #[allow(clippy::cast_possible_truncation, reason = "shown numbers")]
                let array = |name: &str, of: &dyn Fn(&crate::engine::LensCell) -> f64| {
                    (name.to_string(), shape.clone(), cells.iter().flatten().map(|cell| of(cell) as f32).collect())
                };
                let probability = |cell: &crate::engine::LensCell| cell.top.first().map_or(f64::NAN, |p| p.prob);
                let arrays = vec![array("probability", &probability), array("kl_from_final", &|cell| cell.kl)];
                Some(Table { header: header.map(String::from).to_vec(), rows: rows.collect(), arrays })
            }
            View::Attribution { parts, .. } => {
                let rows = self.components().into_iter().map(|c| vec![c.name(), self.attributed(c).to_string()]);
                let shape = vec![parts.heads.len(), parts.heads.first().map_or(0, Vec::len)];
                #[allow(clippy::cast_possible_truncation, reason = "shown numbers")]
                let of = |c: Component| self.attributed(c) as f32;
                let heads = (0..shape[0]).flat_map(|b| (0..shape[1]).map(move |h| Component::Head(b, h))).map(of).collect();
                let mlps = (0..parts.mlps.len()).map(|b| of(Component::Mlp(b))).collect();
                let rest = [Component::Embed, Component::Bias, Component::Constant].map(of).to_vec();
                let arrays = vec![
                    ("heads".into(), shape, heads),
                    ("mlps".into(), vec![parts.mlps.len()], mlps),
                    ("embed_bias_constant".into(), vec![3], rest),
                ];
                Some(Table { header: vec!["component".into(), "logit".into()], rows: rows.collect(), arrays })
            }
            View::Heads { scores, baseline } => {
                let scores = if self.compare() == Compare::Baseline { baseline.as_ref().unwrap_or(scores) } else { scores };
                let titles = Score::ALL.iter().map(|score| score.title().to_string());
                let header = ["block".to_string(), "head".into()].into_iter().chain(titles).collect();
                let rows = scores.iter().enumerate().flat_map(|(block, row)| {
                    row.iter().enumerate().map(move |(head, s)| {
                        let numbers = Score::ALL.iter().map(move |score| score.of(s).to_string());
                        [block.to_string(), head.to_string()].into_iter().chain(numbers).collect()
                    })
                });
                let shape = vec![scores.len(), scores.first().map_or(0, Vec::len)];
                #[allow(clippy::cast_possible_truncation, reason = "shown numbers")]
                let array = |score: &Score| {
                    let values = scores.iter().flatten().map(|s| score.of(s) as f32).collect();
                    (score.title().replace(' ', "_"), shape.clone(), values)
                };
                Some(Table { header, rows: rows.collect(), arrays: Score::ALL.iter().map(array).collect() })
            }
            View::Nothing(_) => None,
        }
    }

    fn matrix_table(&self, rows: &[String], columns: &[String], axis: Axis) -> Option<Table> {
        let (n, values) = self.matrix()?;
        let header = std::iter::once(axis.to_string()).chain(columns.iter().take(n).cloned()).collect();
        let lines = values.chunks(n.max(1)).zip(rows).map(|(line, label)| {
            std::iter::once(label.clone()).chain(line.iter().map(|x| exact_number(*x))).collect()
        });
        let shape = vec![values.len() / n.max(1), n];
        Some(Table { header, rows: lines.collect(), arrays: vec![("values".into(), shape, values)] })
    }
}

impl Table {
    /// Lines of cells apart by tabs; what would break a line or a cell is escaped as in a string.
    #[must_use]
    pub fn tab_separated(&self) -> String {
        let cell = |text: &String| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
        let line = |cells: &Vec<String>| cells.iter().map(cell).collect::<Vec<_>>().join("\t") + "\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }
}
