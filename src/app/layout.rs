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

/// The areas of a screen of any size; what there is no room for is empty. A narrow screen shows the panel in focus alone.
#[must_use]
pub fn areas(width: u16, height: u16, focus: Focus) -> Areas {
    let screen = Rect::new(0, 0, width, height);
    let narrow = width < NARROW;
    let bottom = match height {
        _ if narrow => 0,
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
    if narrow {
        let only = |panel| if panel == focus { body } else { none };
        let (tree, view, edits) = (only(Focus::Tree), only(Focus::View), only(Focus::Edits));
        return Areas { header, tree, view, edits, next: none, hints };
    }
    let left = if width < 100 { 36 } else { 46 };
    let [tree, view] = Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let [edits, next] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length((width * 2 / 5).min(64))]).areas(below);
    Areas { header, tree, view, edits, next, hints }
}

/// Columns below which panels do not fit beside each other.
const NARROW: u16 = 60;

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
}
