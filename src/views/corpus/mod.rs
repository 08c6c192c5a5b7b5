//! Corpus: the effects of a table that `grid` or `corpus` wrote, from the most negative to the most positive.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::Request,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved},
};

pub use state::Corpus;

use crate::experiment::Measured;

impl View for Corpus {
    fn about(&self) -> About {
        About {
            title: "Corpus",
            name: "corpus",
            doc: "Corpus: the effects over the prompts of a table, and the prompts at their ends",
            group: ViewGroup::Training,
            key: Some('%'),
            beside: "logits",
        }
    }

    /// The numbers come with the table.
    fn request(&self, _scene: &Scene, _room: Room) -> Option<Request> {
        None
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let results = scene.results.as_ref()?;
        let row = results.rows.get(*self.order.get(self.cursor)?)?;
        let model = results.models.get(row.model)?;
        Some(match &row.revision {
            Some(revision) => format!("{model} at {revision}"),
            None => model.clone(),
        })
    }

    fn unavailable(&self, scene: &Scene) -> Option<String> {
        scene.results.is_none().then(|| "no table of results".into())
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        Some(table::table(self, scene.results.as_ref()?))
    }

    fn table_name(&self, _scene: &Scene) -> String {
        format!("corpus-{}", self.measured.name())
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let motion = match motion {
            Motion::Enter => return self.order.get(self.cursor).copied().map(Destination::Result),
            Motion::Left => Motion::Up,
            Motion::Right => Motion::Down,
            Motion::Up | Motion::Down | Motion::PageUp | Motion::PageDown | Motion::First | Motion::Last => motion,
        };
        self.cursor = moved(self.cursor, motion, scene.layout.page(), self.order.len());
        None
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        Some((self.cursor, 0))
    }

    fn click(&mut self, _scene: &mut Scene, (row, _): Hit) {
        self.cursor = row;
    }

    /// The numbers are those of the table.
    fn compares(&self, _scene: &Scene) -> bool {
        false
    }

    fn switch(&mut self, scene: &mut Scene) {
        self.measured = cycle(&Measured::ALL, self.measured, 1);
        self.reset(scene.results.as_deref());
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let row = scene.results.as_ref()?.rows.get(*self.order.get(self.cursor)?)?;
        Some(row.of(self.measured).to_string())
    }

    fn settle(&mut self, _scene: &Scene) {
        self.cursor = self.cursor.min(self.order.len().saturating_sub(1));
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Move(Motion::Enter), "open the prompt"),
            (Action::Switch, "number"),
            (Action::Move(Motion::First), "most negative"),
            (Action::Move(Motion::Last), "most positive"),
        ]
    }
}
