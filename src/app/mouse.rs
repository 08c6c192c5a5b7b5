//! What a click, a drag or the wheel does.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{
    Action, Component, Effect, Focus, State, Tab,
    editing::{alter, change_edits},
    navigate::navigate,
};
use crate::hooks::HookPoint;

/// What was drawn at a place of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A row and column of the matrix on the screen.
    Cell(usize, usize),
    /// A layer and position of the lens.
    Lens(usize, usize),
    /// A block and head.
    Head(usize, usize),
    /// A row of the list on the screen.
    Row(usize),
}

/// A part of the screen that can be clicked: the row that each of its lines shows, and the column that each of its
/// columns does.
#[derive(Clone, Debug)]
pub struct Region {
    pub area: Rect,
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
    pub hit: fn(usize, usize) -> Hit,
}

impl Region {
    /// What is at a place of the screen.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<Hit> {
        if !self.area.contains(Position::new(column, row)) {
            return None;
        }
        let row = self.rows.get(usize::from(row - self.area.y))?;
        let column = self.columns.get(usize::from(column - self.area.x))?;
        Some((self.hit)(*row, *column))
    }
}

pub(super) fn on_mouse(state: &mut State, mouse: MouseEvent, hit: Option<Hit>) -> Vec<Effect> {
    if state.overlay.is_some() {
        return vec![];
    }
    let areas = state.areas();
    let at = Position::new(mouse.column, mouse.row);
    let inner_row = |area: Rect| {
        let inside = area.inner(ratatui::layout::Margin::new(1, 1)).contains(at);
        inside.then(|| usize::from(at.y - area.y - 1))
    };
    match mouse.kind {
        MouseEventKind::Up(_) => state.dragging = false,
        MouseEventKind::Drag(_) if state.dragging => state.split = Some(at.x + 1),
        MouseEventKind::Down(MouseButton::Left) => {
            let border =
                areas.tree.width > 0 && areas.view.width > 0 && areas.tree.y <= at.y && at.y < areas.tree.bottom();
            state.dragging = border && (at.x + 1 == areas.tree.right() || at.x == areas.view.x) && at.y > areas.tree.y;
            if state.dragging {
                return vec![];
            }
            if let Some(row) = inner_row(areas.tree) {
                state.focus = Focus::Tree;
                let row = row + state.tree.offset;
                if row < state.tree.rows().len() {
                    let again = state.tree.cursor() == row;
                    state.tree.select_row(row);
                    if again || state.tree.is_module(state.tree.selected()) {
                        state.tree.toggle();
                    }
                }
            } else if areas.view.contains(at) {
                state.focus = Focus::View;
                if at.y == areas.view.y {
                    select_tab(state, usize::from(at.x.saturating_sub(areas.view.x + 1)));
                } else if let Some(hit) = hit {
                    return choose(state, hit);
                }
            } else if areas.edits.contains(at) {
                state.focus = Focus::Edits;
                let row = inner_row(areas.edits).map(|row| row / areas.rows_per_edit() + state.visible_edits().start);
                if let Some(row) = row.filter(|row| *row < state.edits.len()) {
                    state.edit_cursor = row;
                    // on the box itself
                    if at.x <= areas.edits.x + 3 {
                        change_edits(state, |edits, at| alter(edits, at, Action::ToggleEdit));
                    }
                }
            }
        }
        MouseEventKind::ScrollDown
        | MouseEventKind::ScrollUp
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => {
            let action = match mouse.kind {
                MouseEventKind::ScrollDown => Action::Down,
                MouseEventKind::ScrollUp => Action::Up,
                MouseEventKind::ScrollLeft => Action::Left,
                _ => Action::Right,
            };
            let before = state.focus;
            state.focus = if areas.tree.contains(at) {
                Focus::Tree
            } else if areas.edits.contains(at) {
                Focus::Edits
            } else {
                Focus::View
            };
            // sideways only where that moves a cursor: it would fold the tree
            let moves = state.focus != Focus::Tree || matches!(action, Action::Up | Action::Down);
            let effects = if moves { navigate(state, action) } else { vec![] };
            state.focus = before;
            return effects;
        }
        _ => {}
    }
    vec![]
}

/// The tab whose title lies at `column` of the view's border.
fn select_tab(state: &mut State, column: usize) {
    let width = state.areas().inside_view().0;
    let on = |(_, title, at): &(Tab, &str, usize)| (*at..at + title.len()).contains(&column);
    if let Some((tab, ..)) = state.tab.titles(width).into_iter().find(on) {
        state.tab = tab;
    }
}

/// Put the cursor on what was clicked; on what it is on already, Enter.
fn choose(state: &mut State, hit: Hit) -> Vec<Effect> {
    let cursor = |state: &State| {
        let place = (state.cell, state.lens_layer, state.block(), state.head, state.units.clone());
        (place, state.swept, state.chosen_component(), state.logits_row, state.training.cursor)
    };
    let before = cursor(state);
    match (hit, state.tab) {
        (Hit::Cell(row, column), Tab::Values) => {
            let slice = state.slice();
            state.set_index(slice.rows, row);
            state.set_index(slice.columns, column);
        }
        (Hit::Cell(row, column), Tab::Sweep) => state.swept = (row, column),
        (Hit::Cell(layer, column), Tab::Attribution) => {
            let heads = state.schema.dims.n_heads;
            let at = if column < heads { Component::Head(layer, column) } else { Component::Mlp(layer) };
            state.component = Some(at);
        }
        (Hit::Cell(query, key), _) => state.cell = (query, key),
        (Hit::Lens(layer, pos), _) => {
            state.lens_layer = layer;
            state.cell.0 = pos;
        }
        (Hit::Head(block, head), _) => {
            if block != state.block() {
                let hook = state.point().block_hook().unwrap_or(crate::hooks::BlockHook::Z);
                state.tree.reveal(HookPoint::Block(block, hook));
            }
            state.head = head;
        }
        (Hit::Row(row), Tab::Attribution) => state.component = state.components().get(row).copied(),
        (Hit::Row(row), Tab::Training) => state.training.cursor = row,
        (Hit::Row(row), _) => state.logits_row = row,
    }
    if cursor(state) == before { navigate(state, Action::Enter) } else { vec![] }
}
