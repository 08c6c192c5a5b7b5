//! Moving: within a panel, along the forward pass, from block to block, among what was found.

use super::{Action, Focus, Node, State, Tab, update::refuse};
use crate::hooks::{BlockHook, HookPoint};

/// Rows of the list of next tokens that can be scrolled to the top.
const LOGITS: usize = 100;

/// As far as the shape view's text scrolls; in any panel wide enough to read, that is all of it.
const SCROLL: u16 = 12;

pub(super) fn cycle<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0);
    all[(at + all.len()).wrapping_add_signed(by) % all.len()]
}

/// `by` further, within `0..n`.
pub(super) fn stepped(at: usize, by: isize, n: usize) -> usize {
    at.saturating_add_signed(by).min(n.saturating_sub(1))
}

pub(super) fn navigate(state: &mut State, action: Action) {
    let page = isize::try_from(state.areas().tree_height().max(2) / 2).unwrap_or(1);
    match state.focus {
        Focus::Tree => match action {
            Action::Left => state.tree.fold(),
            Action::Right => state.tree.unfold(),
            Action::Enter => match state.tree.selected() {
                Node::Group(_) => state.tree.toggle(),
                Node::Hook(_) => state.focus = Focus::View,
            },
            _ => {
                let (cursor, n) = (state.tree.cursor(), state.tree.rows().len());
                state.tree.select_row(moved(cursor, action, page, n));
            }
        },
        Focus::View if state.tab == Tab::Shape => {
            state.scroll = match action {
                Action::Up | Action::PageUp => state.scroll.saturating_sub(1),
                Action::Down | Action::PageDown => (state.scroll + 1).min(SCROLL),
                Action::First => 0,
                Action::Last => SCROLL,
                _ => state.scroll,
            };
        }
        Focus::View if state.tab == Tab::Heads => match action {
            Action::Up => select_block(state, -1),
            Action::Down => select_block(state, 1),
            Action::Left => state.head = stepped(state.head, -1, state.schema.dims.n_heads),
            Action::Right => state.head = stepped(state.head, 1, state.schema.dims.n_heads),
            Action::Enter => state.tab = Tab::Attention,
            _ => {}
        },
        Focus::View if state.tab == Tab::Lens => {
            let (query, n) = (state.cell.0, state.tokens.len());
            match action {
                Action::Left => state.cell.0 = stepped(query, -1, n),
                Action::Right => state.cell.0 = stepped(query, 1, n),
                _ => state.lens_layer = moved(state.lens_layer, action, page, state.schema.dims.n_layers + 1),
            }
        }
        Focus::View if state.tab == Tab::Logits => {
            let n = state.tokens.len();
            match action {
                Action::Left => state.cell.0 = stepped(state.cell.0, -1, n),
                Action::Right => state.cell.0 = stepped(state.cell.0, 1, n),
                _ => state.logits_row = moved(state.logits_row, action, page, LOGITS),
            }
        }
        Focus::View => {
            let n = state.tokens.len();
            let (query, key) = state.cell;
            state.cell = match action {
                Action::Left => (query, stepped(key, -1, n)),
                Action::Right => (query, stepped(key, 1, n)),
                Action::Enter => (query, key),
                _ => (moved(query, action, page, n), key),
            };
        }
        Focus::Edits => state.edit_cursor = moved(state.edit_cursor, action, page, state.edits.len()),
    }
}

fn moved(at: usize, action: Action, page: isize, n: usize) -> usize {
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

pub(super) fn step_hook(state: &mut State, by: isize) {
    let points = state.schema.points();
    let here = state.point();
    let next = match points.iter().position(|p| *p == here) {
        // a group stands for its result, but one steps into it from its beginning
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
        return refuse(state, "nothing was searched for yet; / finds a hook".into());
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
