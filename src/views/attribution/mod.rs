//! Attribution: what each component of the residual stream contributes to the target's logit (direct logit
//! attribution).

mod component;
mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::short_number,
    engine::Request,
    hooks::Edit,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, attention::ablated_head, moved, sideways},
};

pub use component::Component;
pub use state::{Attribution, OfLogit};

use state::{at_place, place};

impl View for Attribution {
    fn about(&self) -> About {
        About {
            title: "Attribution",
            name: "attribution",
            doc: "Attribution: each component's contribution to the logit",
            group: ViewGroup::Causes,
            key: Some('6'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        Self::ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        Some(self.chosen(scene).map_or_else(|| "every component".into(), Component::name))
    }

    fn describe(&self, scene: &Scene, (row, column): Hit) -> Option<String> {
        let component = match self.by_layer {
            true => at_place(row, column, scene.schema.dims.n_heads),
            false => *self.components(scene).get(row)?,
        };
        Some(format!("{}: {}", component.name(), component.of(&*self.parts(scene)?)))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        Some(table::table(&*self.parts(scene)?, &self.components(scene)))
    }

    fn table_name(&self, scene: &Scene) -> String {
        format!("logit-attribution-pos{}", scene.cursor.pos)
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let now = self.chosen(scene)?;
        if motion == Motion::Enter {
            if let Some(point) = now.point() {
                scene.select(point);
            }
            if let Component::Head(_, head) = now {
                scene.cursor.head = head;
                return Some(Destination::Head);
            }
        } else if self.by_layer {
            self.move_in_map(now, motion, scene);
        } else if let Some(by) = sideways(motion) {
            scene.cursor.step_pos(by, scene.tokens().len());
        } else {
            let components = self.components(scene);
            let at = components.iter().position(|c| *c == now).unwrap_or(0);
            self.component = components.get(moved(at, motion, scene.layout.page(), components.len())).copied();
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        let chosen = self.chosen(scene)?;
        if self.by_layer {
            return place(chosen, scene.schema.dims.n_heads);
        }
        self.components(scene).iter().position(|c| *c == chosen).map(|row| (row, 0))
    }

    fn click(&mut self, scene: &mut Scene, (row, column): Hit) {
        self.component = match self.by_layer {
            true => Some(at_place(row, column, scene.schema.dims.n_heads)),
            false => self.components(scene).get(row).copied(),
        };
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.by_layer = !self.by_layer;
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        match self.chosen(scene)? {
            Component::Head(block, head) => Some(ablated_head(block, head)),
            other @ (Component::Embed
            | Component::Mlp(_)
            | Component::Bias
            | Component::Constant
            | Component::Remainder) => other.point().map(Edit::from),
        }
    }

    fn cannot_ablate(&self, scene: &Scene) -> Option<String> {
        match self.chosen(scene) {
            Some(chosen) if chosen.point().is_none() => Some(format!("no hook holds the {}", chosen.name())),
            Some(_) => None,
            None => Some("the attribution is not ready yet".into()),
        }
    }

    /// An edit can change which component is largest.
    fn pin_cursor(&mut self, scene: &Scene) {
        self.component = self.chosen(scene);
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let chosen = self.chosen(scene)?;
        Some(short_number(self.parts(scene).map_or(f64::NAN, |parts| chosen.of(&parts))))
    }

    fn settle(&mut self, _scene: &Scene) {}

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::ChangeLayout, if self.by_layer { "bars" } else { "map" }),
            (Action::Move(Motion::Enter), "go to it"),
            (Action::Ablate, "ablate it"),
        ]
    }
}
