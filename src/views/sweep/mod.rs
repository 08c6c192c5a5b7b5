//! Sweep: every head and MLP ablated one by one, or every place patched from the contrast prompt.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::{Metric, Request},
    hooks::Edit,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, sideways, stepped},
};

pub use state::{OfMap, Sweep};

use state::maps;

impl View for Sweep {
    fn about(&self) -> About {
        About {
            title: "Sweep",
            name: "sweep",
            doc: "Sweep: every head and MLP ablated, or patched from the contrast prompt",
            group: ViewGroup::Causes,
            key: Some('8'),
            beside: "attribution",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        self.ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        self.edit(scene).map(|edit| edit.to_string())
    }

    fn describe(&self, scene: &Scene, (row, column): Hit) -> Option<String> {
        let filling = self.seen(scene)?.ok()?;
        let cell = row * filling.grid.columns.len() + column;
        let value = filling.value(cell, self.metric())?;
        Some(format!("{}: {} {value}", filling.grid.edit(cell)?, self.metric().name()))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        Some(table::table(self.seen(scene)?.ok()?, self.metric()))
    }

    fn table_name(&self, _scene: &Scene) -> String {
        format!("sweep-{}-{}", self.map.name(), self.metric().name())
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let grid = self.map.grid(&scene.schema, scene.tokens().len());
        let (row, column) = self.cell;
        if let Some(by) = sideways(motion) {
            self.cell.1 = stepped(column, by, grid.columns.len());
        } else if motion == Motion::Enter {
            return self.make_edit(scene);
        } else {
            self.cell.0 = moved(row, motion, scene.layout.page(), grid.rows.len());
        }
        None
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        Some(self.cell)
    }

    fn click(&mut self, _scene: &mut Scene, hit: Hit) {
        self.cell = hit;
    }

    /// A sweep is made in addition to the edits.
    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some()
    }

    fn switch(&mut self, scene: &mut Scene) {
        let contrast = scene.prompts.contrast.is_some();
        self.map = cycle(&maps(contrast), self.map, 1);
        self.cell = (0, 0);
        if !contrast {
            scene.say("a contrast prompt adds the patching maps");
        }
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.chosen_metric = Some(cycle(&Metric::ALL, self.metric(), 1));
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        self.edit(scene)
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let filling = self.seen(scene)?.ok()?;
        let cell = self.cell.0 * filling.grid.columns.len() + self.cell.1;
        filling.value(cell, self.metric()).map(|value| value.to_string())
    }

    fn settle(&mut self, scene: &Scene) {
        if self.map.patches() && scene.prompts.contrast.is_none() {
            // the prompt that it patched from is gone
            self.map = Self::default().map;
        }
        let grid = self.map.grid(&scene.schema, scene.tokens().len());
        let (rows, columns) = (grid.rows.len().saturating_sub(1), grid.columns.len().saturating_sub(1));
        self.cell = (self.cell.0.min(rows), self.cell.1.min(columns));
    }

    fn is_filling(&self, scene: &Scene) -> bool {
        matches!(self.seen(scene), Some(Ok(filling)) if filling.is_filling() && filling.stopped.is_none())
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![(Action::Switch, "map"), (Action::ChangeLayout, "metric"), (Action::Move(Motion::Enter), "make the edit")]
    }
}
