//! Lines of text that are typed and pasted into, each with a limit: what is made of a line is made anew with each key.

use crossterm::event::KeyEvent;
use tui_input::{Input, InputRequest};

use super::{State, editing::line_request, update::refuse};

/// The longest search, in bytes: no hook has a longer name.
pub(super) const SEARCH: usize = 256;

/// The longest edit, command or file name, in bytes.
pub(super) const LINE: usize = 4 << 10;

/// The longest prompt, in bytes.
pub(super) const PROMPT: usize = 1 << 20;

/// Let a key do what it does in a line of at most `limit` bytes; whether the text changed.
pub(super) fn typed(state: &mut State, input: &mut Input, key: &KeyEvent, limit: usize) -> bool {
    let Some(request) = line_request(key) else { return false };
    if let InputRequest::InsertChar(c) = request
        && input.value().len() + c.len_utf8() > limit
    {
        refuse(state, format!("this line is full: it holds {limit} bytes"));
        return false;
    }
    input.handle(request).is_some_and(|change| change.value)
}

/// Insert a text at the cursor of a line of at most `limit` bytes, as much of it as there is room for; whether the text
/// changed.
pub(super) fn pasted(state: &mut State, input: &mut Input, text: &str, limit: usize) -> bool {
    let room = limit.saturating_sub(input.value().len());
    let fits = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last().unwrap_or(0);
    if fits < text.len() {
        refuse(
            state,
            format!("this line holds {limit} bytes: the last {} of the paste were left out", text.len() - fits),
        );
    }
    let (value, cursor) = (input.value(), input.cursor());
    let at = value.char_indices().nth(cursor).map_or(value.len(), |(at, _)| at);
    let (before, after) = value.split_at(at);
    let pasted = &text[..fits];
    *input = Input::new([before, pasted, after].concat()).with_cursor(cursor + pasted.chars().count());
    fits > 0
}
