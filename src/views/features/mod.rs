//! Features: what a sparse dictionary finds at a position, and one feature over the tokens.

mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::exact_number,
    engine::Request,
    hooks::{Edit, Op},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, moved, sideways},
};

pub use state::{AtPosition, Features, Followed, Found, OfFeature};

impl View for Features {
    fn about(&self) -> About {
        About {
            title: "Features",
            name: "features",
            doc: "Features: what a sparse dictionary finds at a position, and one feature over the tokens",
            group: ViewGroup::Hook,
            key: Some('I'),
            beside: "logits",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        if self.over_tokens {
            let (hook, _) = self.hook(scene)?;
            return Some(Request::new(OfFeature { hook, feature: self.feature? }));
        }
        self.ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let (hook, _) = self.hook(scene)?;
        Some(match (self.over_tokens, self.feature) {
            (true, Some(feature)) => format!("feature {feature} of {hook}"),
            _ => format!("{hook} at position {}", scene.cursor.pos),
        })
    }

    fn describe(&self, scene: &Scene, (row, _): Hit) -> Option<String> {
        if self.over_tokens {
            let value = *self.activations(scene)?.get(row)?;
            return Some(format!("position {row}: {}", exact_number(value)));
        }
        let all = self.listed(scene)?;
        let one = all.get(row)?;
        let label = one.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        Some(format!("feature {}{label}: {}", one.id, one.value))
    }

    fn leave_zoom(&mut self) -> bool {
        std::mem::take(&mut self.over_tokens)
    }

    fn unavailable(&self, scene: &Scene) -> Option<String> {
        scene.schema.dictionaries().is_empty().then(|| "no dictionary: start with --sae".into())
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        table::table(self, scene)
    }

    fn table_name(&self, scene: &Scene) -> String {
        match (self.over_tokens, self.feature) {
            (true, Some(feature)) => format!("feature-{feature}"),
            _ => format!("features-pos{}", scene.cursor.pos),
        }
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let n_pos = scene.tokens().len();
        if motion == Motion::Enter {
            self.change_layout(scene);
        } else if self.over_tokens {
            let motion = match sideways(motion) {
                Some(by) if by < 0 => Motion::Up,
                Some(_) => Motion::Down,
                None => motion,
            };
            scene.cursor.pos = moved(scene.cursor.pos, motion, scene.layout.page(), n_pos);
        } else if let Some(by) = sideways(motion) {
            scene.cursor.step_pos(by, n_pos);
        } else {
            let all = self.listed(scene)?;
            let chosen = self.chosen(scene);
            let at = all.iter().position(|one| Some(one.id) == chosen).unwrap_or(0);
            self.feature = all.get(moved(at, motion, scene.layout.page(), all.len())).map(|one| one.id);
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        if self.over_tokens {
            return Some((scene.cursor.pos, 0));
        }
        let (all, chosen) = (self.listed(scene)?, self.chosen(scene));
        all.iter().position(|one| Some(one.id) == chosen).map(|row| (row, 0))
    }

    fn click(&mut self, scene: &mut Scene, (row, _): Hit) {
        if self.over_tokens {
            scene.cursor.pos = row.min(scene.tokens().len().saturating_sub(1));
        } else if let Some(all) = self.listed(scene) {
            self.feature = all.get(row).map(|one| one.id).or(self.feature);
        }
    }

    fn change_layout(&mut self, scene: &mut Scene) {
        match (self.over_tokens, self.chosen(scene)) {
            (true, _) => self.over_tokens = false,
            (false, Some(feature)) => {
                self.feature = Some(feature);
                self.over_tokens = true;
            }
            (false, None) => scene.say("no feature is active at this position"),
        }
    }

    /// The next dictionary.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        match scene.schema.dictionaries().len() {
            0 | 1 => scene.say("there is no other dictionary: start with another --sae"),
            n => {
                self.dictionary = (self.dictionary.min(n - 1) + n).wrapping_add_signed(by) % n;
                self.over_tokens = false;
                self.feature = None;
            }
        }
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        self.edit(scene, Op::Set(0.0))
    }

    fn cannot_ablate(&self, scene: &Scene) -> Option<String> {
        self.chosen(scene).is_none().then(|| "no feature is active at this position".into())
    }

    fn slides(&self, scene: &Scene) -> Option<Edit> {
        self.edit(scene, Op::Scale(1.0))
    }

    /// What is strongest changes with an edit.
    fn pin_cursor(&mut self, scene: &Scene) {
        self.feature = self.chosen(scene);
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        if self.over_tokens {
            return self.activations(scene)?.get(scene.cursor.pos).map(|x| exact_number(*x));
        }
        let (all, chosen) = (self.listed(scene)?, self.chosen(scene)?);
        all.iter().find(|one| one.id == chosen).map(|one| one.value.to_string())
    }

    fn settle(&mut self, scene: &Scene) {
        self.dictionary = self.dictionary.min(scene.schema.dictionaries().len().saturating_sub(1));
        let d_sae = self.hook(scene).map_or(0, |(_, d_sae)| d_sae);
        self.feature = self.feature.filter(|feature| (*feature as usize) < d_sae);
        self.over_tokens &= self.feature.is_some();
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::ChangeLayout, if self.over_tokens { "features of a position" } else { "over the tokens" }),
            (Action::Ablate, "ablate it"),
            (Action::More, "scale it up"),
            (Action::Less, "down"),
        ]
    }
}

impl Features {
    /// An edit of the chosen feature at every position.
    fn edit(&self, scene: &Scene, op: Op) -> Option<Edit> {
        let (hook, _) = self.hook(scene)?;
        Some(Edit::of_feature(hook, self.chosen(scene)? as usize, &[], op))
    }
}
