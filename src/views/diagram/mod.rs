//! Diagram: the selected block as a wiring diagram, with every hook on its wire.

mod bars;
mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::short_number,
    diagram::{Direction, Picture, Subject},
    engine::{Reading, Request},
    hooks::{Axis, BlockHook, Edit, HookPoint, description},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme, text},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, scope, view::step_index},
};

use bars::Bars;

pub use state::{Diagram, OfEveryHook};

/// Whether the selected hook has heads.
fn has_heads(scene: &Scene) -> bool {
    scene.schema.axes(scene.point()).contains(&Axis::Head)
}

/// Rows below the picture for the strip of all blocks.
const STRIP: usize = 2;

/// The picture of the selected block in a room.
fn picture(scene: &Scene, room: Room, ascii: bool) -> Picture {
    let subject =
        Subject { schema: &scene.schema, block: scene.block(), folded: false, positions: Some(scene.tokens().len()) };
    let rows = if has_strip(room) { room.1 - STRIP } else { room.1 };
    Picture::of(&subject, (room.0, rows), ascii, Some(scene.point()))
}

/// Whether there is room for the strip without cutting the picture.
fn has_strip(room: Room) -> bool {
    room.1 >= Picture::READABLE.1 + STRIP
}

/// The number of a hook among all hooks, which identifies its place.
fn number(scene: &Scene, point: HookPoint) -> Option<usize> {
    scene.schema.all_points().iter().position(|other| *other == point)
}

/// What a place belongs to: the number of a hook in the picture, or of a block in the strip.
const HOOK: usize = 0;
const BLOCK: usize = 1;

impl View for Diagram {
    fn about(&self) -> About {
        About {
            title: "Diagram",
            name: "diagram",
            doc: "Diagram: the block as a wiring diagram, with every hook on its wire",
            group: ViewGroup::Hook,
            key: Some('0'),
            beside: "shape",
        }
    }

    /// Edits' changes come with the run; gradients have to be requested.
    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        Self::ask(scene).map(Request::new)
    }

    fn reads(&self) -> bool {
        true
    }

    /// Shown as a note because the strip has no room for it on a small screen.
    fn gradient_notes(&self, scene: &Scene, theme: Theme) -> Vec<String> {
        if has_strip(scene.layout.room()) { vec![] } else { Bars::new(scene).notes(scene, theme) }
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, scene, hits, theme);
    }

    fn describe(&self, scene: &Scene, (number, kind): Hit) -> Option<String> {
        if kind == BLOCK {
            return Some(format!("blocks.{number}"));
        }
        let point = *scene.schema.all_points().get(number)?;
        let total = Self::total(scene, point).map(|total| format!(" = {}", text::number(total))).unwrap_or_default();
        Some(format!("{point}{total}: {}", description(point, &scene.schema.dims)))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        match Self::seen(scene) {
            None if Self::ask(scene).is_none() => Some(table::table(scene)),
            seen => Some(table::of_totals(scene, seen?.ok()?)),
        }
    }

    fn table_name(&self, _scene: &Scene) -> String {
        "hooks".into()
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let step = |direction| picture(scene, scene.layout.room(), false).step(scene.point(), direction);
        let points = scene.schema.points();
        let to = match motion {
            Motion::Up => step(Direction::Up),
            Motion::Down => step(Direction::Down),
            Motion::Left => step(Direction::Left),
            Motion::Right => step(Direction::Right),
            Motion::PageUp => scene.point().in_block(scene.block().saturating_sub(1)),
            Motion::PageDown => {
                scene.point().in_block((scene.block() + 1).min(scene.schema.dims.n_layers.saturating_sub(1)))
            }
            Motion::First => *points.first()?,
            Motion::Last => *points.last()?,
            Motion::Enter => {
                let attention = [BlockHook::AttnScores, BlockHook::Pattern];
                let is_attention = scene.point().block_hook().is_some_and(|hook| attention.contains(&hook));
                return Some(if is_attention { Destination::Head } else { Destination::Values });
            }
        };
        scene.select(to);
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some((number(scene, scene.point())?, HOOK))
    }

    fn click(&mut self, scene: &mut Scene, (number, kind): Hit) {
        if kind == BLOCK {
            let hook = scene.point().block_hook().unwrap_or(BlockHook::ResidPre);
            scene.select(HookPoint::Block(number, hook));
        } else if let Some(point) = scene.schema.all_points().get(number) {
            scene.select(*point);
        }
    }

    fn readable(&self) -> u16 {
        u16::try_from(Picture::READABLE.0).unwrap_or(0)
    }

    /// Changes are marked in the picture itself; gradients are of one of two models, or differ.
    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some() && scene.reading != Reading::Value
    }

    /// Go from all heads to one, and then to the next.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        if !has_heads(scene) {
            return scene.refuse(format!("{} has no heads", scene.point()));
        }
        if self.one_head {
            step_index(scene, Axis::Head, by);
        }
        self.one_head = true;
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        let head = [(Axis::Head, scene.cursor.head)];
        (self.one_head && has_heads(scene)).then(|| scope::ablated(scene.point(), &head))
    }

    fn next_scope(&mut self, scene: &Scene) -> bool {
        self.one_head ^= has_heads(scene);
        has_heads(scene)
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        Self::total(scene, scene.point()).map(short_number)
    }

    fn settle(&mut self, _scene: &Scene) {}

    fn hints(&self, scene: &Scene) -> Vec<(Action, &'static str)> {
        let mut hints = vec![
            (Action::Move(Motion::Enter), "its values"),
            (Action::Gradient, "gradient"),
            (Action::NextBlock, "next block"),
            (Action::NextHook, "next hook"),
            (Action::Ablate, "ablate"),
        ];
        if has_heads(scene) {
            hints.push((Action::NextHead, if self.one_head { "next head" } else { "one head" }));
        }
        if scene.point().is_opt_in() {
            hints.insert(0, (Action::Enable, "turn on or off"));
        }
        hints
    }
}
