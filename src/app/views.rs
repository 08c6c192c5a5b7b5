//! The views of the selected hook, and the ways in which each can be seen.

use std::{fmt, str::FromStr};

use crate::{
    analysis::Score,
    engine::{Attribution, Compare, Map, Metric, Patch, WhichAttention},
    hooks::{Axis, BlockHook, HookPoint, Op},
    names,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Shape,
    Values,
    Attention,
    Logits,
    Lens,
    Attribution,
    Heads,
    Sweep,
    Training,
}

impl Tab {
    pub const ALL: [Self; 9] = [
        Self::Shape,
        Self::Values,
        Self::Attention,
        Self::Logits,
        Self::Lens,
        Self::Attribution,
        Self::Heads,
        Self::Sweep,
        Self::Training,
    ];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Shape => "Shape",
            Self::Values => "Values",
            Self::Attention => "Attention",
            Self::Logits => "Logits",
            Self::Lens => "Lens",
            Self::Attribution => "Attribution",
            Self::Heads => "Heads",
            Self::Sweep => "Sweep",
            Self::Training => "Training",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Values => "values",
            Self::Attention => "attention",
            Self::Logits => "logits",
            Self::Lens => "lens",
            Self::Attribution => "attribution",
            Self::Heads => "heads",
            Self::Sweep => "sweep",
            Self::Training => "training",
        }
    }

    /// The titles of all tabs as a border of `width` columns has room for them, each with the column it begins at.
    #[must_use]
    pub fn titles(self, width: usize) -> Vec<(Self, &'static str, usize)> {
        let needs = |gap: usize, cut: usize| -> usize {
            Self::ALL.iter().map(|tab| tab.title().len().min(if *tab == self { 99 } else { cut }) + gap).sum()
        };
        let forms = [(2, 99), (1, 99), (1, 5), (1, 4), (1, 3), (1, 2), (1, 1)];
        let (gap, cut) = forms.into_iter().find(|(gap, cut)| needs(*gap, *cut) <= width).unwrap_or((1, 1));
        let mut column = gap.min(2);
        let place = |tab: Self| {
            let title = tab.title();
            let title = if tab == self { title } else { &title[..title.len().min(cut)] };
            let at = column;
            column += title.len() + gap;
            (tab, title, at)
        };
        Self::ALL.into_iter().map(place).collect()
    }
}

/// Its name in commands and files.
impl fmt::Display for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tab {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find("view", name, &Self::ALL, Self::name)
    }
}

/// How much attention is on the screen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One head, large.
    Head,
    /// The heads of a block beside each other.
    Block,
    /// Every head of the model.
    Model,
}

impl Extent {
    pub const ALL: [Self; 3] = [Self::Head, Self::Block, Self::Model];
}

/// How much is ablated of what is under the view's cursor, in Values and Attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    Cell,
    Row,
    Column,
    /// The rows and columns that are on the screen: one index of the third axis.
    Plane,
    /// The hook; of Attention, the head.
    Whole,
}

impl Grain {
    pub const ALL: [Self; 5] = [Self::Cell, Self::Row, Self::Column, Self::Plane, Self::Whole];
}

/// What the lens is coloured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LensBy {
    Probability,
    /// KL(final layer || here).
    Kl,
}

/// A part of a logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Embed,
    Head(usize, usize),
    Mlp(usize),
    /// Every `b_O`.
    Bias,
    /// What no part of the residual stream gives: the biases of the unembedding and of the final LayerNorm.
    Constant,
    /// What edits put in past the components: into the residual stream itself, or behind it.
    Remainder,
}

impl Component {
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Embed => "embed".into(),
            Self::Head(block, head) => format!("L{block}H{head}"),
            Self::Mlp(block) => format!("{block}_mlp_out"),
            Self::Bias => "bias (every b_O)".into(),
            Self::Constant => "constant (biases)".into(),
            Self::Remainder => "past the components".into(),
        }
    }

    /// The hook that holds it.
    #[must_use]
    pub fn point(self) -> Option<HookPoint> {
        match self {
            Self::Embed => Some(HookPoint::Embed),
            Self::Head(block, _) => Some(HookPoint::Block(block, BlockHook::Z)),
            Self::Mlp(block) => Some(HookPoint::Block(block, BlockHook::MlpOut)),
            Self::Bias | Self::Constant | Self::Remainder => None,
        }
    }

    /// Its part of an attribution.
    #[must_use]
    pub fn of(self, parts: &Attribution) -> f64 {
        match self {
            Self::Embed => parts.embed,
            Self::Head(block, head) => {
                parts.heads.get(block).and_then(|row| row.get(head)).copied().unwrap_or(f64::NAN)
            }
            Self::Mlp(block) => parts.mlps.get(block).copied().unwrap_or(f64::NAN),
            Self::Bias => parts.bias,
            Self::Constant => parts.constant,
            Self::Remainder => parts.remainder(),
        }
    }

    /// Every part of an attribution; what is left over only where it is more than rounding.
    #[must_use]
    pub fn all(parts: &Attribution) -> Vec<Self> {
        let heads = parts.heads.iter().enumerate();
        let heads = heads.flat_map(|(block, row)| (0..row.len()).map(move |head| Self::Head(block, head)));
        let mlps = (0..parts.mlps.len()).map(Self::Mlp);
        let mut all: Vec<Self> = heads.chain(mlps).chain([Self::Embed, Self::Bias, Self::Constant]).collect();
        let largest = all.iter().map(|c| c.of(parts).abs()).fold(parts.logit.abs(), f64::max);
        if parts.remainder().abs() > 1e-4 * largest {
            all.push(Self::Remainder);
        }
        all
    }
}

