//! Moving: within a panel, along the forward pass, from block to block, among what was found.

use super::{
    Action, Component, Effect, Extent, Focus, State, Tab,
    editing::add_edit,
    training,
    update::{refuse, say},
};
use crate::{
    engine::{Column, LISTED, Row, View},
    hooks::{BlockHook, HookPoint},
};

/// As far as the shape view's text scrolls; in any panel wide enough to read, that is all of it.
const SCROLL: u16 = 14;

pub(super) fn cycle<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0);
    all[(at + all.len()).wrapping_add_signed(by) % all.len()]
}

/// `by` further, within `0..n`.
pub(super) fn stepped(at: usize, by: isize, n: usize) -> usize {
    at.saturating_add_signed(by).min(n.saturating_sub(1))
}

pub(super) fn navigate(state: &mut State, action: Action) -> Vec<Effect> {
    let page = isize::try_from(state.areas().tree_height().max(2) / 2).unwrap_or(1);
    match (state.focus, state.tab) {
        (Focus::Tree, _) => match action {
            Action::Left => state.tree.fold(),
            Action::Right => state.tree.unfold(),
            Action::Enter if state.tree.is_module(state.tree.selected()) => state.tree.toggle(),
            Action::Enter => state.focus = Focus::View,
            _ => {
                let (cursor, n) = (state.tree.cursor(), state.tree.rows().len());
                state.tree.select_row(moved(cursor, action, page, n));
            }
        },
        (Focus::Edits, _) => state.edit_cursor = moved(state.edit_cursor, action, page, state.edits.len()),
        (Focus::View, Tab::Shape) => {
            state.scroll = match action {
                Action::Up | Action::PageUp => state.scroll.saturating_sub(1),
                Action::Down | Action::PageDown => (state.scroll + 1).min(SCROLL),
                Action::First => 0,
                Action::Last => SCROLL,
                _ => state.scroll,
            };
        }
        (Focus::View, Tab::Values) => values(state, action, page),
        (Focus::View, Tab::Heads) => heads(state, action),
        (Focus::View, Tab::Attention) if state.looks.extent != Extent::Head => heads(state, action),
        (Focus::View, Tab::Attribution) => attribution(state, action, page),
        (Focus::View, Tab::Sweep) => sweep(state, action, page),
        (Focus::View, Tab::Training) => return training::navigate(state, action, page),
        (Focus::View, Tab::Lens) => match action {
            Action::Left | Action::Right => along_prompt(state, action),
            Action::Enter => state.looks.lens_list = !state.looks.lens_list,
            _ => state.lens_layer = moved(state.lens_layer, action, page, state.schema.dims.n_layers + 1),
        },
        (Focus::View, Tab::Logits) => match action {
            Action::Left | Action::Right => along_prompt(state, action),
            _ => state.logits_row = moved(state.logits_row, action, page, LISTED),
        },
        (Focus::View, Tab::Attention) => {
            let n = state.tokens.len();
            let (query, key) = state.cell;
            state.cell = match action {
                Action::Left => (query, stepped(key, -1, n)),
                Action::Right => (query, stepped(key, 1, n)),
                Action::Enter => {
                    zoom(state);
                    (query, key)
                }
                _ => (moved(query, action, page, n), key),
            };
        }
    }
    vec![]
}

fn zoom(state: &mut State) {
    state.looks.zoom = (state.looks.zoom + 1) % 3;
}

fn along_prompt(state: &mut State, action: Action) {
    let by = if action == Action::Left { -1 } else { 1 };
    state.cell.0 = stepped(state.cell.0, by, state.tokens.len());
}

