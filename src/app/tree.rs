use std::collections::BTreeSet;

use crate::hooks::{BlockHook, HookPoint, Schema};

/// A foldable part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    Block(usize),
    Ln1(usize),
    Attn(usize),
    Ln2(usize),
    Mlp(usize),
    LnFinal,
}

impl Group {
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Block(block) => format!("blocks.{block}"),
            Self::Ln1(_) => "ln1".into(),
            Self::Attn(_) => "attn".into(),
            Self::Ln2(_) => "ln2".into(),
            Self::Mlp(_) => "mlp".into(),
            Self::LnFinal => "ln_final".into(),
        }
    }

    fn parent(self) -> Option<Self> {
        match self {
            Self::Ln1(b) | Self::Attn(b) | Self::Ln2(b) | Self::Mlp(b) => Some(Self::Block(b)),
            Self::Block(_) | Self::LnFinal => None,
        }
    }

    /// Whether a hook is listed in it, or in a group inside it.
    #[must_use]
    pub fn contains(self, point: HookPoint) -> bool {
        std::iter::successors(group_of(point), |group| group.parent()).any(|group| group == self)
    }

    /// The hook that stands for the group where one is looked at.
    #[must_use]
    pub fn result(self) -> HookPoint {
        match self {
            Self::Block(b) => HookPoint::Block(b, BlockHook::ResidPost),
            Self::Ln1(b) => HookPoint::Block(b, BlockHook::Ln1Normalized),
            Self::Attn(b) => HookPoint::Block(b, BlockHook::AttnOut),
            Self::Ln2(b) => HookPoint::Block(b, BlockHook::Ln2Normalized),
            Self::Mlp(b) => HookPoint::Block(b, BlockHook::MlpOut),
            Self::LnFinal => HookPoint::LnFinalNormalized,
        }
    }
}

/// The group that a hook is listed under.
fn group_of(point: HookPoint) -> Option<Group> {
    match point {
        HookPoint::Tokens | HookPoint::Embed => None,
        HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => Some(Group::LnFinal),
        HookPoint::Block(b, hook) => Some(match hook.name().split_once('.') {
            Some(("ln1", _)) => Group::Ln1(b),
            Some(("attn", _)) => Group::Attn(b),
            Some(("ln2", _)) => Group::Ln2(b),
            Some(("mlp", _)) => Group::Mlp(b),
            _ => Group::Block(b),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Group(Group),
    Hook(HookPoint),
}

impl Node {
    /// The hook it is, or that stands for it.
    #[must_use]
    pub fn point(self) -> HookPoint {
        match self {
            Self::Group(group) => group.result(),
            Self::Hook(point) => point,
        }
    }

    fn parent(self) -> Option<Group> {
        match self {
            Self::Group(group) => group.parent(),
            Self::Hook(point) => group_of(point),
        }
    }
}

/// A visible line of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub node: Node,
    pub depth: usize,
    /// For groups: whether what is in it is shown.
    pub open: bool,
}

/// The modules and hooks of a model in execution order, foldable, with one selected.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Every line, as if nothing were folded.
    all: Vec<(Node, usize)>,
    folded: BTreeSet<Group>,
    selected: Node,
    rows: Vec<Row>,
    /// First visible row.
    pub offset: usize,
}

impl Tree {
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let mut all: Vec<(Node, usize)> = Vec::new();
        let mut open: Vec<Group> = Vec::new();
        for point in schema.all_points() {
            let mut path: Vec<Group> = std::iter::successors(group_of(point), |g| g.parent()).collect();
            path.reverse();
            let common = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
            for (depth, group) in path.iter().enumerate().skip(common) {
                all.push((Node::Group(*group), depth));
            }
            all.push((Node::Hook(point), path.len()));
            open = path;
        }
        let folded = (1..schema.dims.n_layers).map(Group::Block).collect();
        let mut tree = Self { all, folded, selected: Node::Hook(HookPoint::Embed), rows: Vec::new(), offset: 0 };
        tree.refresh();
        tree
    }

    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    #[must_use]
    pub fn selected(&self) -> Node {
        self.selected
    }

    /// Number of the selected row.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.rows.iter().position(|row| row.node == self.selected).unwrap_or(0)
    }

    /// Select a row by number; beyond the end is the last.
    pub fn select_row(&mut self, row: usize) {
        if let Some(row) = self.rows.get(row.min(self.rows.len().saturating_sub(1))) {
            self.selected = row.node;
        }
    }

    /// Select a hook, unfolding what hides it.
    pub fn reveal(&mut self, point: HookPoint) {
        self.selected = Node::Hook(point);
        for group in std::iter::successors(group_of(point), |g| g.parent()) {
            self.folded.remove(&group);
        }
        self.refresh();
    }

    /// Fold or unfold the selected group.
    pub fn toggle(&mut self) {
        if let Node::Group(group) = self.selected {
            if !self.folded.remove(&group) {
                self.folded.insert(group);
            }
            self.refresh();
        }
    }

    /// Fold an open group; else go to the parent.
    pub fn fold(&mut self) {
        match self.selected {
            Node::Group(group) if !self.folded.contains(&group) => {
                self.folded.insert(group);
                self.refresh();
            }
            node => self.selected = node.parent().map_or(node, Node::Group),
        }
    }

    /// Unfold a folded group; else go to the first thing in it.
    pub fn unfold(&mut self) {
        match self.selected {
            Node::Group(group) if self.folded.remove(&group) => self.refresh(),
            Node::Group(_) => self.select_row(self.cursor() + 1),
            Node::Hook(_) => {}
        }
    }

    /// Scroll so that the selected row is among `height` visible ones.
    pub fn scroll(&mut self, height: usize) {
        let cursor = self.cursor();
        // a line or two of what surrounds the cursor stay in sight
        let margin = (height.saturating_sub(1) / 2).min(2);
        let latest = (cursor + 1 + margin).min(self.rows.len()).saturating_sub(height);
        self.offset = self.offset.clamp(latest, cursor.saturating_sub(margin).max(latest)).min(cursor);
        self.offset = self.offset.min(self.rows.len().saturating_sub(height.max(1)));
    }

    fn refresh(&mut self) {
        self.rows.clear();
        let mut hidden_below = usize::MAX;
        for &(node, depth) in &self.all {
            if depth > hidden_below {
                continue;
            }
            let open = matches!(node, Node::Group(group) if !self.folded.contains(&group));
            hidden_below = if matches!(node, Node::Group(_)) && !open { depth } else { usize::MAX };
            self.rows.push(Row { node, depth, open });
        }
    }
}
