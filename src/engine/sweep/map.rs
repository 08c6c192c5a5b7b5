//! The maps that a sweep fills in, and the intervention of each cell.

use std::{fmt, str::FromStr};

use super::Metric;
use crate::{
    hooks::{Axis, BlockHook, Edit, HookPoint, Needs, Op, Schema},
    suggest,
};

/// A map of interventions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// Every head's output (`hook_z`) and every MLP's, one at a time: layers by heads, with the MLP at the end of its
    /// row.
    Ablate(Op),
    /// The contrast prompt's values, one place at a time.
    Patch(Patch),
}

/// What is patched in, named as in `transformer_lens.patching` (`get_act_patch_*`).
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
        suggest::by_name("patching map", name.trim_start_matches("get_act_patch_"), &Self::ALL, Self::name)
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

/// The meaning of a column of a map.
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

/// The meaning of a row of a map.
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

/// A map laid out: each cell is one edit, numbered row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub map: Map,
    pub rows: Vec<Row>,
    pub columns: Vec<Column>,
}

impl Grid {
    /// The number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The name of a cell: `L1H2`, `L1 mlp`, `L1H2 pos3`.
    #[must_use]
    pub fn cell_name(&self, cell: usize) -> String {
        let columns = self.columns.len().max(1);
        let (row, column) = (self.rows.get(cell / columns), self.columns.get(cell % columns));
        let (row, column) = (row.map(|row| row.name()), column.map(|column| (*column, column.name())));
        match (row, column) {
            (Some(row), Some((Column::Head(_), head))) => format!("{row}{head}"),
            (Some(row), Some((Column::Mlp | Column::Position(_), other))) => format!("{row} {other}"),
            (row, None) => row.unwrap_or_default(),
            (None, Some((_, column))) => column,
        }
    }

    /// The intervention of a cell; None beyond the last.
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

    /// Whether values are patched in from the contrast prompt, so that measures are scaled between the two prompts.
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
