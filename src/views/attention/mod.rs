//! Attention: the pattern, the scores or the value-weighted pattern of one head, of a block's heads, or of every head.

mod many;
mod one;
mod request;
mod state;
mod tiles;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::exact_number,
    engine::{Request, WhichAttention},
    hooks::{Axis, BlockHook, Edit, HookPoint},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{
        AblationScope, About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, scope, sideways, stepped,
        values::furthest_from_0,
    },
};

use one::numbers_fit;
pub use request::{OfHead, OfHeads};
pub use state::{Attention, HeadScope};
pub(super) use state::{ablated_head, select_block};

impl View for Attention {
    fn about(&self) -> About {
        About {
            title: "Attention",
            name: "attention",
            doc: "Attention: patterns and scores",
            group: ViewGroup::Heads,
            key: Some('3'),
            beside: "logits",
        }
    }

    fn request(&self, scene: &Scene, room: Room) -> Option<Request> {
        match self.heads {
            HeadScope::One => self.one_head(scene).map(Request::new),
            HeadScope::Block | HeadScope::Model => self.many_heads(scene, room).map(Request::new),
        }
    }

    fn reads(&self) -> bool {
        true
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        match self.heads {
            HeadScope::One => one::draw(frame, area, self, scene, hits, theme),
            HeadScope::Block | HeadScope::Model => many::draw(frame, area, self, scene, hits, theme),
        }
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let (block, which) = (scene.block(), self.which.title());
        Some(match self.heads {
            HeadScope::One => format!("L{block}H{}: {which}", scene.cursor.head),
            HeadScope::Block => format!("block {block}: {which}"),
            HeadScope::Model => format!("every block: {which}"),
        })
    }

    fn describe(&self, scene: &Scene, hit: Hit) -> Option<String> {
        match self.heads {
            HeadScope::One => one::describe(self, scene, hit),
            HeadScope::Block | HeadScope::Model => Some(format!("L{}H{}", hit.0, hit.1)),
        }
    }

    fn leave_zoom(&mut self) -> bool {
        std::mem::take(&mut self.zoom) > 0
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        if self.heads != HeadScope::One {
            return Some(many::table(self.seen_heads(scene, scene.layout.room())?.ok()?, scene.is_signed()));
        }
        let values = self.matrix(scene)?.into_owned();
        let labels = Table::labels(scene, Axis::Query);
        Some(Table::of_matrix(Axis::Query.name(), &labels, &labels, (scene.tokens().len(), values)))
    }

