//! The maps that a sweep fills in: which intervention each cell is.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{Measure, Question, Swept};
use crate::{
    hooks::{Axis, BlockHook, Edit, HookPoint, Needs, Op, Schema, random_bits},
    names,
};

/// A map of interventions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// Every head's output (`hook_z`) and every MLP's, one at a time: layers by heads, the MLP at the end of its row.
    Ablate(Op),
    /// The contrast prompt's values, one place at a time.
    Patch(Patch),
}

/// What is patched in; each is named as in `transformer_lens.patching` (`get_act_patch_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Layers by positions.
    ResidPre,
    AttnOut,
    MlpOut,
    /// Layers by heads.
    HeadOut,
    HeadQ,
    HeadK,
    HeadV,
    HeadPattern,
    /// Heads of every layer by positions.
    HeadOutByPos,
    HeadQByPos,
    HeadKByPos,
    HeadVByPos,
    HeadPatternByPos,
}

impl Patch {
    pub const ALL: [Self; 13] = [
        Self::ResidPre,
        Self::AttnOut,
        Self::MlpOut,
        Self::HeadOut,
        Self::HeadQ,
        Self::HeadK,
        Self::HeadV,
        Self::HeadPattern,
        Self::HeadOutByPos,
        Self::HeadQByPos,
        Self::HeadKByPos,
        Self::HeadVByPos,
        Self::HeadPatternByPos,
    ];

    /// Its name in `transformer_lens.patching`, without `get_act_patch_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ResidPre => "resid_pre",
            Self::AttnOut => "attn_out",
            Self::MlpOut => "mlp_out",
            Self::HeadOut => "attn_head_out_all_pos",
            Self::HeadQ => "attn_head_q_all_pos",
            Self::HeadK => "attn_head_k_all_pos",
            Self::HeadV => "attn_head_v_all_pos",
            Self::HeadPattern => "attn_head_pattern_all_pos",
            Self::HeadOutByPos => "attn_head_out_by_pos",
            Self::HeadQByPos => "attn_head_q_by_pos",
            Self::HeadKByPos => "attn_head_k_by_pos",
            Self::HeadVByPos => "attn_head_v_by_pos",
            Self::HeadPatternByPos => "attn_head_pattern_by_pos",
        }
    }

    fn hook(self) -> BlockHook {
        match self {
            Self::ResidPre => BlockHook::ResidPre,
            Self::AttnOut => BlockHook::AttnOut,
            Self::MlpOut => BlockHook::MlpOut,
            Self::HeadOut | Self::HeadOutByPos => BlockHook::Z,
            Self::HeadQ | Self::HeadQByPos => BlockHook::Q,
            Self::HeadK | Self::HeadKByPos => BlockHook::K,
            Self::HeadV | Self::HeadVByPos => BlockHook::V,
            Self::HeadPattern | Self::HeadPatternByPos => BlockHook::Pattern,
        }
    }

    fn by_head(self) -> bool {
        !matches!(self, Self::ResidPre | Self::AttnOut | Self::MlpOut)
    }

    fn by_pos(self) -> bool {
        !matches!(self, Self::HeadOut | Self::HeadQ | Self::HeadK | Self::HeadV | Self::HeadPattern)
    }
}

impl FromStr for Patch {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find("patching map", name.trim_start_matches("get_act_patch_"), &Self::ALL, Self::name)
    }
}

/// The operation, or the patching map's name.
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ablate(op) => write!(f, "{op}"),
            Self::Patch(patch) => f.write_str(patch.name()),
        }
    }
}

impl FromStr for Map {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(op) => Ok(Self::Ablate(op)),
            Err(_) => text.parse().map(Self::Patch).map_err(|e| format!("{e}; or an operation such as `= 0`")),
        }
    }
}

/// What a column of a map stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Head(usize),
    Mlp,
    Position(usize),
}

impl Column {
    /// `H3`, `mlp`, `pos7`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Head(head) => format!("H{head}"),
            Self::Mlp => "mlp".into(),
            Self::Position(pos) => format!("pos{pos}"),
        }
    }
}

/// What a row of a map stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub layer: usize,
    pub head: Option<usize>,
}

impl Row {
    /// `L2`, `L2H3`.
    #[must_use]
    pub fn name(self) -> String {
        self.head.map_or_else(|| format!("L{}", self.layer), |head| format!("L{}H{head}", self.layer))
    }
}

/// A map laid out: a cell is one edit, counted row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub map: Map,
    pub rows: Vec<Row>,
    pub columns: Vec<Column>,
}

