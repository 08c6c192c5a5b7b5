use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    engine::{EditEffect, Look, Spec, Summary, View, Want},
    experiment::{Distractor, EditLine, Token},
    hooks::{Axis, Edit, HookPoint, Schema},
    model::{Config, Dtype, Module, Processing},
};

use super::{
    Action, Areas, Arrangement, CommandLine, Component, Editor, Finder, Keymap, Looks, PromptLine, SaveLine, Setup,
    Tab, Training, Tree, areas, editor::Setting, update::say,
};

/// What the header says of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    pub name: String,
    /// As `--model` takes it.
    pub source: String,
    /// The commit.
    pub revision: Option<String>,
    /// The branch or tag that was asked for, such as `step3000`; none for `main`.
    pub branch: Option<String>,
    pub processing: Processing,
    pub device: String,
    pub dtype: Dtype,
    pub config: Config,
    /// Why this is not the model that was meant, if it is not.
    pub note: Option<String>,
}

/// The panel that the movement keys move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Tree,
    View,
    Edits,
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

/// What lies over the screen and takes the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// The keys, from one row on.
    Help(u16),
    Find(Finder),
    Edit(Editor),
    Prompt(PromptLine),
    Command(CommandLine),
    Save(SaveLine),
}

/// Everything the screen is drawn from.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a thing of its own that is so or not")]
pub struct State {
    pub model: ModelInfo,
    pub schema: Schema,
    pub tokens: Vec<Token>,
    pub contrast: Option<Vec<Token>>,
    /// The beginning-of-sequence token stands before the prompts.
    pub prepend_bos: bool,
    pub size: (u16, u16),
    pub(super) keys: Keymap,
    /// Colours can halve a row of the screen.
    pub(super) halves: bool,

    pub tree: Tree,
    /// The other face of the tree: Hugging Face's modules, or TransformerLens's.
    pub(super) other_tree: Tree,
    /// The tree is Hugging Face's.
    pub hf: bool,
    pub tab: Tab,
    pub focus: Focus,
    pub maximised: bool,
    /// Columns of the tree, where they were chosen.
    pub split: Option<u16>,
    /// The split is being dragged.
    pub(super) dragging: bool,
    pub looks: Looks,
    /// First line of the shape view that is shown.
    pub scroll: u16,
    pub head: usize,
    /// Position (or query) and key under the cursor.
    pub cell: (usize, usize),
    /// Index under the cursor along the axes that have none of the above.
    pub(super) units: BTreeMap<Axis, usize>,
    /// Row of the lens: number of the block that the stream enters, or of layers for the last one's output.
    pub lens_layer: usize,
    /// The part of the attribution under the cursor; the largest where none was chosen.
    pub component: Option<Component>,
    /// Row and column of the sweep's map.
    pub swept: (usize, usize),
    /// Row of the list of next tokens under the cursor.
    pub logits_row: usize,
    pub target: Option<Token>,
    pub distractor: Distractor,
    /// A token that was looked for, shown with its rank.
    pub sought: Option<Token>,
    pub edits: Vec<EditLine>,
    pub edit_cursor: usize,
    /// Lists of edits to go back to with `u`, and forward to with Ctrl-R.
    pub(super) undone: History,
    pub overlay: Option<Overlay>,
    pub(super) prompts: Prompts,
    /// Tokens at the prompt's end that were appended one by one.
    pub appended: usize,
    /// The last search, for `n` and `N`, in execution order.
    pub found: Vec<HookPoint>,
    pub message: Option<Message>,

    /// Number of the current run.
    pub run: u64,
    pub phase: Phase,
    /// The latest finished run: its number, its edits and what it showed. While a newer one is under way, everything on
    /// the screen is still of this one.
    pub shown: Option<Shown>,
    /// The latest answer to a look, with the run it is of.
    pub seen: Option<(u64, Look, Arc<View>)>,
    /// An experiment that could be gone on with.
    pub offer: Option<Offer>,
    /// An experiment is being opened.
    pub(super) opening: bool,
    pub training: Training,
    /// What was asked for last.
    pub(super) asked: Option<(u64, Option<Look>)>,
}

