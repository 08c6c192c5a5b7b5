use std::collections::BTreeSet;

use crate::{
    hooks::{HookPoint, Schema},
    model::Module,
};

/// The meaning of a line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A foldable part of the model; with its class in Hugging Face's tree.
    Module {
        name: String,
        class: Option<&'static str>,
    },
    Parameter {
        name: &'static str,
        shape: Vec<usize>,
    },
    Hook(HookPoint),
}

/// A line of the tree, visible or not.
#[derive(Clone, Debug)]
pub struct Entry {
    pub node: Node,
    pub depth: usize,
    /// Its hook or, for a module, the last hook in it.
    pub point: HookPoint,
    parent: Option<usize>,
}

/// The tree panel: TransformerLens's hooks, or Hugging Face's modules with their parameters; one hook is selected in both.
#[derive(Clone, Debug)]
pub struct Trees {
    shown: Tree,
    other: Tree,
    /// The tree on the screen is Hugging Face's.
    pub is_modules: bool,
}

impl Trees {
    #[must_use]
    pub fn new(schema: &Schema, modules: &[Module]) -> Self {
        Self { shown: Tree::hooks(schema), other: Tree::modules(modules), is_modules: false }
    }

    /// The tree on the screen.
    #[must_use]
    pub fn shown(&self) -> &Tree {
        &self.shown
    }

    pub fn shown_mut(&mut self) -> &mut Tree {
        &mut self.shown
    }

    /// Show the other tree, with the same hook selected.
    pub fn switch(&mut self) {
        let point = self.shown.point();
        std::mem::swap(&mut self.shown, &mut self.other);
        self.is_modules = !self.is_modules;
        self.shown.reveal(point);
    }
}

/// The modules and hooks of a model, foldable, with one line selected.
#[derive(Clone, Debug)]
pub struct Tree {
    all: Vec<Entry>,
    folded: BTreeSet<usize>,
    /// The number of the selected entry.
    selected: usize,
    /// The visible entries, by number.
    rows: Vec<usize>,
    /// The first row on the screen.
    pub offset: usize,
}

impl Tree {
    /// TransformerLens's modules with their hook points, in execution order.
    #[must_use]
    pub fn hooks(schema: &Schema) -> Self {
        let mut tree = Builder::default();
        let mut open: Vec<String> = Vec::new();
        for point in schema.all_points() {
            let name = point.to_string();
            let path = modules_of(&name);
            let common = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
            for (depth, module) in path.iter().enumerate().skip(common) {
                tree.add(Node::Module { name: module.clone(), class: None }, depth, point);
            }
            tree.add(Node::Hook(point), path.len(), point);
            open = path;
        }
        tree.finish(0)
    }

    /// Hugging Face's modules with their parameters and the hooks that each computes.
    #[must_use]
    pub fn modules(modules: &[Module]) -> Self {
        let mut tree = Builder::default();
        let mut last = HookPoint::Embed;
        for module in modules {
            let depth = module.depth();
            last = module.hooks.last().copied().unwrap_or(last);
            tree.add(Node::Module { name: module.name().into(), class: Some(module.class) }, depth, last);
            for (name, shape) in &module.parameters {
                tree.add(Node::Parameter { name, shape: shape.clone() }, depth + 1, last);
            }
            for point in &module.hooks {
                tree.add(Node::Hook(*point), depth + 1, *point);
            }
        }
        // the model, gpt_neox and its layers stay open
        tree.finish(3)
    }

    /// The visible entries, by number.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    #[must_use]
    pub fn entry(&self, number: usize) -> &Entry {
        &self.all[number]
    }

    /// Number of the selected entry.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected hook, or the one that represents the selected module.
    #[must_use]
    pub fn point(&self) -> HookPoint {
        self.all[self.selected].point
    }

    /// The names of the modules that contain the selected entry, and its own.
    #[must_use]
    pub fn path(&self) -> Vec<String> {
        let up = std::iter::successors(Some(self.selected), |number| self.all[*number].parent);
        let mut path: Vec<String> = up.map(|number| self.all[number].name()).collect();
        path.reverse();
        path
    }

    #[must_use]
    pub fn is_module(&self, number: usize) -> bool {
        matches!(self.all[number].node, Node::Module { .. })
    }

    #[must_use]
    pub fn is_open(&self, number: usize) -> bool {
        !self.folded.contains(&number)
    }

    /// The hooks in a module, at any depth.
    pub fn hooks_in(&self, number: usize) -> impl Iterator<Item = HookPoint> {
        let depth = self.all[number].depth;
        let inside = self.all[number + 1..].iter().take_while(move |entry| entry.depth > depth);
        inside.filter_map(|entry| if let Node::Hook(point) = entry.node { Some(point) } else { None })
    }

