use crossterm::event::{KeyEvent, MouseEvent};

use super::Token;
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
    /// The answer to [`Effect::Tokenize`]: the text, and its tokens or why it can't be a prompt.
    Tokenized(String, Result<Vec<Token>, String>),
    /// A signal or a closed terminal: leave.
    Quit,
}

/// Whatever the explorer asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Post(Want),
    /// Find the tokens of a text.
    Tokenize(String),
    /// Stop the run that is under way.
    Cancel,
    /// Give the terminal back to the shell until resumed.
    Suspend,
    /// Draw everything anew.
    Redraw,
    Quit,
}
