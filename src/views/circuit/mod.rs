//! Circuit: components and edges by attribution patching, beside their exact effects.

mod ask;
mod curve;
mod draw;
mod graph;
mod known;
mod parts;
mod scatter;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::{Node, short_number},
    engine::{Method, Request},
    hooks::{BlockHook, Edit, HookPoint},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved},
};

pub use parts::{OfParts, Part, Scores, What};
pub use state::{Circuit, RunCircuit};

use state::Layout;

impl View for Circuit {
    fn about(&self) -> About {
        About {
            title: "Circuit",
            name: "circuit",
            doc: "Circuit: components and edges by attribution patching, beside their exact effects",
            group: ViewGroup::Causes,
            key: Some('C'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        self.unavailable(scene).is_none().then(|| self.ask(scene).map(Request::new))?
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        Some(self.chosen(scene).map_or_else(|| "attribution patching".into(), Part::name))
    }

    fn unavailable(&self, scene: &Scene) -> Option<String> {
        let key = scene.key(Action::Contrast);
        scene.prompts.contrast.is_none().then(|| format!("needs a contrast prompt ({key} sets it)"))
    }

    fn describe(&self, scene: &Scene, (row, _): Hit) -> Option<String> {
        let scores = self.seen(scene)?.ok()?;
        let (part, estimate, exact) = scores.parts.get(row)?;
        let exact = exact.map_or_else(String::new, |exact| format!(", exactly {exact}"));
        let hook = match part {
            Part::Feature(feature) => format!(" of {}", feature.hook),
            Part::Node(_) | Part::Edge(_) => String::new(),
        };
        Some(format!("{}{hook}: estimated {estimate}{exact}", part.name()))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        let scores = self.seen(scene)?.ok()?;
        Some(if self.layout == Layout::Curve { table::curve(scores) } else { table::table(scores) })
    }

    fn table_name(&self, _scene: &Scene) -> String {
        match (self.layout, self.what) {
            (Layout::Curve, _) => "faithfulness".into(),
            (_, What::Nodes) => "attribution-nodes".into(),
            (_, What::Edges) => "attribution-edges".into(),
            (_, What::Features) => "attribution-features".into(),
        }
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Switch, "nodes, edges or features"),
            (Action::ChangeLayout, "list, graph, scatter or curve"),
            (Action::SortColumns, "order"),
            (Action::NextHead, "more edges"),
            (Action::PreviousHead, "fewer"),
            (Action::Move(Motion::Enter), "make the edit"),
        ]
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let rows = self.seen(scene)?.ok()?.parts.len();
        match motion {
            Motion::Enter => {
                let part = self.chosen(scene)?;
                let edit = part.edit(scene.schema.dims.n_layers)?;
                let undo = scene.key(Action::Undo);
                scene.say(format!("patched {} from the contrast prompt; {undo} undoes it", part.name()));
                scene.add_edit(edit);
                if let Some(point) = point(part) {
                    scene.select(point);
                }
                None
            }
            Motion::Up
            | Motion::Down
            | Motion::Left
            | Motion::Right
            | Motion::PageUp
            | Motion::PageDown
            | Motion::First
            | Motion::Last => {
                self.row = moved(self.row, motion, scene.layout.page(), rows);
                None
            }
        }
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        Some((self.row, 0))
    }

    fn click(&mut self, _scene: &mut Scene, (row, _): Hit) {
        self.row = row;
    }

    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some()
    }

    fn switch(&mut self, scene: &mut Scene) {
        if self.layout == Layout::Curve {
            return scene.say("only edges have a faithfulness; the other layouts show nodes, too");
        }
        self.what = cycle(&What::ALL, self.what, 1);
        if self.what == What::Features && scene.schema.dictionaries().is_empty() {
            self.what = cycle(&What::ALL, self.what, 1);
        }
        self.row = 0;
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.layout = cycle(&Layout::ALL, self.layout, 1);
    }

    /// Cycle the order of the parts: the estimate, integrated gradients, or the exact effect.
    fn sort_columns(&mut self, scene: &mut Scene) {
        self.method = match self.method {
            Method::Eap => Method::EapIg { steps: Method::STEPS },
            Method::EapIg { .. } => Method::Exact,
            Method::Exact => Method::Eap,
        };
        self.row = 0;
        scene.say(match self.method {
            Method::Eap => "ordered by attribution patching".to_string(),
            Method::EapIg { steps } => format!("ordered by integrated gradients of {steps} steps"),
            Method::Exact => "ordered by exact effect: every part is patched".into(),
        });
    }

    /// Change the number of parts that are drawn; for edges, they are the circuit.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        let more = (self.drawn / 4).max(1);
        let all = self.seen(scene).and_then(Result::ok).map_or(usize::MAX, |scores| scores.parts.len());
        self.drawn = if by > 0 { (self.drawn + more).min(all) } else { self.drawn.saturating_sub(more).max(1) };
        if self.what() == What::Edges {
            (self.listed, self.is_chosen) = (None, true);
            scene.say(format!("the circuit is the {} strongest edges", self.drawn));
        } else {
            scene.say(format!("the {} strongest are drawn", self.drawn));
        }
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        self.chosen(scene)?.edit(scene.schema.dims.n_layers)
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let scores = self.seen(scene)?.ok()?;
        scores.parts.get(self.row).map(|(_, estimate, _)| short_number(*estimate))
    }

    fn settle(&mut self, scene: &Scene) {
        if let Some(Ok(scores)) = self.seen(scene) {
            self.row = self.row.min(scores.parts.len().saturating_sub(1));
        }
    }

    fn is_filling(&self, scene: &Scene) -> bool {
        matches!(self.seen(scene), Some(Ok(scores)) if scores.left > 0)
    }
}

/// The hook at which a part writes.
fn point(part: Part) -> Option<HookPoint> {
    let node = match part {
        Part::Node(node) => node,
        Part::Edge(edge) => edge.from,
        Part::Feature(feature) => return Some(feature.hook),
    };
    match node {
        Node::Input => Some(HookPoint::Embed),
        Node::Head { layer, .. } => Some(HookPoint::Block(layer, BlockHook::Z)),
        Node::Mlp(layer) => Some(HookPoint::Block(layer, BlockHook::MlpOut)),
        Node::Logits => None,
    }
}
