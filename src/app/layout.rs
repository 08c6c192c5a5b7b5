use ratatui::layout::{Constraint, Layout, Rect};

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

/// The areas of a screen of any size; what there is no room for is empty.
#[must_use]
pub fn areas(width: u16, height: u16) -> Areas {
    let screen = Rect::new(0, 0, width, height);
    let bottom = match height {
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
    let left = match width {
        0..=39 => width,
        40..=99 => 36,
        _ => 46,
    };
    let [tree, view] = Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let right = if width < 60 { 0 } else { (width * 2 / 5).min(64) };
    let [edits, next] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(right)]).areas(below);
    Areas { header, tree, view, edits, next, hints }
}

impl Areas {
    /// Rows of the tree that are visible.
    #[must_use]
    pub fn tree_height(&self) -> usize {
        self.tree.height.saturating_sub(2).into()
    }
}