    /// Number of the selected row.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.rows.binary_search(&self.selected).unwrap_or(0)
    }

    /// Select a row by number; beyond the end, the last one.
    pub fn select_row(&mut self, row: usize) {
        if let Some(entry) = self.rows.get(row.min(self.rows.len().saturating_sub(1))) {
            self.selected = *entry;
        }
    }

    /// Select a hook, unfolding what hides it.
    pub fn reveal(&mut self, point: HookPoint) {
        if let Some(number) = self.all.iter().position(|entry| entry.node == Node::Hook(point)) {
            self.selected = number;
        }
        let mut up = self.all[self.selected].parent;
        while let Some(number) = up {
            self.folded.remove(&number);
            up = self.all[number].parent;
        }
        self.refresh();
    }

    /// Fold or unfold the selected module.
    pub fn toggle(&mut self) {
        if self.is_module(self.selected) {
            if !self.folded.remove(&self.selected) {
                self.folded.insert(self.selected);
            }
            self.refresh();
        }
    }

    /// Fold an open module; otherwise go to the parent.
    pub fn fold(&mut self) {
        if self.is_module(self.selected) && self.is_open(self.selected) {
            self.toggle();
        } else if let Some(parent) = self.all[self.selected].parent {
            self.selected = parent;
        }
    }

    /// Unfold a folded module; otherwise go to the first entry in it.
    pub fn unfold(&mut self) {
        if !self.is_module(self.selected) {
            return;
        }
        if self.is_open(self.selected) {
            let next = self.cursor() + 1;
            if self.rows.get(next).is_some_and(|row| self.all[*row].parent == Some(self.selected)) {
                self.select_row(next);
            }
        } else {
            self.toggle();
        }
    }

    /// Scroll so that the selected row is among `height` visible ones.
    pub fn scroll(&mut self, height: usize) {
        let cursor = self.cursor();
        // a few lines around the cursor stay visible
        let margin = (height.saturating_sub(1) / 2).min(2);
        let latest = (cursor + 1 + margin).min(self.rows.len()).saturating_sub(height);
        self.offset = self.offset.clamp(latest, cursor.saturating_sub(margin).max(latest)).min(cursor);
        self.offset = self.offset.min(self.rows.len().saturating_sub(height.max(1)));
    }

    fn refresh(&mut self) {
        self.rows.clear();
        let mut hidden_below = usize::MAX;
        for (number, entry) in self.all.iter().enumerate() {
            if entry.depth > hidden_below {
                continue;
            }
            hidden_below = if self.folded.contains(&number) { entry.depth } else { usize::MAX };
            self.rows.push(number);
        }
    }
}

impl Entry {
    fn name(&self) -> String {
        match &self.node {
            Node::Module { name, .. } => name.clone(),
            Node::Parameter { name, .. } => (*name).into(),
            Node::Hook(point) => hook_name(*point).into(),
        }
    }
}

/// A hook's name within its module.
#[must_use]
pub fn hook_name(point: HookPoint) -> &'static str {
    let short = point.short_name();
    short.rsplit('.').next().unwrap_or(short)
}

/// `blocks.0.attn.hook_q` is in `blocks.0` and in `attn`.
fn modules_of(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = name.split('.').map(String::from).collect();
    parts.pop();
    if parts.first().is_some_and(|first| first == "blocks") {
        let block = parts.remove(1);
        parts[0] = format!("blocks.{block}");
    }
    parts
}

#[derive(Default)]
struct Builder {
    all: Vec<Entry>,
    /// The latest entry at each depth.
    open: Vec<usize>,
}

impl Builder {
    fn add(&mut self, node: Node, depth: usize, point: HookPoint) {
        self.open.truncate(depth);
        let parent = self.open.last().copied();
        self.open.push(self.all.len());
        self.all.push(Entry { node, depth, point, parent });
    }

    /// Fold all but the first block; in Hugging Face's tree, modules down to a depth stay open.
    fn finish(mut self, keep: usize) -> Tree {
        // a module is represented by the last hook in it that always fires
        for number in 0..self.all.len() {
            let Node::Hook(point) = self.all[number].node else { continue };
            let always = point.always_fires();
            if let (true, Some(mut up)) = (always, self.all[number].parent) {
                loop {
                    self.all[up].point = self.all[up].point.max(point);
                    let Some(next) = self.all[up].parent else { break };
                    up = next;
                }
            }
        }
        let module = |entry: &Entry| matches!(entry.node, Node::Module { .. });
        let first_block = self.all.iter().position(|e| e.depth == keep && e.point.block() == Some(0) && module(e));
        let folded = self.all.iter().enumerate().filter(|(number, entry)| {
            entry.depth == keep && module(entry) && entry.point.block().is_some() && Some(*number) != first_block
        });
        let folded = folded.map(|(number, _)| number).collect();
        let mut tree = Tree { all: self.all, folded, selected: 0, rows: Vec::new(), offset: 0 };
        tree.reveal(HookPoint::Embed);
        tree
    }
}
