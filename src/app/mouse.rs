//! What a click or the wheel does.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{
    Action, Effect, Focus, Node, State, Tab,
    editing::{alter, change_edits},
    navigate::navigate,
};

pub(super) fn on_mouse(state: &mut State, mouse: MouseEvent) -> Vec<Effect> {
    if state.finder.is_some() || state.editor.is_some() || state.prompt.is_some() || state.help.is_some() {
        return vec![];
    }
    let areas = state.areas();
    let at = Position::new(mouse.column, mouse.row);
    let inner_row = |area: Rect| {
        let inside = area.inner(ratatui::layout::Margin::new(1, 1)).contains(at);
        inside.then(|| usize::from(at.y - area.y - 1))
    };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            if let Some(row) = inner_row(areas.tree) {
                state.focus = Focus::Tree;
                let row = row + state.tree.offset;
                if row < state.tree.rows().len() {
                    let again = state.tree.cursor() == row;
                    state.tree.select_row(row);
                    if again || matches!(state.tree.selected(), Node::Group(_)) {
                        state.tree.toggle();
                    }
                }
            } else if areas.view.contains(at) {
                state.focus = Focus::View;
                if at.y == areas.view.y {
                    select_tab(state, at.x.saturating_sub(areas.view.x));
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
            vec![]
        }
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            let action = if mouse.kind == MouseEventKind::ScrollDown { Action::Down } else { Action::Up };
            let before = state.focus;
            state.focus = if areas.tree.contains(at) {
                Focus::Tree
            } else if areas.edits.contains(at) {
                Focus::Edits
            } else {
                Focus::View
            };
            navigate(state, action);
            state.focus = before;
            vec![]
        }
        _ => vec![],
    }
}

/// The tab whose title lies at `column` of the view's border: titles are apart by two columns, from the third on.
fn select_tab(state: &mut State, column: u16) {
    let mut from = 2;
    for tab in Tab::ALL {
        let to = from + u16::try_from(tab.title().len()).unwrap_or(0);
        if (from..to).contains(&column) {
            state.tab = tab;
        }
        from = to + 2;
    }
}
