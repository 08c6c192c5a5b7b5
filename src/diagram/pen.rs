//! The sheet with what is drawn on it: hooks by their names, wires by the hooks at their ends.

use super::{
    plan::Plan,
    rows::Row,
    sheet::{Path, Role, Sheet, Side},
    subject::Subject,
};
use crate::hooks::{BlockHook, HookPoint};

pub(super) struct Pen<'a> {
    pub subject: &'a Subject<'a>,
    pub plan: &'a Plan<'a>,
    pub sheet: Sheet,
}

impl Pen<'_> {
    pub fn point(&self, hook: BlockHook) -> HookPoint {
        HookPoint::Block(self.subject.block, hook)
    }

    pub fn y(&self, row: Row) -> usize {
        self.plan.y(row)
    }

    /// The Unicode form of a text, or its ASCII form.
    pub fn either<'t>(&self, unicode: &'t str, ascii: &'t str) -> &'t str {
        if self.sheet.ascii { ascii } else { unicode }
    }

    /// Draw a hook with as much of its label as `room` columns hold.
    pub fn hook(&mut self, at: (usize, usize), point: HookPoint, room: usize) {
        self.hook_at(at, point, room, Side::Right);
    }

    /// The same, with the label on one side of the mark.
    pub fn hook_at(&mut self, at: (usize, usize), point: HookPoint, room: usize, side: Side) {
        let labels = &self.plan.labels;
        let shape = if labels.len(point) <= room { labels.shape(point) } else { String::new() };
        self.sheet.hook(at, point, labels.state(point), labels.name(point), &shape, side);
    }

    /// The columns that [`Self::hook`] takes.
    pub fn width(&self, point: HookPoint, room: usize) -> usize {
        let labels = &self.plan.labels;
        2 + if labels.len(point) <= room { labels.len(point) } else { labels.name(point).len() }
    }

    pub fn wire(&mut self, path: Path<'_>, from: &[BlockHook], to: &[BlockHook]) {
        self.draw(path, Role::Wire, from, to);
    }

    pub fn stream(&mut self, path: Path<'_>, from: &[BlockHook], to: &[BlockHook]) {
        self.draw(path, Role::Stream, from, to);
    }

    fn draw(&mut self, path: Path<'_>, role: Role, from: &[BlockHook], to: &[BlockHook]) {
        let points = |hooks: &[BlockHook]| hooks.iter().map(|hook| self.point(*hook)).collect::<Vec<_>>();
        let (from, to) = (points(from), points(to));
        self.sheet.wire(path, role, &from, &to);
    }

    /// An operation on a vertical wire, where operations are drawn.
    pub fn operation(&mut self, x: usize, row: Row, text: &str) {
        if self.plan.operations {
            let y = self.y(row);
            self.sheet.centred(x, y, text, Role::Operation);
        }
    }

    /// An operation on a horizontal wire.
    pub fn operation_across(&mut self, x: usize, row: Row, text: &str) {
        self.operation(x, row, &format!(" {text} "));
    }

    /// A wire along a row into the stream, and the adder at its end.
    pub fn add(&mut self, x: usize, row: Row, from: BlockHook, to: BlockHook) {
        let (bus, y) = (self.plan.bus, self.y(row));
        self.wire(&[(x, y), (bus, y)], &[from], &[to]);
        let reach = self.sheet.signs.adder.chars().count().div_ceil(2);
        let (head, sign) =
            if x < bus { (bus - reach, self.sheet.signs.right) } else { (bus + reach, self.sheet.signs.left) };
        self.sheet.head(head, y, sign);
        let adder = self.sheet.signs.adder;
        self.sheet.centred(bus, y, adder, Role::Adder);
    }
}
