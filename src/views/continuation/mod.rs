//! Continue: the prompt's continuations with the edits and without, side by side, and the tree of those that branch.

mod ask;
mod draw;
mod side;
mod state;
mod table;
mod tree;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::{Compare, Request},
    experiment::{GenerationSetting, Token},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, moved, sideways},
};

pub use ask::{Added, Job, Made, OfContinuation, Progress};
pub use side::Side;
pub use state::Continue;
pub use tree::{Branch, Tree};

impl View for Continue {
    fn about(&self) -> About {
        About {
            title: "Continue",
            name: "continue",
            doc: "Continue: what the model goes on to write, with the edits and without",
            group: ViewGroup::Prediction,
            key: Some('$'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        self.ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let tokens = self.branch(scene, self.side(scene))?.tokens.len();
        Some(match self.row(scene) {
            0 => format!("{} continuation, {tokens} tokens", self.side(scene).whose(scene)),
            row => format!("token {row} of {tokens} of {} continuation", self.side(scene).whose(scene)),
        })
    }

    fn describe(&self, scene: &Scene, (row, column): Hit) -> Option<String> {
        let side = *Side::ALL.get(column)?;
        let branch = self.branch(scene, side)?;
        let made = branch.tokens.get(row.checked_sub(1)?)?;
        let beside = match (scene.compared_models(), side) {
            (Compare::Difference, _) => branch.others.get(row - 1).map(|prob| format!(", in the other model {prob}")),
            (Compare::Edited | Compare::Baseline, Side::Edited) => {
                Some(format!(", without the edits {}", made.baseline_prob))
            }
            (Compare::Edited | Compare::Baseline, Side::Unedited) => None,
        };
        let (name, beside) = (side.name(scene), beside.unwrap_or_default());
        Some(format!("{name} token {row} {:?}: probability {}{beside}", made.token.text, made.prob))
    }

    fn leave_zoom(&mut self) -> bool {
        self.choosing.take().is_some() || self.setting.take().is_some() || self.listing.take().is_some()
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        table::table(self, scene)
    }

    fn table_name(&self, _scene: &Scene) -> String {
        "continuation".into()
    }

    fn readable(&self) -> u16 {
        52
    }

    fn hints(&self, scene: &Scene) -> Vec<(Action, &'static str)> {
        let enter = match (self.choosing, self.listing) {
            (Some(_), _) => "go on with this token",
            (None, Some(_)) => "show this one",
            (None, None) => "choose another token",
        };
        let mut hints = vec![(Action::Switch, "settings")];
        if self.setting.is_some() {
            hints.extend([(Action::More, "more"), (Action::Less, "less")]);
        }
        if self.choosing.is_some() || self.listing.is_some() || self.row(scene) > 0 {
            hints.push((Action::Move(Motion::Enter), enter));
        }
        if self.is_stopped() {
            hints.push((Action::Rerun, "go on"));
        }
        hints.extend([(Action::ChangeLayout, "tree"), (Action::NextHead, "next branch")]);
        hints
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let page = scene.layout.page();
        if let Some(at) = self.listing {
            let all = self.listed(scene);
            if motion == Motion::Enter {
                self.listing = None;
                let (side, number, _) = *all.get(at)?;
                self.show(scene, side, number);
            } else {
                self.listing = Some(moved(at, motion, page, all.len()));
            }
        } else if let Some(at) = self.choosing {
            if motion == Motion::Enter {
                self.take(scene);
            } else {
                let n = self.candidates(scene).map_or(0, <[_]>::len);
                self.choosing = Some(moved(at, motion, page, n));
            }
        } else if motion == Motion::Enter {
            if self.row(scene) > 0 {
                self.choosing = Some(0);
            } else {
                scene.say("move to a token first: Enter then lists others that could stand there");
            }
        } else if let Some(by) = sideways(motion) {
            let row = self.row(scene);
            self.side = if by < 0 { Side::Unedited } else { Side::Edited };
            self.go_to_row(scene, row);
        } else {
            let row = moved(self.row(scene), motion, page, self.rows(scene));
            self.go_to_row(scene, row);
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        let column = usize::from(self.side(scene) == Side::Edited);
        Some(match (self.listing, self.choosing) {
            (Some(at), _) | (None, Some(at)) => (at, column),
            (None, None) => (self.row(scene), column),
        })
    }

    fn click(&mut self, scene: &mut Scene, (row, column): Hit) {
        if self.listing.is_some() {
            self.listing = Some(row);
        } else if column >= Side::ALL.len() {
            self.choosing = Some(row);
        } else {
            self.choosing = None;
            self.side = Side::ALL[column];
            self.go_to_row(scene, row);
        }
    }

    /// Only two models are compared: the texts with and without edits are on the screen anyway.
    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some()
    }

    /// The next setting that `+` and `-` change.
    fn switch(&mut self, _scene: &mut Scene) {
        let next =
            self.setting.map_or(0, |now| 1 + GenerationSetting::ALL.iter().position(|name| *name == now).unwrap_or(0));
        self.setting = GenerationSetting::ALL.get(next).copied();
    }

    fn slide(&mut self, _scene: &mut Scene, up: bool) -> bool {
        let Some(name) = self.setting else { return false };
        self.set(|settings| settings.slide(name, up));
        true
    }

    /// The branches as a list.
    fn change_layout(&mut self, scene: &mut Scene) {
        let side = self.side(scene);
        let shown = self.tree(scene, side).map_or(0, |tree| tree.shown);
        let here = self.listed(scene).iter().position(|(of, at, _)| (*of, *at) == (side, shown));
        self.choosing = None;
        self.listing = if self.listing.is_some() { None } else { here.or(Some(0)) };
    }

    /// The next branch on the side of the cursor.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        let side = self.side(scene);
        let Some((shown, n)) = self.tree(scene, side).map(|tree| (tree.shown, tree.branches.len())) else { return };
        if n < 2 {
            return scene.say("there is one continuation: Enter on a token begins another, and so do samples");
        }
        self.choosing = None;
        self.show(scene, side, (shown + n).wrapping_add_signed(by) % n);
    }

    fn token(&self, scene: &Scene) -> Option<Token> {
        if let Some(at) = self.choosing {
            let chosen = self.candidates(scene)?.get(at)?;
            return Some(Token { id: chosen.id, text: chosen.text.clone() });
        }
        let made = self.branch(scene, self.side(scene))?.tokens.get(self.row(scene).checked_sub(1)?)?;
        Some(made.token.clone())
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let branch = self.branch(scene, self.side(scene))?;
        Some(match self.row(scene).checked_sub(1) {
            Some(at) => branch.tokens.get(at)?.prob.to_string(),
            None => branch.text(0),
        })
    }

    fn settle(&mut self, scene: &Scene) {
        self.update(scene);
    }

    fn is_filling(&self, scene: &Scene) -> bool {
        self.is_growing(scene)
    }

    fn stop(&mut self, scene: &Scene) {
        self.stop_texts(scene);
    }

    fn resume(&mut self) {
        self.go_on();
    }
}