impl Grid {
    /// How many cells it has.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The intervention that a cell is; None beyond the last.
    #[must_use]
    pub fn edit(&self, cell: usize) -> Option<Edit> {
        let row = self.rows.get(cell / self.columns.len().max(1))?;
        let column = self.columns[cell % self.columns.len()];
        let hook = match (self.map, column) {
            (Map::Ablate(_), Column::Mlp) => BlockHook::MlpOut,
            (Map::Ablate(_), _) => BlockHook::Z,
            (Map::Patch(patch), _) => patch.hook(),
        };
        let pos = if hook == BlockHook::Pattern { Axis::Query } else { Axis::Pos };
        let along = match column {
            Column::Head(head) => Some((Axis::Head, head)),
            Column::Position(at) => Some((pos, at)),
            Column::Mlp => None,
        };
        let places: Vec<(Axis, usize)> = row.head.map(|head| (Axis::Head, head)).into_iter().chain(along).collect();
        let op = if let Map::Ablate(op) = self.map { op } else { Op::Patch };
        Some(Edit::at(HookPoint::Block(row.layer, hook), &places, op))
    }
}

impl Map {
    /// Its name: the operation, or the patching map's.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Ablate(op) => format!("every head and MLP {op}"),
            Self::Patch(patch) => patch.name().into(),
        }
    }

    /// Whether values are put in from the contrast prompt, so that measures are taken between the two prompts.
    #[must_use]
    pub fn is_patch(self) -> bool {
        matches!(self, Self::Patch(_))
    }

    /// Whether a cell takes values from the contrast prompt.
    #[must_use]
    pub fn patches(self) -> bool {
        match self {
            Self::Ablate(op) => op.needs() == Some(Needs::Contrast),
            Self::Patch(_) => true,
        }
    }

    /// What a sweep measures unless another metric is chosen.
    #[must_use]
    pub fn usual_metric(self) -> Metric {
        if self.is_patch() { Metric::LogitDiff } else { Metric::Kl }
    }

    /// Lay the map out for a model and a prompt of `n_pos` tokens.
    #[must_use]
    pub fn grid(self, schema: &Schema, n_pos: usize) -> Grid {
        let (layers, heads) = (schema.dims.n_layers, schema.dims.n_heads);
        let (rows, columns): (Vec<_>, Vec<_>) = match self {
            Self::Ablate(_) => (
                (0..layers).map(|layer| Row { layer, head: None }).collect(),
                (0..heads).map(Column::Head).chain([Column::Mlp]).collect(),
            ),
            Self::Patch(patch) => {
                let of_heads = patch.by_head() && patch.by_pos();
                let rows = (0..layers).flat_map(|layer| match of_heads {
                    true => (0..heads).map(|head| Row { layer, head: Some(head) }).collect::<Vec<_>>(),
                    false => vec![Row { layer, head: None }],
                });
                let columns = if patch.by_pos() { n_pos } else { heads };
                let column = |at| if patch.by_pos() { Column::Position(at) } else { Column::Head(at) };
                (rows.collect(), (0..columns).map(column).collect())
            }
        };
        Grid { map: self, rows, columns }
    }
}

/// The number that a map shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// KL(without || with the intervention), in nats.
    Kl,
    /// How much the logit difference changes; when patching, normalised: 0 as without the patch, 1 as in the contrast run
    /// (Wang et al., "Interpretability in the Wild", 2022).
    LogitDiff,
    /// How much the target's probability changes.
    Prob,
}

impl Metric {
    pub const ALL: [Self; 3] = [Self::Kl, Self::LogitDiff, Self::Prob];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kl => "kl",
            Self::LogitDiff => "logit-diff",
            Self::Prob => "prob",
        }
    }

    /// Of a measure, against the one without the intervention and, when patching, the contrast run's.
    #[must_use]
    pub fn of(self, measure: &Measure, before: &Measure, contrast: Option<&Measure>) -> f64 {
        let diff = measure.logit_diff - before.logit_diff;
        // adding 0 leaves no -0 behind
        0.0 + match (self, contrast) {
            (Self::Kl, _) => measure.kl,
            (Self::LogitDiff, Some(clean)) => diff / (clean.logit_diff - before.logit_diff),
            (Self::LogitDiff, None) => diff,
            (Self::Prob, _) => measure.prob - before.prob,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find("metric", name, &Self::ALL, Self::name)
    }
}

/// How strong a set of heads is beside random ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The heads that are judged, as (layer, head).
    pub heads: Vec<(usize, usize)>,
    /// The metric with all of them ablated at once.
    pub effect: f64,
    /// The metric with as many random heads of the same layers, one for each seed.
    pub random: Vec<f64>,
}

impl Comparison {
    /// Mean and sample standard deviation of the random sets.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of seeds")]
    pub fn spread(&self) -> (f64, f64) {
        let n = self.random.len() as f64;
        let mean = self.random.iter().sum::<f64>() / n;
        let squares: f64 = self.random.iter().map(|x| (x - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0).max(1.0)).sqrt())
    }
}

