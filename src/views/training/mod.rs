//! Training: the checkpoints of the model's training, and a number over the visited ones.

mod draw;
mod grid;
mod quantity;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::Request,
    experiment::Curve,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, moved},
};

pub use quantity::Quantity;
pub use state::Training;

impl View for Training {
    fn about(&self) -> About {
        About {
            title: "Training",
            name: "training",
            doc: "Training: the model's checkpoints, and a number over those you visited",
            group: ViewGroup::Training,
            key: Some('9'),
            beside: "logits",
        }
    }

    /// The numbers come with measured runs.
    fn request(&self, _scene: &Scene, _room: Room) -> Option<Request> {
        None
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        match self.shown(scene) {
            Some(shown) => grid::draw(frame, area, self, scene, shown, hits, theme),
            None => draw::draw(frame, area, self, scene, hits, theme),
        }
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        if let Some((curve, _)) = self.shown(scene) {
            return curve.points.get(self.cursor).map(|point| format!("{} step{}", curve.family, point.step));
        }
        let checkpoints = &scene.checkpoints;
        let step = checkpoints.steps.get(checkpoints.cursor)?;
        Some(match checkpoints.copy_of(checkpoints.cursor) {
            Some(other) => format!("{}: same weights as {other}", step.revision),
            None => step.revision.clone(),
        })
    }

    fn unavailable(&self, scene: &Scene) -> Option<String> {
        (scene.checkpoints.steps.is_empty() && self.shown(scene).is_none()).then(|| "no training checkpoints".into())
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        Some(match self.shown(scene) {
            Some((curve, measured)) => grid::table(curve, measured),
            None => table::table(self.quantity, scene),
        })
    }

    fn table_name(&self, scene: &Scene) -> String {
        match (self.shown(scene), &scene.results) {
            (Some((curve, measured)), Some(results)) => format!("training-{}", grid::title(curve, measured, results)),
            (_, _) => format!("training-{}", self.quantity.title_of(scene)),
        }
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let page = scene.layout.page();
        let of_table = |(curve, _): (&Curve, _)| (curve.points.len(), curve.points.get(self.cursor).map(|at| at.step));
        if let Some((n, step)) = self.shown(scene).map(of_table) {
            let motion = match motion {
                Motion::Enter => {
                    let step = step?;
                    let at = scene.checkpoints.steps.iter().position(|known| known.step == step);
                    if at.is_none() {
                        scene.refuse(format!("{} has no checkpoint step{step}", scene.model.name));
                    }
                    return at.map(Destination::Checkpoint);
                }
                Motion::Left => Motion::Up,
                Motion::Right => Motion::Down,
                Motion::Up | Motion::Down | Motion::PageUp | Motion::PageDown | Motion::First | Motion::Last => motion,
            };
            self.cursor = moved(self.cursor, motion, page, n);
            return None;
        }
        let checkpoints = &mut scene.checkpoints;
        let motion = match motion {
            Motion::Enter => return Some(Destination::Checkpoint(checkpoints.cursor)),
            Motion::Left => Motion::Up,
            Motion::Right => Motion::Down,
            Motion::Up | Motion::Down | Motion::PageUp | Motion::PageDown | Motion::First | Motion::Last => motion,
        };
        checkpoints.cursor = moved(checkpoints.cursor, motion, page, checkpoints.steps.len());
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        let cursor = if self.shown(scene).is_some() { self.cursor } else { scene.checkpoints.cursor };
        Some((cursor, 0))
    }

    fn click(&mut self, scene: &mut Scene, (row, _): Hit) {
        match self.shown(scene) {
            Some(_) => self.cursor = row,
            None => scene.checkpoints.cursor = row,
        }
    }

    /// The edited run and the baseline are both drawn.
    fn compares(&self, _scene: &Scene) -> bool {
        false
    }

    fn measures(&self) -> bool {
        true
    }

    fn switch(&mut self, scene: &mut Scene) {
        match (self.shown(scene), &scene.results) {
            (Some(_), Some(results)) => self.next_choice(results.curves.len()),
            (_, _) => self.quantity = self.quantity.next(scene),
        }
    }

    /// The curves of a table, or the visited checkpoints.
    fn change_layout(&mut self, scene: &mut Scene) {
        if scene.results.as_ref().is_none_or(|results| results.curves.is_empty()) {
            return scene.refuse("no table of a grid with training steps is open");
        }
        self.of_table = !self.of_table;
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        if let Some((curve, measured)) = self.shown(scene) {
            return Some(curve.points.get(self.cursor)?.spread(measured)?.mean.to_string());
        }
        let at = scene.checkpoints.cursor;
        let points = self.quantity.over_training(scene);
        let value = points.into_iter().find(|point| point.at == at).map(|point| point.value.to_string());
        value.or_else(|| scene.checkpoints.steps.get(at).map(|step| step.revision.clone()))
    }

    fn settle(&mut self, scene: &Scene) {
        if let Some((curve, _)) = self.shown(scene) {
            self.cursor = self.cursor.min(curve.points.len().saturating_sub(1));
        }
    }

    fn hints(&self, scene: &Scene) -> Vec<(Action, &'static str)> {
        if self.shown(scene).is_some() {
            return vec![
                (Action::Switch, "number"),
                (Action::ChangeLayout, "visited checkpoints"),
                (Action::Move(Motion::Enter), "go there"),
            ];
        }
        vec![
            (Action::Switch, "number"),
            (Action::VisitCheckpoints, "visit all"),
            (Action::Move(Motion::Enter), "go there"),
            (Action::NextCheckpoint, "next"),
        ]
    }
}
