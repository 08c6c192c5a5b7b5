//! Values: every number of the selected hook along two of its axes, as numbers or as colours.

mod axes;
mod draw;
mod state;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::exact_number,
    engine::Request,
    hooks::{Axis, Edit, HookPoint},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{
        AblationScope, About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, scope, sideways, stepped,
        view,
    },
};

pub use state::{OfSlice, Values};

impl View for Values {
    fn about(&self) -> About {
        About {
            title: "Values",
            name: "values",
            doc: "Values: every number",
            group: ViewGroup::Hook,
            key: Some('2'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        self.ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn describe(&self, scene: &Scene, hit: Hit) -> Option<String> {
        draw::describe(self, scene, hit)
    }

    fn reads(&self) -> bool {
        true
    }

    fn leave_zoom(&mut self) -> bool {
        std::mem::take(&mut self.zoom) > 0
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        let (columns, values) = self.shown(scene)?;
        let slice = self.slice(scene);
        let labels = (Table::labels(scene, slice.rows), Table::labels(scene, slice.columns));
        Some(Table::of_matrix(slice.rows.name(), &labels.0, &labels.1, (columns, values.into_owned())))
    }

    fn table_name(&self, scene: &Scene) -> String {
        let fixed = self.slice(scene).fixed.filter(|(axis, _)| *axis != Axis::One);
        let fixed = fixed.map(|(axis, at)| format!("-{axis}{at}")).unwrap_or_default();
        format!("{}{fixed}", scene.point())
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let slice = self.slice(scene);
        if let Some(by) = sideways(motion) {
            let (column, columns) = (scene.cursor.index(slice.columns), scene.size(slice.columns));
            // to the neighbour on the screen
            let next = match self.column_order(scene) {
                Some(order) => {
                    let at = order.iter().position(|c| *c == column).unwrap_or(0);
                    order[stepped(at, by, columns)]
                }
                None => stepped(column, by, columns),
            };
            scene.cursor.set_index(slice.columns, next);
        } else if motion == Motion::Enter {
            // from numbers to colours, then closer
            if self.colours {
                self.zoom = (self.zoom + 1) % 3;
            }
            self.colours = true;
        } else {
            let (row, page) = (scene.cursor.index(slice.rows), scene.layout.page());
            scene.cursor.set_index(slice.rows, moved(row, motion, page, scene.size(slice.rows)));
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some(self.place(scene))
    }

    fn click(&mut self, scene: &mut Scene, hit: Hit) {
        self.go_to(scene, hit);
    }

    fn switch(&mut self, scene: &mut Scene) {
        let pairs = axes::pairs(&scene.schema.axes(scene.point())).len();
        self.pair = (self.pair + 1) % pairs.max(1);
        self.sorted_by = None;
        if pairs <= 1 {
            scene.say("this activation has no other two axes");
        }
    }

    fn change_layout(&mut self, _scene: &mut Scene) {
        self.colours = !self.colours;
    }

    fn sort_columns(&mut self, scene: &mut Scene) {
        let row = self.place(scene).0;
        self.sorted_by = if self.sorted_by == Some(row) { None } else { Some(row) };
        // to the largest, which is what one sorts for
        if let Some(first) = self.column_order(scene).and_then(|order| order.first().copied()) {
            self.go_to(scene, (row, first));
        }
    }

    fn go_to_extreme(&mut self, scene: &mut Scene) {
        let Some((columns, values)) = self.shown(scene) else { return };
        match furthest_from_0(&values) {
            Some(at) => self.go_to(scene, (at / columns, at % columns)),
            None => scene.refuse("no value is finite"),
        }
    }

    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        let axis = self.slice(scene).fixed.map_or(Axis::Head, |(axis, _)| axis);
        view::step_index(scene, axis, by);
    }

    fn ablation(&self, scene: &Scene, focused: bool) -> Option<Edit> {
        let slice = self.slice(scene);
        let mut axes = scene.schema.axes(scene.point());
        axes.retain(|axis| match axis {
            axis if *axis == slice.rows => self.scope.one_row(),
            axis if *axis == slice.columns => self.scope.one_column(),
            _ => self.scope != AblationScope::Whole,
        });
        focused.then(|| scope::ablated(scene.point(), &scope::places(scene, &axes)))
    }

    fn cell(&self, scene: &Scene) -> Option<Edit> {
        let mut axes = scene.schema.axes(scene.point());
        axes.retain(|axis| *axis != Axis::One);
        Some(scope::ablated(scene.point(), &scope::places(scene, &axes)))
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
        let (columns, values) = self.shown(scene)?;
        let (row, column) = self.place(scene);
        values.get(row * columns + column).copied().map(exact_number)
    }

    fn settle(&mut self, scene: &Scene) {
        if self.sorted_by.is_some_and(|row| row >= scene.size(self.slice(scene).rows)) {
            self.sorted_by = None;
        }
    }

    fn hook_changed(&mut self, before: HookPoint, scene: &Scene) {
        // not for the same hook of another block
        if before.short_name() != scene.point().short_name() {
            (self.pair, self.sorted_by) = (0, None);
        }
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Switch, "axes"),
            (Action::ChangeLayout, if self.colours { "numbers" } else { "colours" }),
            (Action::Gradient, "gradient"),
            (Action::SetValue, "set"),
            (Action::SortColumns, "sort"),
            (Action::Extreme, "extreme"),
            (Action::AblationScope, "scope"),
        ]
    }
}

/// Number of the finite value furthest from 0.
pub(super) fn furthest_from_0(values: &[f32]) -> Option<usize> {
    let finite = values.iter().enumerate().filter(|(_, x)| x.is_finite());
    finite.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).map(|(at, _)| at)
}
