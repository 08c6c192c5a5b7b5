use ratatui::layout::{Position, Rect};

use super::picture::Picture;
use crate::keys::Action;

/// A row and a column of what a view shows; each view gives them a meaning.
pub type Hit = (usize, usize);

/// What a click means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A place in the view on the screen.
    Place(Hit),
    /// A key of the hint line, or a tab.
    Action(Action),
}

/// A part of the screen that can be clicked, or that is a picture.
#[derive(Clone, Debug)]
pub struct Region {
    area: Rect,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// The row that each line of the area shows, and the column that each of its columns shows.
    Cells {
        rows: Vec<usize>,
        columns: Vec<usize>,
    },
    Action(Action),
    Picture(Picture),
}

impl Region {
    /// Cells of a view: the row of each line of the area, and the column of each of its columns.
    #[must_use]
    pub fn cells(area: Rect, rows: Vec<usize>, columns: Vec<usize>) -> Self {
        Self { area, content: Content::Cells { rows, columns } }
    }

    /// A list in a view: each line of the area is a row.
    #[must_use]
    pub fn list(area: Rect, rows: Vec<usize>) -> Self {
        Self::cells(area, rows, vec![0; area.width.into()])
    }

    /// A key that can be clicked.
    #[must_use]
    pub fn action(area: Rect, action: Action) -> Self {
        Self { area, content: Content::Action(action) }
    }

    /// A picture that the terminal draws; clicks go to the other regions there.
    #[must_use]
    pub fn picture(picture: Picture) -> Self {
        Self { area: picture.area, content: Content::Picture(picture) }
    }

    /// The picture, if it is one.
    #[must_use]
    pub fn as_picture(&self) -> Option<&Picture> {
        match &self.content {
            Content::Picture(picture) => Some(picture).filter(|picture| !picture.area.is_empty()),
            Content::Cells { .. } | Content::Action(_) => None,
        }
    }

    /// Cut off the part of a picture from row `y` of the screen on, to make room for text.
    pub fn keep_picture_above(&mut self, y: u16) {
        if let Content::Picture(picture) = &mut self.content {
            picture.area.height = picture.area.height.min(y.saturating_sub(picture.area.y));
            self.area = picture.area;
        }
    }

    /// What a click at a place of the screen means.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<Target> {
        if !self.area.contains(Position::new(column, row)) {
            return None;
        }
        match &self.content {
            Content::Cells { rows, columns } => {
                let row = rows.get(usize::from(row - self.area.y))?;
                let column = columns.get(usize::from(column - self.area.x))?;
                Some(Target::Place((*row, *column)))
            }
            Content::Action(action) => Some(Target::Action(*action)),
            Content::Picture(_) => None,
        }
    }
}