/// The text of the prompt and of the contrast prompt, and the prompts before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompts {
    pub now: String,
    pub contrast: String,
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
    /// What it is of: another checkpoint may be explored by now.
    pub model: ModelInfo,
    pub spec: Spec,
    pub summary: Arc<Summary>,
    /// Relative change by hook.
    pub changes: BTreeMap<HookPoint, f64>,
}

/// An experiment that an earlier session left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub path: PathBuf,
    /// Its model, prompt and edits, in a few words.
    pub what: String,
}

/// What the explorer opens with.
#[derive(Clone, Debug)]
pub struct Opening {
    pub model: ModelInfo,
    pub schema: Schema,
    /// Hugging Face's module tree.
    pub modules: Vec<Module>,
    /// The checkpoints of the model's training.
    pub training: Training,
    pub keys: Keymap,
    /// The terminal has colours enough to halve a row of the screen.
    pub halves: bool,
    pub setup: Setup,
    pub size: (u16, u16),
}

impl State {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        let Opening { model, schema, modules, training, keys, halves, setup, size } = opening;
        let layers = schema.dims.n_layers;
        let mut state = Self {
            model,
            tree: Tree::hooks(&schema),
            other_tree: Tree::modules(&modules),
            hf: false,
            schema,
            tokens: Vec::new(),
            contrast: None,
            prepend_bos: false,
            size,
            keys,
            halves,
            tab: Tab::Shape,
            focus: Focus::Tree,
            maximised: false,
            split: None,
            dragging: false,
            looks: Looks::default(),
            scroll: 0,
            head: 0,
            cell: (0, 0),
            units: BTreeMap::new(),
            lens_layer: layers,
            component: None,
            swept: (0, 0),
            logits_row: 0,
            target: None,
            distractor: Distractor::Likeliest,
            sought: None,
            edits: Vec::new(),
            edit_cursor: 0,
            undone: History::default(),
            overlay: None,
            prompts: Prompts::default(),
            appended: 0,
            found: Vec::new(),
            message: None,
            run: 1,
            phase: Phase::Running { block: 0, blocks: 0 },
            shown: None,
            seen: None,
            offer: None,
            opening: false,
            training,
            asked: None,
        };
        state.set_up(setup);
        (state.undone, state.run) = (History::default(), 1);
        state
    }

    /// Offer to go on with what an earlier session left.
    pub fn offer(&mut self, offer: Option<Offer>) {
        if let Some(Offer { what, .. }) = &offer {
            say(
                self,
                format!("the last session was kept ({what}): {} and Enter restore it", self.keys.key(Action::Open)),
            );
        }
        self.offer = offer;
    }

    /// Show what was found on loading the model and not used, beside what is shown already.
    pub fn note(&mut self, notes: &[String]) {
        if notes.is_empty() {
            return;
        }
        let shown = self.message.take().map(|message| message.text);
        let all: Vec<String> = notes.iter().cloned().chain(shown).collect();
        say(self, all.join("; "));
    }

    /// The hook that the views are about.
    #[must_use]
    pub fn point(&self) -> HookPoint {
        self.tree.point()
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

    /// The index under the cursor along an axis.
    #[must_use]
    pub fn index(&self, axis: Axis) -> usize {
        match axis {
            Axis::Pos | Axis::Query => self.cell.0,
            Axis::Key => self.cell.1,
            Axis::Head => self.head,
            other => self.units.get(&other).copied().unwrap_or(0),
        }
    }

    pub(super) fn set_index(&mut self, axis: Axis, index: usize) {
        match axis {
            Axis::Pos | Axis::Query => self.cell.0 = index,
            Axis::Key => self.cell.1 = index,
            Axis::Head => self.head = index,
            Axis::One => {}
            other => drop(self.units.insert(other, index)),
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

    /// The hooks that the edits which are on are at.
    #[must_use]
    pub fn edited(&self) -> BTreeSet<HookPoint> {
        let points = |line: &EditLine| line.edit.target.points(&self.schema.dims).unwrap_or_default();
        self.edits.iter().filter(|line| line.on).flat_map(points).collect()
    }

    /// What an edit of the list did, if it is on and the run on the screen is of just these edits.
    #[must_use]
    pub fn effect(&self, at: usize) -> Option<&EditEffect> {
        let shown =
            self.shown.as_ref().filter(|shown| shown.run == self.run && self.edits.get(at).is_some_and(|l| l.on))?;
        shown.summary.effects.get(self.edits[..at].iter().filter(|line| line.on).count())
    }

    /// Where the panels lie.
    #[must_use]
    pub fn areas(&self) -> Areas {
        let arrangement = Arrangement { focus: self.focus, maximised: self.maximised, split: self.split };
        areas(self.size.0, self.size.1, arrangement)
    }

    /// The edits that there is room for, by number.
    #[must_use]
    pub fn visible_edits(&self) -> std::ops::Range<usize> {
        let areas = self.areas();
        let fit = (usize::from(areas.edits.height.saturating_sub(2)) / areas.rows_per_edit()).max(1);
        let first = (self.edit_cursor + 1).saturating_sub(fit);
        first..(first + fit).min(self.edits.len())
    }

    /// The keys as they are bound here.
    #[must_use]
    pub fn keymap(&self) -> &Keymap {
        &self.keys
    }

    /// What an edit is checked against.
    pub(super) fn setting(&self) -> Setting<'_> {
        Setting { schema: &self.schema, n_pos: self.tokens.len(), contrast: self.contrast.as_ref().map(Vec::len) }
    }

    /// What is to be run.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let ids = |tokens: &Vec<Token>| tokens.iter().map(|t| t.id).collect();
        Spec {
            tokens: ids(&self.tokens),
            contrast: self.contrast.as_ref().map(ids),
            edits: self.active_edits(),
            enabled: self.schema.enabled().clone(),
        }
    }

    /// The request that describes all that is wanted now: of the current run, or of the one before if that came to nothing.
    #[must_use]
    pub fn want(&self) -> Want {
        let look = self.look();
        match &self.shown {
            Some(shown) if matches!(self.phase, Phase::Failed(_) | Phase::Cancelled) => {
                Want { run: shown.run, spec: shown.spec.clone(), look, measure: false }
            }
            _ => {
                let spec = self.spec();
                let measure = self.training.wants(&spec, self.tab == Tab::Training);
                Want { run: self.run, spec, look, measure }
            }
        }
    }

    /// Whether an answer that was asked for is not here yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
            || (self.phase == Phase::Done && self.look().is_some() && self.view().is_none())
    }

    /// Where in the pass the selected hook stands: its number from 1, and how many fire.
    #[must_use]
    pub fn step(&self) -> Option<(usize, usize)> {
        let points = self.schema.points();
        points.iter().position(|p| *p == self.point()).map(|i| (i + 1, points.len()))
    }

    /// Bring cursors and scroll offsets back inside what there is.
    pub(super) fn settle(&mut self) {
        let n_pos = self.tokens.len();
        self.head = self.head.min(self.schema.dims.n_heads.saturating_sub(1));
        self.edit_cursor = self.edit_cursor.min(self.edits.len().saturating_sub(1));
        let last = n_pos.saturating_sub(1);
        self.cell = (self.cell.0.min(last), self.cell.1.min(last));
        let slice = self.slice();
        if self.looks.order.is_some_and(|row| row >= self.schema.size(slice.rows, n_pos)) {
            self.looks.order = None;
        }
        if self.looks.map.patches() && self.contrast.is_none() {
            // what it patched from is gone
            self.looks.map = Looks::default().map;
        }
        let grid = self.looks.map.grid(&self.schema, n_pos);
        let (rows, columns) = (grid.rows.len().saturating_sub(1), grid.columns.len().saturating_sub(1));
        self.swept = (self.swept.0.min(rows), self.swept.1.min(columns));
        if let Some(Overlay::Help(scroll)) = &mut self.overlay {
            // the help has a row for each binding, whatever the size
            let longest = u16::try_from(super::BINDINGS.len()).unwrap_or(u16::MAX);
            *scroll = (*scroll).min(longest.saturating_sub(self.size.1.saturating_sub(2)));
        }
        let height = self.areas().tree_height();
        self.tree.scroll(height);
    }
}