    fn table_name(&self, scene: &Scene) -> String {
        let (block, which) = (scene.block(), self.which.title());
        match self.heads {
            HeadScope::One => format!("blocks.{block}.attn.hook_{which}-head{}", scene.cursor.head),
            HeadScope::Block => format!("blocks.{block}.attn.{which}-heads"),
            HeadScope::Model => format!("attn.{which}-all-heads"),
        }
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        if self.heads != HeadScope::One {
            if motion == Motion::Enter {
                return Some(Destination::Head);
            }
            self.move_among_heads(scene, motion);
            return None;
        }
        let (n, page) = (scene.tokens().len(), scene.layout.page());
        if let Some(by) = sideways(motion) {
            scene.cursor.key = stepped(scene.cursor.key, by, n);
        } else if motion == Motion::Enter {
            if numbers_fit(n, scene.layout.room()) {
                scene.say("every value is on the screen with its number");
            } else {
                self.zoom = (self.zoom + 1) % 3;
            }
        } else {
            scene.cursor.pos = moved(scene.cursor.pos, motion, page, n);
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some(match self.heads {
            HeadScope::One => (scene.cursor.pos, scene.cursor.key),
            HeadScope::Block | HeadScope::Model => (scene.block(), scene.cursor.head),
        })
    }

    fn click(&mut self, scene: &mut Scene, (row, column): Hit) {
        match self.heads {
            HeadScope::One => (scene.cursor.pos, scene.cursor.key) = (row, column),
            HeadScope::Block | HeadScope::Model => {
                select_block(scene, row);
                scene.cursor.head = column;
            }
        }
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.which = cycle(&WhichAttention::ALL, self.which, 1);
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.heads = cycle(&HeadScope::ALL, self.heads, 1);
    }

    fn go_to_extreme(&mut self, scene: &mut Scene) {
        if self.heads != HeadScope::One {
            return scene.refuse("only the layout with one head has an extreme value to go to");
        }
        let n = scene.tokens().len();
        let Some(values) = self.matrix(scene) else { return };
        // the first position can only attend to itself
        let skipped = if scene.is_signed() || n < 2 { 0 } else { n };
        match furthest_from_0(values.get(skipped..).unwrap_or_default()) {
            Some(at) => (scene.cursor.pos, scene.cursor.key) = ((at + skipped) / n, (at + skipped) % n),
            None => scene.refuse("no value is finite"),
        }
    }

    fn ablation(&self, scene: &Scene, focused: bool) -> Option<Edit> {
        let head = ablated_head(scene.block(), scene.cursor.head);
        if !focused || self.heads != HeadScope::One {
            return Some(head);
        }
        let (rows, columns) = (self.scope.one_row(), self.scope.one_column());
        if !rows && !columns {
            return Some(head);
        }
        let hook = match self.which {
            WhichAttention::Scores => BlockHook::AttnScores,
            WhichAttention::Pattern | WhichAttention::ValueWeighted => BlockHook::Pattern,
        };
        let taken = [(Axis::Head, true), (Axis::Query, rows), (Axis::Key, columns)];
        let axes: Vec<Axis> = taken.into_iter().filter(|(_, taken)| *taken).map(|(axis, _)| axis).collect();
        Some(scope::ablated(HookPoint::Block(scene.block(), hook), &scope::places(scene, &axes)))
    }

    fn next_scope(&mut self, scene: &Scene) -> bool {
        let (now, before) = (self.ablation(scene, true), self.scope);
        for _ in AblationScope::ALL {
            self.scope = cycle(&AblationScope::ALL, self.scope, 1);
            if self.ablation(scene, true) != now {
                return true;
            }
        }
        self.scope = before;
        false
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let at = scene.cursor.pos * scene.tokens().len() + scene.cursor.key;
        self.matrix(scene)?.get(at).copied().map(exact_number)
    }

    fn settle(&mut self, _scene: &Scene) {}

    /// Follow the selected hook.
    fn hook_changed(&mut self, before: HookPoint, scene: &Scene) {
        if before.short_name() == scene.point().short_name() {
            return;
        }
        let hook = scene.point().block_hook();
        if let Some(which) = WhichAttention::ALL.into_iter().find(|which| Some(which.hook()) == hook) {
            self.which = which;
        }
    }

    fn hints(&self, scene: &Scene) -> Vec<(Action, &'static str)> {
        let layout = match self.heads {
            HeadScope::One => "the block's heads",
            HeadScope::Block => "every head",
            HeadScope::Model => "one head",
        };
        let switch = match self.which {
            WhichAttention::Pattern => "scores",
            WhichAttention::Scores => "value-weighted",
            WhichAttention::ValueWeighted => "pattern",
        };
        let head = (Action::NextHead, "next head");
        match self.heads {
            HeadScope::One => {
                let zoom = (Action::Move(Motion::Enter), "zoom");
                let can_zoom = !numbers_fit(scene.tokens().len(), scene.layout.room());
                let first =
                    [(Action::Switch, switch), (Action::ChangeLayout, layout), head, (Action::Gradient, "gradient")];
                let last = [(Action::AblationScope, "scope"), (Action::Extreme, "extreme")];
                first.into_iter().chain(can_zoom.then_some(zoom)).chain(last).collect()
            }
            HeadScope::Block | HeadScope::Model => vec![
                (Action::Switch, switch),
                (Action::ChangeLayout, layout),
                head,
                (Action::Gradient, "gradient"),
                (Action::Move(Motion::Enter), "this head"),
            ],
        }
    }
}
