use std::{collections::BTreeMap, sync::Arc};

use crate::{
    analysis::HeadScores,
    engine::{Look, Spec, Summary, View, Want, WhichAttention},
    hooks::{Axis, AxisSelection, BlockHook, Edit, HookPoint, Op, Schema, Selection, Slot},
};

use super::{Areas, Editor, Finder, PromptLine, Tree, areas, editor::Setting};

/// A token of the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: u32,
    pub text: String,
}

/// What the header says of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    pub name: String,
    pub revision: Option<String>,
    /// `processed` or `unprocessed`.
    pub processing: &'static str,
    /// LayerNorm's weights were folded into what reads it.
    pub folded: bool,
    pub device: String,
    /// Why this is not the model that was meant, if it is not.
    pub note: Option<String>,
}

/// The views of the selected hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Shape,
    Attention,
    Logits,
    Lens,
    Heads,
}

impl Tab {
    pub const ALL: [Self; 5] = [Self::Shape, Self::Attention, Self::Logits, Self::Lens, Self::Heads];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Shape => "Shape",
            Self::Attention => "Attention",
            Self::Logits => "Logits",
            Self::Lens => "Lens",
            Self::Heads => "Heads",
        }
    }
}

/// What the map of heads is coloured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    Induction,
    PreviousToken,
    DuplicateToken,
    FirstToken,
    Entropy,
}

impl Score {
    pub const ALL: [Self; 5] =
        [Self::PreviousToken, Self::Induction, Self::DuplicateToken, Self::FirstToken, Self::Entropy];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Induction => "induction",
            Self::PreviousToken => "previous token",
            Self::DuplicateToken => "duplicate token",
            Self::FirstToken => "first token",
            Self::Entropy => "entropy (nats)",
        }
    }

    /// Its value among a head's scores.
    #[must_use]
    pub fn of(self, scores: &HeadScores) -> f64 {
        match self {
            Self::Induction => scores.induction,
            Self::PreviousToken => scores.previous_token,
            Self::DuplicateToken => scores.duplicate_token,
            Self::FirstToken => scores.first_token,
            Self::Entropy => scores.entropy,
        }
    }
}

/// The panel that the movement keys move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Tree,
    View,
    Edits,
}

/// An edit in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct EditLine {
    pub edit: Edit,
    pub on: bool,
}

/// How far the current run is.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Blocks entered, and blocks in all (0 before the first report).
    Running {
        block: usize,
        blocks: usize,
    },
    Done,
    Failed(String),
    Cancelled,
}

/// A line at the bottom of the screen until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub error: bool,
}

/// Everything the screen is drawn from.
#[derive(Clone, Debug)]
pub struct State {
    pub model: ModelInfo,
    pub schema: Schema,
    pub tokens: Vec<Token>,
    pub contrast: Option<Vec<u32>>,
    pub size: (u16, u16),

    pub tree: Tree,
    pub tab: Tab,
    pub focus: Focus,
    /// First line of the shape view that is shown.
    pub scroll: u16,
    pub head: usize,
    pub which: WhichAttention,
    /// Query and key under the cursor of the attention view.
    pub cell: (usize, usize),
    /// Row of the lens: number of the block that the stream enters, or of layers for the last one's output.
    pub lens_layer: usize,
    pub score: Score,
    /// First row of the list of next tokens.
    pub logits_row: usize,
    pub edits: Vec<EditLine>,
    pub edit_cursor: usize,
    /// Lists of edits to go back to with `u`, and forward to with Ctrl-R.
    pub(super) undone: History,
    pub editor: Option<Editor>,
    pub prompt: Option<PromptLine>,
    pub(super) prompts: Prompts,
    pub finder: Option<Finder>,
    /// The last search, for `n` and `N`, in execution order.
    pub found: Vec<HookPoint>,
    pub help: Option<u16>,
    pub message: Option<Message>,

    /// Number of the current run.
    pub run: u64,
    pub phase: Phase,
    /// The latest finished run: its number, its edits and what it showed. While a newer one is under way, everything on
    /// the screen is still of this one.
    pub shown: Option<Shown>,
    /// The latest answer to a look, with the run it is of.
    pub seen: Option<(u64, Look, Arc<View>)>,
    /// What was asked for last.
    pub(super) asked: Option<(u64, Option<Look>)>,
}

/// The text of the prompt, and of those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompts {
    pub now: String,
    pub earlier: Vec<String>,
}

/// Lists of edits before and after the present one.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub before: Vec<Vec<EditLine>>,
    pub after: Vec<Vec<EditLine>>,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Shown {
    pub run: u64,
    pub spec: Spec,
    pub summary: Arc<Summary>,
    /// Relative change by hook.
    pub changes: BTreeMap<HookPoint, f64>,
}

impl State {
    #[must_use]
    pub fn new(
        model: ModelInfo,
        schema: Schema,
        prompt: String,
        tokens: Vec<Token>,
        spec: &Spec,
        size: (u16, u16),
    ) -> Self {
        let (tree, schema_layers) = (Tree::new(&schema), schema.dims.n_layers);
        let last = tokens.len().saturating_sub(1);
        let prompts = Prompts { now: prompt, earlier: Vec::new() };
        let mut state = Self {
            model,
            schema,
            tokens,
            contrast: spec.contrast.clone(),
            size,
            tree,
            tab: Tab::Shape,
            focus: Focus::Tree,
            scroll: 0,
            head: 0,
            which: WhichAttention::Pattern,
            cell: (last, 0),
            lens_layer: schema_layers,
            score: Score::PreviousToken,
            logits_row: 0,
            edits: spec.edits.iter().map(|edit| EditLine { edit: edit.clone(), on: true }).collect(),
            edit_cursor: 0,
            undone: History::default(),
            editor: None,
            prompt: None,
            prompts,
            finder: None,
            found: Vec::new(),
            help: None,
            message: None,
            run: 1,
            phase: Phase::Running { block: 0, blocks: 0 },
            shown: None,
            seen: None,
            asked: None,
        };
        state.settle();
        state
    }