/// The strongest heads of an ablation map, as (layer, head).
#[must_use]
pub fn strongest(grid: &Grid, values: &[f64], count: usize) -> Vec<(usize, usize)> {
    let places = grid.rows.iter().flat_map(|row| grid.columns.iter().map(move |column| (row.layer, *column)));
    let heads = places.zip(values).filter_map(|((layer, column), value)| match column {
        Column::Head(head) if value.is_finite() => Some((layer, head, *value)),
        _ => None,
    });
    let mut heads: Vec<(usize, usize, f64)> = heads.collect();
    heads.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    // those that pull the other way would take from what the rest does together
    let up = heads.first().is_some_and(|first| first.2 > 0.0);
    heads.retain(|head| (head.2 > 0.0) == up);
    heads.into_iter().take(count).map(|(layer, head, _)| (layer, head)).collect()
}

/// Edits that ablate heads at once.
#[must_use]
pub fn ablate_heads(heads: &[(usize, usize)], op: Op) -> Vec<Edit> {
    let edit =
        |(layer, head): &(usize, usize)| Edit::at(HookPoint::Block(*layer, BlockHook::Z), &[(Axis::Head, *head)], op);
    heads.iter().map(edit).collect()
}

/// As many heads of the same layers, chosen at random; others than the given ones as far as a layer has any.
#[must_use]
pub fn random_heads(heads: &[(usize, usize)], n_heads: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut drawn = 0;
    let mut layers: Vec<usize> = heads.iter().map(|(layer, _)| *layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut chosen = Vec::new();
    for layer in layers {
        let taken = |head: &usize| heads.contains(&(layer, *head));
        let count = heads.iter().filter(|(l, _)| *l == layer).count();
        let (mut others, mut same): (Vec<usize>, Vec<usize>) = (0..n_heads).partition(|head| !taken(head));
        for _ in 0..count {
            let pool = if others.is_empty() { &mut same } else { &mut others };
            let at = usize::try_from(random_bits(seed, drawn) % pool.len().max(1) as u64).unwrap_or(0);
            drawn += 1;
            chosen.push((layer, pool.swap_remove(at)));
        }
    }
    chosen
}

impl super::Engine {
    /// The strongest `count` heads of a map, ablated at once, beside as many random ones of the same layers.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    #[allow(clippy::too_many_arguments, reason = "everything a comparison depends on")]
    pub fn compare_heads(
        &mut self,
        spec: &super::Spec,
        heads: &[(usize, usize)],
        op: Op,
        metric: Metric,
        question: Question,
        seeds: u64,
        control: super::Control<'_>,
    ) -> Result<Comparison, crate::hooks::RunError> {
        let n_heads = self.schema.dims.n_heads;
        // a layer has only so many sets of heads, and each counts once
        let mut sets: Vec<Vec<(usize, usize)>> =
            vec![heads.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()];
        for seed in 1..=20 * seeds {
            let set: BTreeSet<(usize, usize)> = random_heads(heads, n_heads, seed).into_iter().collect();
            let set = set.into_iter().collect();
            if !sets.contains(&set) && sets.len() <= usize::try_from(seeds).unwrap_or(usize::MAX) {
                sets.push(set);
            }
        }
        let random = sets[1..].iter().map(|heads| ablate_heads(heads, op));
        let cells: Vec<Vec<Edit>> = std::iter::once(ablate_heads(heads, op)).chain(random).collect();
        let (mut measures, mut begun) = (vec![None; cells.len()], None);
        self.sweep(spec, &cells, question, control, &mut |swept| match swept {
            Swept::Begun { before, .. } => begun = Some(before),
            Swept::Cells(cells) => {
                for (number, measure) in cells {
                    measures[number] = Some(measure);
                }
            }
        })?;
        let value = |m: &Option<Measure>| {
            m.as_ref().zip(begun.as_ref()).map_or(f64::NAN, |(m, before)| metric.of(m, before, None))
        };
        let mut values = measures.iter().map(value);
        let effect = values.next().unwrap_or(f64::NAN);
        Ok(Comparison { heads: heads.to_vec(), effect, random: values.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_heads_are_of_the_same_layers_and_others_where_there_are_any() {
        let heads = [(0, 1), (0, 3), (2, 2)];
        for seed in 0..50 {
            let random = random_heads(&heads, 4, seed);
            assert_eq!(random.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [0, 0, 2]);
            assert!(random.iter().all(|head| !heads.contains(head)) && random[0] != random[1], "{random:?}");
        }
        // three of four: one is new, the rest can't be
        let random = random_heads(&[(0, 0), (0, 1), (0, 2)], 4, 1);
        assert_eq!(random.iter().filter(|(_, head)| *head == 3).count(), 1);
    }
}
