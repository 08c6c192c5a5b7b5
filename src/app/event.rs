use crossterm::event::{KeyEvent, MouseEvent};

use crate::engine::{Report, Want};

/// Whatever can happen to the explorer.
#[derive(Clone, Debug)]
pub enum Event {
    Key(KeyEvent),
    Mouse(MouseEvent),
    /// Text from the clipboard.
    Paste(String),
    /// The terminal's new size, columns and rows.
    Resize(u16, u16),
    Report(Report),
    /// A signal or a closed terminal: leave.
    Quit,
}

/// Whatever the explorer asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Post(Want),
    /// Stop the run that is under way.
    Cancel,
    /// Give the terminal back to the shell until resumed.
    Suspend,
    /// Draw everything anew.
    Redraw,
    Quit,
}
