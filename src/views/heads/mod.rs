//! Heads: every head of the model by what it attends to.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::Score,
    engine::Request,
    hooks::Edit,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{
        About, Destination, Room, Scene, Table, View, ViewGroup,
        attention::{ablated_head, select_block},
        cycle, moved, sideways, stepped,
    },
};

pub use state::{Heads, OfEveryHead};

use state::shown;

impl View for Heads {
    fn about(&self) -> About {
        About {
            title: "Heads",
            name: "heads",
            doc: "Heads: every head by what it attends to",
            group: ViewGroup::Heads,
            key: Some('7'),
            beside: "attention",
        }
    }

    fn request(&self, _scene: &Scene, _room: Room) -> Option<Request> {
        Some(Request::new(OfEveryHead))
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        Some(format!("L{}H{}: {}", scene.block(), scene.cursor.head, self.score.title()))
    }

    fn describe(&self, scene: &Scene, (block, head): Hit) -> Option<String> {
        let shown = shown(scene)?;
        let scores = shown.get(block)?.get(head)?;
        Some(format!("L{block}H{head}: {} {}", self.score.title(), self.score.of(scores)))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        shown(scene).map(|scores| table::table(&scores))
    }

    fn table_name(&self, _scene: &Scene) -> String {
        "head-scores".into()
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        if let Some(by) = sideways(motion) {
            scene.cursor.head = stepped(scene.cursor.head, by, scene.schema.dims.n_heads);
        } else if motion == Motion::Enter {
            return Some(Destination::Head);
        } else {
            let block = moved(scene.block(), motion, scene.layout.page(), scene.schema.dims.n_layers);
            select_block(scene, block);
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some((scene.block(), scene.cursor.head))
    }

    fn click(&mut self, scene: &mut Scene, (block, head): Hit) {
        select_block(scene, block);
        scene.cursor.head = head;
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.score = cycle(&Score::ALL, self.score, 1);
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        Some(ablated_head(scene.block(), scene.cursor.head))
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let shown = shown(scene)?;
        let scores = shown.get(scene.block())?.get(scene.cursor.head)?;
        Some(self.score.of(scores).to_string())
    }

    fn settle(&mut self, _scene: &Scene) {}

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Switch, "next score"),
            (Action::Move(Motion::Enter), "its attention"),
            (Action::Ablate, "ablate it"),
        ]
    }
}
