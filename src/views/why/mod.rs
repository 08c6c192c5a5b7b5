//! Why: an attention score split by upstream component, or a logit by component and source position.

mod draw;
mod state;

use ratatui::{Frame, layout::Rect};

use crate::{
    engine::Request,
    hooks::{BlockHook, HookPoint},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, sideways, stepped},
};

pub use state::{Number, OfLogitByPosition, OfScore, Why};

impl View for Why {
    fn about(&self) -> About {
        About {
            title: "Why",
            name: "why",
            doc: "Why: the score under Attention's cursor, or a logit, split by upstream component",
            group: ViewGroup::Causes,
            key: Some('X'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        match self.of {
            Number::Score => Some(Request::new(Self::score(scene))),
            Number::Logit => Self::logit(scene).map(Request::new),
        }
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let (block, head, pos, key) = (scene.block(), scene.cursor.head, scene.cursor.pos, scene.cursor.key);
        Some(match self.of {
            Number::Score => format!("L{block}H{head}: score of query {pos}, key {key}"),
            Number::Logit => format!("the target's logit at position {pos}"),
        })
    }

    fn describe(&self, scene: &Scene, (row, column): Hit) -> Option<String> {
        let shown = self.shown(scene)?;
        let value = shown.matrix.get(row)?.get(column)?;
        Some(format!("{} and {}: {value}", shown.rows.get(row)?, shown.columns.get(column)?))
    }

    fn leave_zoom(&mut self) -> bool {
        std::mem::take(&mut self.zoom) > 0
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        let shown = self.shown(scene)?;
        #[allow(clippy::cast_possible_truncation, reason = "numbers that were f32")]
        let values = shown.matrix.iter().flatten().map(|x| *x as f32).collect();
        Some(Table::of_matrix("part", &shown.rows, &shown.columns, (shown.columns.len(), values)))
    }

    fn table_name(&self, scene: &Scene) -> String {
        let (pos, key) = (scene.cursor.pos, scene.cursor.key);
        match self.of {
            Number::Score => format!("why-L{}H{}-query{pos}-key{key}", scene.block(), scene.cursor.head),
            Number::Logit => format!("why-logit-pos{pos}"),
        }
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Switch, "score or logit"),
            (Action::Move(Motion::Enter), "go to the component"),
            (Action::NextHead, "next head"),
        ]
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let shown = self.shown(scene)?;
        let (rows, columns) = (shown.rows.len(), shown.columns.len());
        if let Some(by) = sideways(motion) {
            self.cell.1 = stepped(self.cell.1, by, columns);
            return None;
        }
        if motion != Motion::Enter {
            self.cell.0 = moved(self.cell.0, motion, scene.layout.page(), rows);
            return None;
        }
        let component = shown.rows.get(self.cell.0)?.clone();
        let (point, head) = component_hook(&component)?;
        scene.select(point);
        match head {
            Some(head) => {
                scene.cursor.head = head;
                Some(Destination::Head)
            }
            None => Some(Destination::Values),
        }
    }

    fn cursor(&self, _scene: &Scene) -> Option<Hit> {
        Some(self.cell)
    }

    fn click(&mut self, _scene: &mut Scene, hit: Hit) {
        self.cell = hit;
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.of = cycle(&Number::ALL, self.of, 1);
        self.cell = (0, 0);
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        self.shown(scene)?.matrix.get(self.cell.0)?.get(self.cell.1).map(ToString::to_string)
    }

    fn settle(&mut self, scene: &Scene) {
        if let Some(shown) = self.shown(scene) {
            let last = |names: &[String]| names.len().saturating_sub(1);
            self.cell = (self.cell.0.min(last(&shown.rows)), self.cell.1.min(last(&shown.columns)));
        }
    }
}

/// The hook, and the head, of a part's name: `embed`, `L0H3`, `0_mlp_out`; None for biases.
fn component_hook(name: &str) -> Option<(HookPoint, Option<usize>)> {
    if name == "embed" {
        return Some((HookPoint::Embed, None));
    }
    if let Some(block) = name.strip_suffix("_mlp_out") {
        return Some((HookPoint::Block(block.parse().ok()?, BlockHook::MlpOut), None));
    }
    let (block, head) = name.strip_prefix('L')?.split_once('H')?;
    Some((HookPoint::Block(block.parse().ok()?, BlockHook::Z), Some(head.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lead_to_the_hooks_that_hold_them() {
        assert_eq!(component_hook("embed"), Some((HookPoint::Embed, None)));
        assert_eq!(component_hook("L2H13"), Some((HookPoint::Block(2, BlockHook::Z), Some(13))));
        assert_eq!(component_hook("0_mlp_out"), Some((HookPoint::Block(0, BlockHook::MlpOut), None)));
        assert_eq!(component_hook("bias"), None);
    }
}
