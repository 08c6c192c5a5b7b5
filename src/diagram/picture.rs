//! The picture of a block, and what can be asked of it.

use std::collections::BTreeSet;

use super::{
    pen::Pen,
    plan::{Plan, READABLE},
    sheet::{Cell, Place, Sheet, Wire},
    subject::Subject,
    wiring,
};
use crate::hooks::HookPoint;

/// A block in character cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Row by row, `width` times `height` of them.
    pub cells: Vec<Cell>,
    pub wires: Vec<Wire>,
    /// The visible hooks, also those only partly visible, in execution order, cut to the visible part.
    pub places: Vec<Place>,
    /// The place of every hook in the whole picture.
    pub(super) whole: Vec<Place>,
    /// Pairs of hooks of which the second comes directly after the first.
    pub(super) joined: Vec<(HookPoint, HookPoint)>,
}

impl Picture {
    /// The smallest room in which every hook is readable.
    pub const READABLE: (usize, usize) = READABLE;

    /// Draw for a room of columns and rows, using no more of it than helps. A room smaller than [`Self::READABLE`]
    /// shows a part of the picture for that size: the part around `focus`.
    #[must_use]
    pub fn of(subject: &Subject<'_>, (columns, rows): (usize, usize), ascii: bool, focus: Option<HookPoint>) -> Self {
        let room = (columns.max(READABLE.0), rows.max(READABLE.1));
        let plan = Plan::new(subject.schema, subject.block, subject.positions, room);
        let sheet = Sheet::new(plan.width, plan.height, ascii);
        let mut pen = Pen { subject, plan: &plan, sheet };
        pen.header();
        pen.stream_and_ends();
        pen.attention();
        pen.mlp();
        pen.marks();
        let (cells, wires, places) = pen.sheet.finish();
        let next = |place: &Place| {
            let from = place.hook;
            wiring::next(from, subject.schema).into_iter().map(move |to| (from, to))
        };
        let joined = places.iter().flat_map(next).collect();
        let whole =
            Self { width: plan.width, height: plan.height, cells, wires, whole: places.clone(), places, joined };
        whole.cut((columns, rows), focus)
    }

    /// The part that fits in a room.
    fn cut(self, (columns, rows): (usize, usize), focus: Option<HookPoint>) -> Self {
        let (width, height) = (columns.min(self.width), rows.min(self.height));
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let at = focus.and_then(|hook| self.whole.iter().find(|place| place.hook == hook)).copied();
        let start = |at: usize, length: usize, room: usize, all: usize| {
            (at + length / 2).saturating_sub(room / 2).min(at).min(all - room)
        };
        let x0 = at.map_or(0, |at| start(at.x, at.width, width, self.width));
        let y0 = at.map_or(0, |at| start(at.y, 1, height, self.height));
        let rows = (y0..y0 + height).map(|y| y * self.width + x0);
        let cells = rows.flat_map(|row| self.cells[row..row + width].iter().cloned()).collect();
        let seen = |place: &Place| {
            let (left, right) = (place.x.max(x0), (place.x + place.width).min(x0 + width));
            let inside = left < right && (y0..y0 + height).contains(&place.y);
            inside.then(|| Place {
                x: left - x0,
                y: place.y - y0,
                width: right - left,
                mark: place.mark.clamp(left, right - 1) - x0,
                ..*place
            })
        };
        let places = self.whole.iter().filter_map(seen).collect();
        Self { width, height, cells, places, ..self }
    }

    #[must_use]
    pub fn cell(&self, x: usize, y: usize) -> Option<&Cell> {
        if x < self.width { self.cells.get(y * self.width + x) } else { None }
    }

    /// The place of a hook, if it is visible.
    #[must_use]
    pub fn place(&self, hook: HookPoint) -> Option<&Place> {
        self.places.iter().find(|place| place.hook == hook)
    }

    /// The hook at a cell.
    #[must_use]
    pub fn hook_at(&self, x: usize, y: usize) -> Option<HookPoint> {
        self.places.iter().find(|place| place.contains(x, y)).map(|place| place.hook)
    }

    /// The rows as text, without spaces at their ends.
    #[must_use]
    pub fn text(&self) -> String {
        let rows = self.cells.chunks(self.width.max(1));
        rows.map(|row| row.iter().map(|cell| cell.symbol).collect::<String>().trim_end().to_string() + "\n").collect()
    }

    /// Which wires a change lights: those from a changed hook to a changed hook, or out of the model.
    #[must_use]
    pub fn lit(&self, changed: &BTreeSet<HookPoint>) -> Vec<bool> {
        let any = |hooks: &[HookPoint]| hooks.iter().any(|hook| changed.contains(hook));
        self.wires.iter().map(|wire| any(&wire.from) && (wire.to.is_empty() || any(&wire.to))).collect()
    }
}
