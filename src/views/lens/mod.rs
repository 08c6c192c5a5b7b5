//! Lens: what the residual stream would predict at each layer (the logit lens).

mod draw;
mod rack;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::{LensGrid, Request},
    experiment::Token,
    hooks::{Axis, Edit, Op},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, scope, sideways},
};

pub use state::{AtPosition, AtPositions, Lens};

use state::{LensBy, LensLayout, shown_cells};

impl View for Lens {
    fn about(&self) -> About {
        About {
            title: "Lens",
            name: "lens",
            doc: "Lens: what each layer would predict",
            group: ViewGroup::Prediction,
            key: Some('5'),
            beside: "logits",
        }
    }

    fn request(&self, scene: &Scene, room: Room) -> Option<Request> {
        Some(match self.layout {
            LensLayout::Grid => Request::new(self.ask(scene, room)),
            LensLayout::Rack | LensLayout::Chart => Request::new(Self::ask_all(scene)),
        })
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        match self.layout {
            LensLayout::Grid => draw::draw(frame, area, self, scene, hits, theme),
            LensLayout::Rack | LensLayout::Chart => rack::draw(frame, area, self, scene, hits, theme),
        }
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let point = self.point(scene)?;
        Some(format!("{point} at position {}", scene.cursor.pos))
    }

    fn describe(&self, scene: &Scene, (layer, pos): Hit) -> Option<String> {
        if self.layout != LensLayout::Grid {
            return rack::describe(scene, (layer, pos));
        }
        let grid = self.seen(scene, scene.layout.room())?;
        let cell = shown_cells(grid, scene).get(layer)?.get(pos.checked_sub(grid.first)?)?;
        let first = cell.top.first()?;
        Some(format!("{:?}: probability {}, KL from final {}", first.text, first.prob, cell.kl))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        match self.layout {
            LensLayout::Grid => self.seen(scene, scene.layout.room()).map(|grid| table::table(grid, scene)),
            LensLayout::Rack | LensLayout::Chart => rack::table(scene),
        }
    }

    fn table_name(&self, scene: &Scene) -> String {
        if self.layout != LensLayout::Grid {
            return format!("lenses-pos{}", scene.cursor.pos);
        }
        match self.seen(scene, scene.layout.room()) {
            Some(LensGrid { first, cells, about, .. }) => {
                let last = first + cells.run.first().map_or(1, Vec::len).max(1) - 1;
                format!("{}-lens-pos{first}-{last}", about.name)
            }
            None => "logit-lens".into(),
        }
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        if let Some(by) = sideways(motion) {
            scene.cursor.step_pos(by, scene.tokens().len());
        } else if motion == Motion::Enter {
            self.list = !self.list;
        } else {
            self.layer = moved(self.layer, motion, scene.layout.page(), self.rows(scene));
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some(match self.layout {
            LensLayout::Grid => (self.layer, scene.cursor.pos),
            LensLayout::Rack | LensLayout::Chart => (self.layer, self.chosen),
        })
    }

    fn click(&mut self, scene: &mut Scene, (layer, pos): Hit) {
        self.layer = layer;
        match self.layout {
            LensLayout::Grid => scene.cursor.pos = pos,
            LensLayout::Rack | LensLayout::Chart => self.chosen = pos,
        }
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.by = match self.by {
            LensBy::Probability => LensBy::Kl,
            LensBy::Kl => LensBy::Probability,
        };
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.layout = cycle(&LensLayout::ALL, self.layout, 1);
        self.list = false;
    }

    /// The next lens.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        let known = self.seen(scene, scene.layout.room()).map(|grid| grid.lenses);
        let known = known.or_else(|| scene.seen(&Self::ask_all(scene))?.ok().map(|rack| rack.lenses.len()));
        match known.unwrap_or(1) {
            0 | 1 => scene.say("there is one lens: start with --lens tuned or --lens jacobian for others"),
            n => self.chosen = (self.chosen.min(n - 1) + n).wrapping_add_signed(by) % n,
        }
    }

    fn token(&self, scene: &Scene) -> Option<Token> {
        if self.layout != LensLayout::Grid {
            return rack::token(self, scene);
        }
        let grid = self.seen(scene, scene.layout.room())?;
        let column = scene.cursor.pos.checked_sub(grid.first)?;
        let prediction = shown_cells(grid, scene).get(self.layer)?.get(column)?.top.first()?;
        Some(Token { id: prediction.id, text: prediction.text.clone() })
    }

    fn ablation(&self, scene: &Scene, focused: bool) -> Option<Edit> {
        let point = self.point(scene).filter(|_| focused)?;
        Some(Edit::at(point, &scope::places(scene, &[Axis::Pos]), Op::Set(0.0)))
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        self.token(scene).map(|token| token.text)
    }

    fn settle(&mut self, scene: &Scene) {
        self.layer = self.layer.min(self.rows(scene).saturating_sub(1));
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        let by = match self.by {
            LensBy::Probability => "by KL",
            LensBy::Kl => "by probability",
        };
        let layout = match self.layout {
            LensLayout::Grid => "lenses side by side",
            LensLayout::Rack => "the target through the layers",
            LensLayout::Chart => "positions",
        };
        vec![
            (Action::Switch, by),
            (Action::Move(Motion::Enter), if self.list { "grid" } else { "list" }),
            (Action::Target, "target"),
            (Action::Distractor, "distractor"),
            (Action::ChangeLayout, layout),
        ]
    }
}
