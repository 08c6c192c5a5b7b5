//! Shape: what the selected hook is, and the statistics of its values.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::Request,
    hooks::HookPoint,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup},
};

pub use state::{OfHook, Shape};

impl View for Shape {
    fn about(&self) -> About {
        About {
            title: "Shape",
            name: "shape",
            doc: "Shape: what the hook is, and its statistics",
            group: ViewGroup::Hook,
            key: Some('1'),
            beside: "values",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        Self::ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, _hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self.scroll, scene, theme);
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        Self::seen(scene)?.ok().map(|statistics| table::table(statistics, scene.beside()))
    }

    fn table_name(&self, scene: &Scene) -> String {
        format!("{}-statistics", scene.point())
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        self.scroll = match motion {
            Motion::Up => self.scroll.saturating_sub(1),
            Motion::Down => self.scroll + 1,
            Motion::PageUp => self.scroll.saturating_sub(page(scene)),
            Motion::PageDown => self.scroll + page(scene),
            Motion::First => 0,
            Motion::Last => u16::MAX,
            Motion::Left | Motion::Right | Motion::Enter => self.scroll,
        };
        None
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        None
    }

    fn click(&mut self, _scene: &mut Scene, _hit: Hit) {}

    /// Statistics are shown beside the baseline's.
    fn compares(&self, _scene: &Scene) -> bool {
        false
    }

    fn reads(&self) -> bool {
        true
    }

    fn value(&self, _scene: &Scene) -> Option<String> {
        None
    }

    fn settle(&mut self, scene: &Scene) {
        self.scroll = self.scroll.min(draw::overflow(scene));
    }

    fn hook_changed(&mut self, _before: HookPoint, _scene: &Scene) {
        self.scroll = 0;
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![(Action::Gradient, "gradient")]
    }
}

fn page(scene: &Scene) -> u16 {
    u16::try_from(scene.layout.page()).unwrap_or(1)
}
