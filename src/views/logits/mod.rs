//! Logits: the next tokens after a position.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::Request,
    experiment::Token,
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, moved, sideways},
};

pub(crate) use draw::{Columns, list, prediction_line};
pub use state::{After, Logits};

use state::shown;

impl View for Logits {
    fn about(&self) -> About {
        About {
            title: "Logits",
            name: "logits",
            doc: "Logits: the next tokens",
            group: ViewGroup::Prediction,
            key: Some('4'),
            beside: "lens",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        Some(Request::new(After(scene.cursor.pos)))
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let token = scene.tokens().get(scene.cursor.pos)?;
        Some(format!("after position {} \"{}\"", scene.cursor.pos, token.text))
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        shown(scene).map(|tokens| table::table(&tokens, scene.beside()))
    }

    fn table_name(&self, scene: &Scene) -> String {
        format!("logits-pos{}", scene.cursor.pos)
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        match sideways(motion) {
            Some(by) => scene.cursor.step_pos(by, scene.tokens().len()),
            None => self.row = moved(self.row, motion, scene.layout.page(), rows(scene)),
        }
        None
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        Some((self.row, 0))
    }

    fn click(&mut self, _scene: &mut Scene, (row, _): Hit) {
        self.row = row;
    }

    fn token(&self, scene: &Scene) -> Option<Token> {
        let shown = shown(scene)?;
        let prediction = shown.top.get(self.row)?;
        Some(Token { id: prediction.id, text: prediction.text.clone() })
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        self.token(scene).map(|token| token.text)
    }

    fn settle(&mut self, scene: &Scene) {
        if shown(scene).is_some() {
            self.row = self.row.min(rows(scene).saturating_sub(1));
        }
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Target, "target"),
            (Action::Distractor, "distractor"),
            (Action::FindToken, "find a token"),
            (Action::Append, "append"),
        ]
    }
}

/// The number of rows of the list; 0 while it is on its way.
fn rows(scene: &Scene) -> usize {
    shown(scene).map_or(0, |tokens| tokens.top.len())
}