fn values(state: &mut State, action: Action, page: isize) {
    let (slice, n_pos) = (state.slice(), state.tokens.len());
    let (rows, columns) = (state.schema.size(slice.rows, n_pos), state.schema.size(slice.columns, n_pos));
    match action {
        Action::Left | Action::Right => {
            let by = if action == Action::Left { -1 } else { 1 };
            let column = state.index(slice.columns);
            // to the neighbour on the screen
            let next = match state.column_order() {
                Some(order) => {
                    let at = order.iter().position(|c| *c == column).unwrap_or(0);
                    order[stepped(at, by, columns)]
                }
                None => stepped(column, by, columns),
            };
            state.set_index(slice.columns, next);
        }
        Action::Enter if state.looks.colours => zoom(state),
        Action::Enter => state.looks.colours = true,
        _ => {
            let row = moved(state.index(slice.rows), action, page, rows);
            state.set_index(slice.rows, row);
        }
    }
}

fn heads(state: &mut State, action: Action) {
    let heads = state.schema.dims.n_heads;
    match action {
        // in a grid of one block's heads, up and down are other heads
        Action::Up | Action::Down if state.tab == Tab::Attention && state.looks.extent == Extent::Block => {
            let across = state.tiles(state.thumbnail()).across;
            let next = if action == Action::Up { state.head.checked_sub(across) } else { Some(state.head + across) };
            state.head = next.filter(|head| *head < heads).unwrap_or(state.head);
        }
        Action::Up => select_block(state, -1),
        Action::Down => select_block(state, 1),
        Action::Left => state.head = stepped(state.head, -1, heads),
        Action::Right => state.head = stepped(state.head, 1, heads),
        Action::Enter => {
            state.tab = Tab::Attention;
            state.looks.extent = Extent::Head;
        }
        _ => {}
    }
}

fn attribution(state: &mut State, action: Action, page: isize) {
    let components = state.components();
    let Some(now) = state.chosen_component() else { return };
    match action {
        Action::Enter => {
            if let Some(point) = now.point() {
                state.tree.reveal(point);
            }
            if let Component::Head(_, head) = now {
                state.head = head;
                state.tab = Tab::Attention;
                state.looks.extent = Extent::Head;
            }
        }
        Action::Left | Action::Right if !state.looks.by_layer => along_prompt(state, action),
        Action::Left | Action::Right | Action::Up | Action::Down if state.looks.by_layer => {
            let (heads, layers) = (state.schema.dims.n_heads, state.schema.dims.n_layers);
            // the MLP stands at the end of its row
            let (block, column) = match now {
                Component::Head(block, head) => (block, head),
                Component::Mlp(block) => (block, heads),
                _ => (0, 0),
            };
            let (block, column) = match action {
                Action::Up => (stepped(block, -1, layers), column),
                Action::Down => (stepped(block, 1, layers), column),
                Action::Left => (block, stepped(column, -1, heads + 1)),
                _ => (block, stepped(column, 1, heads + 1)),
            };
            let next = if column == heads { Component::Mlp(block) } else { Component::Head(block, column) };
            state.component = Some(next);
        }
        _ => {
            let at = components.iter().position(|c| *c == now).unwrap_or(0);
            state.component = components.get(moved(at, action, page, components.len())).copied();
        }
    }
}

fn sweep(state: &mut State, action: Action, page: isize) {
    let grid = state.looks.map.grid(&state.schema, state.tokens.len());
    let (row, column) = state.swept;
    match action {
        Action::Left => state.swept.1 = stepped(column, -1, grid.columns.len()),
        Action::Right => state.swept.1 = stepped(column, 1, grid.columns.len()),
        Action::Enter => {
            let Some(edit) = state.swept_edit() else { return };
            let Row { layer, head: row_head } = grid.rows[row.min(grid.rows.len() - 1)];
            if let Some(hook) = edit.target.points(&state.schema.dims).ok().and_then(|points| points.first().copied()) {
                state.tree.reveal(hook);
            }
            match (grid.columns[column.min(grid.columns.len() - 1)], row_head) {
                (Column::Head(head), _) | (_, Some(head)) => {
                    state.head = head;
                    state.looks.extent = Extent::Head;
                    state.tab = Tab::Attention;
                }
                (Column::Mlp | Column::Position(_), None) => state.tab = Tab::Values,
            }
            if let Column::Position(pos) = grid.columns[column.min(grid.columns.len() - 1)] {
                state.cell.0 = pos;
            }
            say(
                state,
                format!("went to L{layer} and made the edit; {} takes it back", state.keymap().key(Action::Undo)),
            );
            add_edit(state, edit);
        }
        _ => state.swept.0 = moved(row, action, page, grid.rows.len()),
    }
}

