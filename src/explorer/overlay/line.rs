//! Lines of text for typing and pasting. Each has a limit, since everything derived from a line is recomputed with each
//! key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use crate::views::Scene;

/// The longest search, in bytes: no hook has a longer name.
pub(super) const SEARCH: usize = 256;

/// The longest edit, command or file name, in bytes.
pub(super) const LINE: usize = 4 << 10;

/// The longest prompt, in bytes.
pub(super) const PROMPT: usize = 1 << 20;

/// Apply a key to a line of at most `limit` bytes; returns whether the text changed.
pub(super) fn typed(scene: &mut Scene, input: &mut Input, key: &KeyEvent, limit: usize) -> bool {
    let Some(request) = line_request(key) else { return false };
    if let InputRequest::InsertChar(c) = request
        && input.value().len() + c.len_utf8() > limit
    {
        scene.refuse(format!("this line is full: it holds {limit} bytes"));
        return false;
    }
    input.handle(request).is_some_and(|change| change.value)
}

/// Insert as much of a text as fits at the cursor of a line of at most `limit` bytes; returns whether the text changed.
pub(super) fn pasted(scene: &mut Scene, input: &mut Input, text: &str, limit: usize) -> bool {
    let room = limit.saturating_sub(input.value().len());
    let fits = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last().unwrap_or(0);
    if fits < text.len() {
        scene.refuse(format!(
            "this line holds {limit} bytes: the last {} of the paste were left out",
            text.len() - fits
        ));
    }
    let (value, cursor) = (input.value(), input.cursor());
    let at = value.char_indices().nth(cursor).map_or(value.len(), |(at, _)| at);
    let (before, after) = value.split_at(at);
    let pasted = &text[..fits];
    *input = Input::new([before, pasted, after].concat()).with_cursor(cursor + pasted.chars().count());
    fits > 0
}

/// What a key does in a line of text.
fn line_request(key: &KeyEvent) -> Option<InputRequest> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
        KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if ctrl => InputRequest::DeleteLine,
        KeyCode::Char(c) if !ctrl => InputRequest::InsertChar(c),
        _ => return None,
    })
}
