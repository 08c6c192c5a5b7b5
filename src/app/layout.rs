use ratatui::layout::{Constraint, Layout, Rect};

use super::Focus;

/// Where each panel lies.
///
/// ```text
/// header
/// tree   | view
/// edits  | next token
/// hints
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    pub header: Rect,
    pub tree: Rect,
    pub view: Rect,
    pub edits: Rect,
    pub next: Rect,
    pub hints: Rect,
}

/// How the user wants the panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    pub focus: Focus,
    /// The panel in focus takes all the room.
    pub maximised: bool,
    /// Columns of the tree, where they were chosen.
    pub split: Option<u16>,
}

/// Columns below which panels do not fit beside each other.
const NARROW: u16 = 60;

/// Columns that the tree and what is beside it keep, however the split is moved.
const LEAST: u16 = 20;

/// The areas of a screen of any size; what there is no room for is empty. A narrow screen shows the panel in focus alone.
#[must_use]
pub fn areas(width: u16, height: u16, arrangement: Arrangement) -> Areas {
    let screen = Rect::new(0, 0, width, height);
    let alone = width < NARROW || arrangement.maximised;
    let bottom = match height {
        _ if alone => 0,
        0..=11 => 0,
        12..=29 => 6,
        _ => 9,
    };
    let [header, body, below, hints] = Layout::vertical([
        Constraint::Length(u16::from(height > 2)),
        Constraint::Fill(1),
        Constraint::Length(bottom),
        Constraint::Length(u16::from(height > 5)),
    ])
    .areas(screen);
    let none = Rect::default();
    if alone {
        let only = |panel| if panel == arrangement.focus { body } else { none };
        let (tree, view, edits) = (only(Focus::Tree), only(Focus::View), only(Focus::Edits));
        return Areas { header, tree, view, edits, next: none, hints };
    }
    let left = arrangement.split.unwrap_or(if width < 100 { 36 } else { 46 });
    let left = left.clamp(LEAST, (width - LEAST).max(LEAST));
    let [tree, view] = Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let [edits, next] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length((width * 2 / 5).min(64))]).areas(below);
    Areas { header, tree, view, edits, next, hints }
}

impl Areas {
    /// Rows that an edit takes: where it and its proof do not fit beside each other, the proof goes below.
    #[must_use]
    pub fn rows_per_edit(&self) -> usize {
        if self.edits.width < 84 { 2 } else { 1 }
    }

    /// Rows of the tree that are visible.
    #[must_use]
    pub fn tree_height(&self) -> usize {
        self.tree.height.saturating_sub(2).into()
    }

    /// Columns and rows inside the view's frame.
    #[must_use]
    pub fn inside_view(&self) -> (usize, usize) {
        (self.view.width.saturating_sub(2).into(), self.view.height.saturating_sub(2).into())
    }
}
