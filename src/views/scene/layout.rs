use ratatui::layout::{self, Constraint, Rect};

/// The area of each panel.
///
/// ```text
/// header
/// tree   | view
/// caption
/// edits  | breakpoints | next token
/// hints
/// ```
///
/// In presenter mode, the view takes all the room except header, caption and hints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    pub header: Rect,
    pub tree: Rect,
    pub view: Rect,
    /// A second view, on a wide screen.
    pub side: Rect,
    /// The text of a tour, or of presenter mode.
    pub caption: Rect,
    pub edits: Rect,
    /// Breakpoints and watches, beside the edits.
    pub stops: Rect,
    pub next: Rect,
    pub hints: Rect,
}

/// The panel in which movement keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Tree,
    View,
    Edits,
}

impl Focus {
    /// In the order of Tab.
    pub const ALL: [Self; 3] = [Self::Tree, Self::View, Self::Edits];
}

/// Which panels are on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panels {
    All,
    /// The focused one has all the room.
    Focused,
    /// Presenter mode: the view with text below it.
    Presented,
}

/// The screen's size, and how the user arranged the panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns and rows of the screen.
    pub size: (u16, u16),
    /// Whether colours can halve a row of the screen.
    pub halves: bool,
    pub focus: Focus,
    pub panels: Panels,
    /// The columns of the tree, if the user chose them.
    pub split: Option<u16>,
    /// Whether the split is being dragged.
    pub dragging: bool,
    /// The number of edits in the list: an empty list takes one row.
    pub edits: usize,
    /// Breakpoints and watches: without any, they take no room.
    pub stops: usize,
    /// The columns that the view needs inside its frame to be readable, if the tree can shrink.
    pub readable: u16,
    /// The rows of text below the view.
    pub caption: u16,
}

/// The fewest columns at which panels fit side by side.
const NARROW: u16 = 60;

/// The number of columns from which on a second view is shown.
const WIDE: u16 = 200;

/// The fewest columns of the tree and of the panel beside it, however the split is moved.
const LEAST: u16 = 20;

impl Layout {
    #[must_use]
    pub fn new(size: (u16, u16), halves: bool) -> Self {
        Self {
            size,
            halves,
            focus: Focus::Tree,
            panels: Panels::All,
            split: None,
            dragging: false,
            edits: 0,
            stops: 0,
            caption: 0,
            readable: 0,
        }
    }

    /// The areas of a screen of any size; an area without room is empty. A narrow screen shows only the focused panel.
    #[must_use]
    pub fn areas(&self) -> Areas {
        let (width, height) = self.size;
        let screen = Rect::new(0, 0, width, height);
        let presented = self.panels == Panels::Presented;
        let alone = width < NARROW || self.panels != Panels::All;
        let rows = (2 * self.edits).max(self.stops);
        let bottom = match height {
            _ if alone => 0,
            0..=11 => 0,
            12.. if rows == 0 => 3,
            12..=29 => u16::try_from(2 + rows).unwrap_or(u16::MAX).min(6),
            30.. => u16::try_from(2 + rows).unwrap_or(u16::MAX).clamp(6, 9),
        };
        let caption = match self.caption {
            0 => 0,
            // a free row above and below
            rows if presented => rows.saturating_add(2).min(height / 2),
            // a rule above; the panels keep most of a low screen
            rows => rows.saturating_add(1).min(height / 4),
        };
        let [header, body, caption, below, hints] = layout::Layout::vertical([
            Constraint::Length(u16::from(height > 2)),
            Constraint::Fill(1),
            Constraint::Length(caption),
            Constraint::Length(bottom),
            Constraint::Length(u16::from(height > 5)),
        ])
        .areas(screen);
        let none = Rect::default();
        if presented {
            return Areas { header, view: body, caption, hints, ..Areas::default() };
        }
        if alone {
            let only = |panel| if panel == self.focus { body } else { none };
            let (tree, view, edits) = (only(Focus::Tree), only(Focus::View), only(Focus::Edits));
            return Areas { header, tree, view, caption, edits, stops: none, next: none, side: none, hints };
        }
        let usual = if width < 100 { 36 } else { 46 };
        let left = self.split.unwrap_or(usual.min(width.saturating_sub(self.readable + 2)));
        let left = left.clamp(LEAST, (width - LEAST).max(LEAST));
        let side = if width >= WIDE { (width - left) * 2 / 5 } else { 0 };
        let [tree, view, side] =
            layout::Layout::horizontal([Constraint::Length(left), Constraint::Fill(1), Constraint::Length(side)])
                .areas(body);
        let [edits, next] =
            layout::Layout::horizontal([Constraint::Fill(1), Constraint::Length((width * 2 / 5).min(64))]).areas(below);
        let (edits, stops) = if self.stops == 0 { (edits, none) } else { halves(edits) };
        Areas { header, tree, view, side, caption, edits, stops, next, hints }
    }

    /// Columns and rows inside the frame of the view.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        inside(self.areas().view)
    }

    /// The rows of a page of the focused list.
    #[must_use]
    pub fn page(&self) -> isize {
        isize::try_from(self.areas().tree_height().max(2) / 2).unwrap_or(1)
    }

    /// The edits that there is room for, by number, in a list with the cursor at `cursor`.
    #[must_use]
    pub fn visible_edits(&self, cursor: usize, edits: usize) -> std::ops::Range<usize> {
        let areas = self.areas();
        let fit = (usize::from(areas.edits.height.saturating_sub(2)) / areas.rows_per_edit()).max(1);
        let first = (cursor + 1).saturating_sub(fit);
        first..(first + fit).min(edits)
    }
}

impl Areas {
    /// The rows of an edit: its proof goes on a second row if both do not fit on one.
    #[must_use]
    pub fn rows_per_edit(&self) -> usize {
        if self.edits.width < 84 { 2 } else { 1 }
    }

    /// The visible rows of the tree.
    #[must_use]
    pub fn tree_height(&self) -> usize {
        self.tree.height.saturating_sub(2).into()
    }
}

/// An area's left and right half.
fn halves(area: Rect) -> (Rect, Rect) {
    let [left, right] = layout::Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    (left, right)
}

/// Columns and rows inside a frame.
#[must_use]
pub fn inside(area: Rect) -> (usize, usize) {
    (area.width.saturating_sub(2).into(), area.height.saturating_sub(2).into())
}