/// How each view is seen; each setting is kept while one looks elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Looks {
    pub which: WhichAttention,
    pub extent: Extent,
    /// How close a heatmap is looked at: 0 is all of it, then every value around the cursor, then with numbers.
    pub zoom: u8,
    /// Which two axes the values are shown along: number of the pair.
    pub pair: usize,
    /// Values as colours rather than numbers.
    pub colours: bool,
    /// The row by whose values the columns are in order.
    pub order: Option<usize>,
    pub lens_by: LensBy,
    /// The lens's list of the likeliest tokens takes the room of the grid.
    pub lens_list: bool,
    pub score: Score,
    /// Attribution as a map of layers and heads rather than a list of bars.
    pub by_layer: bool,
    pub compare: Compare,
    pub map: Map,
    /// The number that the sweep shows, where it was chosen; [`Self::metric`] otherwise.
    pub chosen_metric: Option<Metric>,
    pub grain: Grain,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            which: WhichAttention::Pattern,
            extent: Extent::Head,
            zoom: 0,
            pair: 0,
            colours: false,
            order: None,
            lens_by: LensBy::Probability,
            lens_list: false,
            score: Score::PreviousToken,
            by_layer: false,
            compare: Compare::Edited,
            map: Map::Ablate(Op::Set(0.0)),
            chosen_metric: None,
            grain: Grain::Cell,
        }
    }
}

impl Looks {
    /// The number that the sweep shows.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.chosen_metric.unwrap_or(Metric::Kl)
    }

    /// The metric that an experiment has to name: one that was chosen, or that is not what a sweep measures by itself.
    pub(super) fn written_metric(&self) -> Option<Metric> {
        Some(self.metric()).filter(|metric| self.chosen_metric.is_some() || *metric != self.map.usual_metric())
    }
}

/// The maps that can be swept: those that patch only where there is a contrast prompt.
#[must_use]
pub fn maps(contrast: bool) -> Vec<Map> {
    let ablations = [Op::Set(0.0), Op::Mean].map(Map::Ablate);
    let patches = [Map::Ablate(Op::Patch)].into_iter().chain(Patch::ALL.map(Map::Patch));
    ablations.into_iter().chain(patches.filter(|_| contrast)).collect()
}

/// Columns of the screen that the lens gives to the names of its rows, and to each position.
pub const LENS: (usize, usize) = (9, 9);

/// The pairs of axes that an activation can be shown along, rows before columns, the usual one first; at least one.
#[must_use]
pub fn pairs(axes: &[Axis]) -> Vec<(Axis, Axis)> {
    match axes {
        [] => vec![(Axis::One, Axis::One)],
        [only] => vec![(*only, Axis::One)],
        [a, b] | [a, b, Axis::One] => vec![(*a, *b)],
        [Axis::Head, b, c] => vec![(*b, *c), (Axis::Head, *b), (Axis::Head, *c)],
        // no activation has more than three
        [a, b, c, ..] => vec![(*a, *c), (*a, *b), (*b, *c)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::{Dims, Schema},
        model::ACTIVATIONS,
    };

    #[test]
    fn every_activation_has_rows_and_columns_and_one_axis_beside_them_at_most() {
        for parallel in [false, true] {
            let mut schema = Schema::new(Dims {
                n_layers: 1,
                n_heads: 2,
                d_head: 4,
                d_model: 8,
                d_mlp: 16,
                d_vocab: 50,
                parallel,
                activation: ACTIVATIONS[0].words,
            });
            let opt_in = schema.all_points().into_iter().filter(|point| point.is_opt_in()).collect();
            for enabled in [std::collections::BTreeSet::new(), opt_in] {
                schema.set_enabled(enabled);
                for point in schema.all_points() {
                    let axes = schema.axes(point);
                    assert!((1..=3).contains(&axes.len()), "{point}: {axes:?}");
                    for (rows, columns) in pairs(&axes) {
                        let beside = axes.iter().filter(|axis| **axis != rows && **axis != columns).count();
                        assert!(rows != columns && beside <= 1, "{point}: {rows}, {columns}");
                    }
                }
            }
        }
    }

    #[test]
    fn tabs_fit_where_they_can() {
        for tab in Tab::ALL {
            for width in 28..120 {
                let titles = tab.titles(width);
                let (_, last, at) = titles[titles.len() - 1];
                assert!(at + last.len() <= width, "{tab:?} in {width}");
                assert!(titles.windows(2).all(|w| w[0].2 + w[0].1.len() < w[1].2));
            }
            assert_eq!(tab.titles(120)[5].1, "Attribution");
        }
    }
}