pub(super) fn moved(at: usize, action: Action, page: isize, n: usize) -> usize {
    match action {
        Action::Up => stepped(at, -1, n),
        Action::Down => stepped(at, 1, n),
        Action::PageUp => stepped(at, -page, n),
        Action::PageDown => stepped(at, page, n),
        Action::First => 0,
        Action::Last => n.saturating_sub(1),
        _ => at,
    }
}

/// The next head; in Values, the next index along the axis that is neither rows nor columns.
pub(super) fn step_head(state: &mut State, by: isize) {
    let (axis, n) = match (state.tab, state.slice().fixed) {
        (Tab::Values, Some((axis, _))) => (axis, state.schema.size(axis, state.tokens.len())),
        _ => (crate::hooks::Axis::Head, state.schema.dims.n_heads),
    };
    let n = n.max(1);
    state.set_index(axis, (state.index(axis) + n).wrapping_add_signed(by) % n);
}

pub(super) fn step_hook(state: &mut State, by: isize) {
    let points = state.schema.points();
    let here = state.point();
    let next = match points.iter().position(|p| *p == here) {
        Some(at) => stepped(at, by, points.len()),
        None if by > 0 => points.iter().position(|p| *p > here).unwrap_or(points.len() - 1),
        None => points.iter().rposition(|p| *p < here).unwrap_or(0),
    };
    state.tree.reveal(points[next]);
}

pub(super) fn step_block(state: &mut State, by: isize) {
    let last = state.schema.dims.n_layers.saturating_sub(1);
    let next = match (state.point(), by > 0) {
        (HookPoint::Tokens | HookPoint::Embed, true) => HookPoint::Block(0, BlockHook::ResidPre),
        (HookPoint::LnFinalScale | HookPoint::LnFinalNormalized, false) => HookPoint::Block(last, BlockHook::ResidPost),
        (point @ HookPoint::Block(block, _), _) => point.in_block(stepped(block, by, last + 1)),
        (point, _) => point,
    };
    state.tree.reveal(next);
}

/// The next or previous row of a map of blocks; the hook stays the same where there is one.
fn select_block(state: &mut State, by: isize) {
    let block = stepped(state.block(), by, state.schema.dims.n_layers);
    let hook = state.point().block_hook().unwrap_or(BlockHook::Z);
    state.tree.reveal(HookPoint::Block(block, hook));
}

pub(super) fn step_match(state: &mut State, by: isize) {
    if state.found.is_empty() {
        return refuse(
            state,
            format!("nothing was searched for yet; {} finds a hook", state.keymap().key(Action::Find)),
        );
    }
    let here = state.point();
    let n = state.found.len();
    let next = match state.found.iter().position(|p| *p == here) {
        Some(at) => (at + n).wrapping_add_signed(by) % n,
        None if by > 0 => state.found.iter().position(|p| *p > here).unwrap_or(0),
        None => state.found.iter().rposition(|p| *p < here).unwrap_or(n - 1),
    };
    state.tree.reveal(state.found[next]);
}

/// To the value furthest from 0 of the matrix on the screen; what is masked or NaN does not count.
pub(super) fn to_extreme(state: &mut State) {
    let Some((columns, values)) = state.matrix() else {
        return refuse(state, "Values and one head's Attention have an extreme to go to".into());
    };
    let finite = values.iter().enumerate().filter(|(_, x)| x.is_finite());
    let Some((at, _)) = finite.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else {
        return refuse(state, "no value is finite".into());
    };
    let (row, column) = (at / columns, at % columns);
    match state.view() {
        Some(View::Values { .. }) => {
            let slice = state.slice();
            state.set_index(slice.rows, row);
            state.set_index(slice.columns, column);
        }
        _ => state.cell = (row, column),
    }
}