    /// The hook that the views are about.
    #[must_use]
    pub fn point(&self) -> HookPoint {
        self.tree.selected().point()
    }

    /// The block whose attention is shown: the selection's, or the one next to it in the pass.
    #[must_use]
    pub fn block(&self) -> usize {
        match self.point() {
            HookPoint::Block(block, _) => block,
            HookPoint::Tokens | HookPoint::Embed => 0,
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => self.schema.dims.n_layers.saturating_sub(1),
        }
    }

    /// What the current view needs from the worker.
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        match self.tab {
            Tab::Shape => Some(Look::Hook(self.point())),
            Tab::Attention => Some(Look::Attention { block: self.block(), head: self.head, which: self.which }),
            Tab::Logits => Some(Look::Logits { pos: self.cell.0 }),
            Tab::Lens => Some(Look::Lens),
            Tab::Heads => Some(Look::Heads),
        }
    }

    /// The answer to the current look, of the run that is on the screen; None while it is on its way.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        let (run, look, view) = self.seen.as_ref()?;
        let of_shown = self.shown.as_ref().is_some_and(|shown| shown.run == *run);
        (of_shown && self.look() == Some(*look)).then_some(view)
    }

    /// The edits that are switched on.
    #[must_use]
    pub fn active_edits(&self) -> Vec<Edit> {
        self.edits.iter().filter(|line| line.on).map(|line| line.edit.clone()).collect()
    }

    /// Where the panels lie.
    #[must_use]
    pub fn areas(&self) -> Areas {
        areas(self.size.0, self.size.1, self.focus)
    }

    /// The edits that there is room for, by number.
    #[must_use]
    pub fn visible_edits(&self) -> std::ops::Range<usize> {
        let areas = self.areas();
        let fit = (usize::from(areas.edits.height.saturating_sub(2)) / areas.rows_per_edit()).max(1);
        let first = (self.edit_cursor + 1).saturating_sub(fit);
        first..(first + fit).min(self.edits.len())
    }

    /// What an edit is checked against.
    pub(super) fn setting(&self) -> Setting<'_> {
        Setting { schema: &self.schema, n_pos: self.tokens.len(), contrast: self.contrast.as_ref().map(Vec::len) }
    }

    /// What is to be run.
    #[must_use]
    pub fn spec(&self) -> Spec {
        Spec {
            tokens: self.tokens.iter().map(|t| t.id).collect(),
            contrast: self.contrast.clone(),
            edits: self.active_edits(),
        }
    }

    /// The request that describes all that is wanted now: of the current run, or of the one before if that came to nothing.
    #[must_use]
    pub fn want(&self) -> Want {
        let look = self.look();
        match &self.shown {
            Some(shown) if matches!(self.phase, Phase::Failed(_) | Phase::Cancelled) => {
                Want { run: shown.run, spec: shown.spec.clone(), look }
            }
            _ => Want { run: self.run, spec: self.spec(), look },
        }
    }

    /// Whether an answer that was asked for is not here yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
            || (self.phase == Phase::Done && self.look().is_some() && self.view().is_none())
    }

    /// What `a` would do: zero the selected head's output where heads are on the screen, else the whole hook.
    #[must_use]
    pub fn ablation(&self) -> Edit {
        let point = self.point();
        if !matches!(self.tab, Tab::Attention | Tab::Heads) {
            return point.into();
        }
        let head = i64::try_from(self.head).unwrap_or(0);
        let selection = Selection(vec![AxisSelection { axis: Axis::Head, slots: vec![Slot::Index(head)] }]);
        Edit { target: HookPoint::Block(self.block(), BlockHook::Z).into(), selection, op: Op::Set(0.0) }
    }

    /// Why `a` would be refused, if it would.
    #[must_use]
    pub fn cannot_ablate(&self) -> Option<String> {
        let edit = self.ablation();
        let points = edit.target.points(&self.schema.dims);
        let checked = points.and_then(|points| points.into_iter().try_for_each(|point| self.schema.check(point)));
        checked.err().map(|error| error.to_string())
    }

    /// Where in the pass the selected hook stands: its number from 1, and how many fire.
    #[must_use]
    pub fn step(&self) -> Option<(usize, usize)> {
        let points = self.schema.points();
        points.iter().position(|p| *p == self.point()).map(|i| (i + 1, points.len()))
    }

    /// Bring cursors and scroll offsets back inside what there is.
    pub(super) fn settle(&mut self) {
        self.head = self.head.min(self.schema.dims.n_heads.saturating_sub(1));
        self.edit_cursor = self.edit_cursor.min(self.edits.len().saturating_sub(1));
        let last = self.tokens.len().saturating_sub(1);
        self.cell = (self.cell.0.min(last), self.cell.1.min(last));
        let height = self.areas().tree_height();
        // the help has a row for each binding, whatever the size
        let longest = u16::try_from(super::BINDINGS.len()).unwrap_or(u16::MAX);
        self.help = self.help.map(|scroll| scroll.min(longest.saturating_sub(self.size.1.saturating_sub(2))));
        self.tree.scroll(height);
    }
}
