//! Hooks and operations along a row, from left to right.

use super::{pen::Pen, sheet::Role};
use crate::hooks::HookPoint;

/// An item in a row.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    Hook(HookPoint),
    Operation(&'a str),
}

/// The layout of a row of items.
pub(super) struct Flow {
    /// The first column, and the one after the last.
    pub start: usize,
    pub end: usize,
    /// Columns between the items.
    pub gap: usize,
    /// The marks of its hooks.
    pub hooks: Vec<(usize, HookPoint)>,
}

const WIDEST_GAP: usize = 5;

impl Pen<'_> {
    /// Draw items between the columns `x0` and `x1`, joined by wires: with shapes and operations if they fit, else
    /// without shapes, else hooks only. The wire into the first column comes from the hooks `from`, the wire into the
    /// last item leads to `to`.
    pub fn flow(
        &mut self,
        y: usize,
        (x0, x1): (usize, usize),
        items: &[Item<'_>],
        (from, to): (&[HookPoint], &[HookPoint]),
    ) -> Flow {
        let room = x1.saturating_sub(x0);
        let mut chosen: Vec<Item<'_>> = items.to_vec();
        let mut shape = usize::MAX;
        let width = |pen: &Self, items: &[Item<'_>], shape: usize| -> usize {
            items.iter().map(|item| pen.item_width(*item, shape)).sum()
        };
        let needs = |pen: &Self, items: &[Item<'_>], shape: usize, gap: usize| {
            width(pen, items, shape) + gap * items.len().saturating_sub(1)
        };
        if needs(self, &chosen, shape, 3) > room {
            shape = 0;
        }
        if needs(self, &chosen, shape, 1) > room {
            chosen.retain(|item| matches!(item, Item::Hook(_)));
        }
        let gaps = chosen.len().saturating_sub(1).max(1);
        let gap = (room.saturating_sub(width(self, &chosen, shape)) / gaps).clamp(1, WIDEST_GAP);
        let mut laid = Flow { start: x0, end: x0, gap, hooks: Vec::new() };
        let mut places = Vec::new();
        let mut x = x0;
        for item in &chosen {
            places.push(x);
            laid.end = x + self.item_width(*item, shape);
            x = laid.end + gap;
            if let Item::Hook(point) = item {
                laid.hooks.push((places[places.len() - 1], *point));
            }
        }
        if let (Some((x, point)), Some(Item::Operation(_))) = (laid.hooks.first().copied(), chosen.first()) {
            self.sheet.wire(&[(x0, y), (x, y)], Role::Wire, from, &[point]);
        }
        if let (Some((x, point)), Some(Item::Operation(_))) = (laid.hooks.last().copied(), chosen.last()) {
            self.sheet.wire(&[(x, y), (laid.end, y)], Role::Wire, &[point], to);
        }
        for ends in laid.hooks.clone().windows(2) {
            let ((from_x, from), (to_x, to)) = (ends[0], ends[1]);
            self.sheet.wire(&[(from_x, y), (to_x, y)], Role::Wire, &[from], &[to]);
        }
        for (item, x) in chosen.iter().zip(places) {
            match item {
                Item::Hook(point) => self.hook((x, y), *point, shape),
                Item::Operation(text) if gap >= 3 => {
                    self.sheet.text(x - usize::from(x > x0), y, &format!(" {text} "), Role::Operation);
                }
                Item::Operation(text) => self.sheet.text(x, y, text, Role::Operation),
            }
        }
        laid
    }

    fn item_width(&self, item: Item<'_>, shape: usize) -> usize {
        match item {
            Item::Hook(point) => self.width(point, shape),
            Item::Operation(text) => text.chars().count(),
        }
    }
}
