//! Dose: the prediction over the number of an edit.

mod ask;
mod draw;
mod state;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::cell,
    engine::{Metric, Request},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{About, Destination, Room, Scene, Table, View, ViewGroup, cycle, moved, stepped},
};

pub use ask::{Curve, OfDose};
pub(crate) use draw::vector_line;
pub use state::{Doses, curve};

impl View for Doses {
    fn about(&self) -> About {
        About {
            title: "Dose",
            name: "dose",
            doc: "Dose: the prediction over the number of the selected edit",
            group: ViewGroup::Causes,
            key: Some('~'),
            beside: "continue",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        self.ask(scene).map(Request::new)
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        Self::edit(scene).map(|edit| format!("the number of {edit}"))
    }

    fn unavailable(&self, scene: &Scene) -> Option<String> {
        Self::line(scene)
            .is_none()
            .then(|| "no edit with a finite number is on, such as `+= 4 * NAME` or `*= 0.5`".into())
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        let points = self.points(scene)?;
        let numbers = |of: fn(&crate::engine::DosePoint) -> f64| -> Vec<f32> {
            points.iter().map(|point| crate::views::table::short(of(point))).collect()
        };
        let arrays = [
            ("amount", numbers(|point| point.amount.into())),
            ("kl", numbers(|point| point.measure.kl)),
            ("logit_diff", numbers(|point| point.measure.logit_diff)),
            ("prob", numbers(|point| point.measure.prob)),
        ];
        let row = |point: &&crate::engine::DosePoint| {
            let measure = &point.measure;
            let numbers = [point.amount.into(), measure.kl, measure.logit_diff, measure.prob];
            numbers.map(cell).to_vec()
        };
        Some(Table {
            header: arrays.iter().map(|(name, _)| (*name).into()).collect(),
            rows: points.iter().map(row).collect(),
            arrays: arrays.into_iter().map(|(name, values)| (name.into(), vec![values.len()], values)).collect(),
        })
    }

    fn table_name(&self, _scene: &Scene) -> String {
        "dose".into()
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Switch, "metric"),
            (Action::NextHead, "wider range"),
            (Action::PreviousHead, "narrower"),
            (Action::Move(Motion::Enter), "take this number"),
        ]
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let n = self.ask(scene)?.0.amounts.len();
        let at = self.cursor_point(scene);
        match motion {
            Motion::Enter => {
                let (amount, line) = (*self.ask(scene)?.0.amounts.get(at)?, Self::line(scene)?);
                self.keep_range(scene);
                scene.edits.change(|lines, cursor| {
                    *cursor = line;
                    let op = &mut lines[line].edit.op;
                    *op = op.with_number(amount).unwrap_or(*op);
                });
                self.point = None;
                let said = format!("{}; {} undoes it", scene.edits.lines[line].edit, scene.key(Action::Undo));
                scene.say(said);
            }
            // up is to larger amounts
            Motion::Left | Motion::Down => self.point = Some(stepped(at, -1, n)),
            Motion::Right | Motion::Up => self.point = Some(stepped(at, 1, n)),
            Motion::PageUp | Motion::PageDown | Motion::First | Motion::Last => {
                self.point = Some(moved(at, motion, scene.layout.page(), n));
            }
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        Some((self.cursor_point(scene), 0))
    }

    fn click(&mut self, _scene: &mut Scene, (point, _): Hit) {
        self.point = Some(point);
    }

    /// The baseline is the KL's zero, and drawn for the others.
    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some()
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.metric = cycle(&Metric::ALL, self.metric, 1);
    }

    /// A wider or a narrower range.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        self.scale_range(scene, by > 0);
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        let seen = self.seen(scene)?.ok()?;
        let point = seen.curve.points.get(self.cursor_point(scene))?.as_ref()?;
        Some(Doses::value(self, &point.measure).to_string())
    }

    fn settle(&mut self, scene: &Scene) {
        self.keep_range(scene);
    }

    fn is_filling(&self, scene: &Scene) -> bool {
        matches!(self.seen(scene), Some(Ok(curve)) if curve.is_filling())
    }
}
