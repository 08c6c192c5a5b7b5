//! The byte sequences of keys and the mouse: ECMA-48 control sequences as used by xterm, the Linux console and compatible
//! terminals (<https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>).

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::graphics::{Answer, QUERY};

/// The first byte of a sequence.
pub(super) const ESC: u8 = 0x1b;

/// The longest control sequence, in bytes.
const LONGEST: usize = 256;

/// The meaning of a sequence.
pub(super) enum Sequence {
    Event(Event),
    PasteBegins,
    /// An answer to a question.
    Answer(Answer),
    /// A sequence without meaning here, or a broken one.
    Nothing,
}

/// The length of a sequence in bytes, and its meaning; None if it is incomplete.
type Found = Option<(usize, Sequence)>;

/// The first sequence of `bytes`. With `last`, no more bytes follow, so an incomplete sequence is broken.
pub(super) fn first(bytes: &[u8], last: bool) -> Found {
    let found = match bytes {
        [] => return None,
        [ESC, b'[', ..] => csi(bytes),
        [ESC, b'O', ..] => ss3(bytes),
        [ESC, b']', ..] => osc(bytes),
        [ESC, b'_', ..] => apc(bytes),
        [ESC, rest @ ..] => meta(rest, last),
        _ => character(bytes),
    };
    match (found, bytes) {
        (None, [ESC]) if last => Some((1, key(KeyCode::Esc))),
        // Alt with a character that begins a sequence
        (None, [ESC, c @ (b'[' | b'O' | b']' | b'_')]) if last => Some((2, alt(plain(char::from(*c))))),
        (None, _) if last || bytes.len() > LONGEST => Some((bytes.len(), Sequence::Nothing)),
        (found, _) => found,
    }
}

/// Ctrl with a character.
pub(super) fn control(c: char) -> Event {
    Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
}

fn key(code: KeyCode) -> Sequence {
    with(code, KeyModifiers::NONE)
}

fn with(code: KeyCode, modifiers: KeyModifiers) -> Sequence {
    Sequence::Event(Event::Key(KeyEvent::new(code, modifiers)))
}

fn alt(mut key: KeyEvent) -> Sequence {
    key.modifiers |= KeyModifiers::ALT;
    Sequence::Event(Event::Key(key))
}

/// A typed character; an upper-case letter has Shift.
fn plain(c: char) -> KeyEvent {
    let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    KeyEvent::new(KeyCode::Char(c), shift)
}

/// ESC and a key are Alt and the key; ESC before anything else is the Escape key.
fn meta(rest: &[u8], last: bool) -> Found {
    let escape = Some((1, key(KeyCode::Esc)));
    if rest.starts_with(&[ESC, ESC]) {
        return escape;
    }
    match (first(rest, last)?, rest) {
        // two Escape keys, not Alt and Escape
        (_, [ESC]) => escape,
        ((length, Sequence::Event(Event::Key(event))), _) => Some((1 + length, alt(event))),
        ((length, Sequence::Nothing), _) => Some((1 + length, Sequence::Nothing)),
        ((_, Sequence::Event(_) | Sequence::PasteBegins | Sequence::Answer(_)), _) => escape,
    }
}

/// One character of UTF-8, or a control character.
fn character(bytes: &[u8]) -> Found {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.valid_up_to() > 0 => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        // None if the character is incomplete
        Err(e) => return e.error_len().map(|length| (length, Sequence::Nothing)),
    };
    let c = text.chars().next()?;
    let nth = |first: char, by: u8| char::from(first as u8 + by);
    let sequence = match c {
        '\r' => key(KeyCode::Enter),
        '\t' => key(KeyCode::Tab),
        '\x7f' => key(KeyCode::Backspace),
        '\0' => Sequence::Event(control(' ')),
        '\x01'..='\x1a' => Sequence::Event(control(nth('a', c as u8 - 1))),
        '\x1c'..='\x1f' => Sequence::Event(control(nth('4', c as u8 - 0x1c))),
        c => Sequence::Event(Event::Key(plain(c))),
    };
    Some((c.len_utf8(), sequence))
}

/// `ESC O` and a letter: keys in application mode.
fn ss3(bytes: &[u8]) -> Found {
    let letter = *bytes.get(2)?;
    match lettered(letter) {
        Some(code) => Some((3, key(code))),
        // Alt and the letter O, followed by another key
        None => Some((2, alt(plain('O')))),
    }
}

/// `ESC ] NUMBER ; TEXT` up to BEL or `ESC \`: a late answer to a query of an earlier program.
fn osc(bytes: &[u8]) -> Found {
    if !bytes.get(2)?.is_ascii_digit() {
        return Some((2, alt(plain(']'))));
    }
    let (length, _, _) = string(bytes)?;
    Some((length, Sequence::Nothing))
}

/// `ESC _ G KEYS ; MESSAGE` up to `ESC \`: kitty's answer about an image.
fn apc(bytes: &[u8]) -> Found {
    if *bytes.get(2)? != b'G' {
        return Some((2, alt(plain('_'))));
    }
    let (length, text, complete) = string(bytes)?;
    let accepted = complete && text == format!("_Gi={QUERY};OK").as_bytes();
    Some((length, if accepted { Sequence::Answer(Answer::Kitty) } else { Sequence::Nothing }))
}

/// The length of a string of text that begins with ESC, the text after ESC, and whether it ended with its terminator
/// rather than with another control character; None if it is incomplete.
fn string(bytes: &[u8]) -> Option<(usize, &[u8], bool)> {
    let at = bytes.iter().skip(2).position(u8::is_ascii_control)? + 2;
    let text = &bytes[1..at];
    match (bytes[at], bytes.get(at + 1)) {
        (0x07, _) => Some((at + 1, text, true)),
        (ESC, None) => None,
        (ESC, Some(b'\\')) => Some((at + 2, text, true)),
        _ => Some((at, text, false)),
    }
}

/// `ESC [`, parameters and a final byte.
fn csi(bytes: &[u8]) -> Found {
    let at = bytes.iter().skip(2).position(|byte| !matches!(byte, 0x20..=0x3f))? + 2;
    let (parameters, end) = (&bytes[2..at], at + 1);
    Some(match (parameters, bytes[at]) {
        // the Linux console's first five function keys
        ([], b'[') => {
            let number = match bytes.get(end)? {
                letter @ b'A'..=b'E' => letter - b'A' + 1,
                0x40..=0x7e => return Some((end + 1, Sequence::Nothing)),
                _ => return Some((end, Sequence::Nothing)),
            };
            (end + 1, key(KeyCode::F(number)))
        }
        ([], b'M') => {
            let place = &bytes[end..];
            match (place.iter().take(3).position(|byte| *byte < 0x20), place) {
                (Some(broken), _) => (end + broken, Sequence::Nothing),
                (None, [button, column, row, ..]) => {
                    let decoded = |byte: &u8| u16::from(*byte) - 0x20;
                    (end + 3, mouse(button - 0x20, decoded(column), decoded(row), false))
                }
                (None, _) => return None,
            }
        }
        (b"200", b'~') => (end, Sequence::PasteBegins),
        ([b'?', attributes @ ..], b'c') => {
            let sixel = attributes.split(|byte| *byte == b';').skip(1).any(|attribute| attribute == b"4");
            (end, Sequence::Answer(Answer::Attributes { sixel }))
        }
        ([b'6', b';', size @ ..], b't') => (end, cell_size(size)),
        ([b'<', numbers @ ..], last @ (b'M' | b'm')) => (end, placed(numbers, 0, last == b'm')),
        (numbers, b'M') => (end, placed(numbers, 0x20, false)),
        (numbers, last @ 0x40..=0x7e) => (end, keyed(numbers, last)),
        // a byte that can't be part of a sequence interrupts it
        _ => (at, Sequence::Nothing),
    })
}

/// `HEIGHT;WIDTH` of a cell of the screen, in pixels.
fn cell_size(parameters: &[u8]) -> Sequence {
    let mut parts = parameters.split(|byte| *byte == b';');
    let mut size = || parts.next().and_then(number);
    match (size(), size()) {
        (Some(height), Some(width)) => Sequence::Answer(Answer::CellSize((width, height))),
        _ => Sequence::Nothing,
    }
}

/// The number in a part of a parameter, if it is one.
fn number<T: std::str::FromStr>(part: &[u8]) -> Option<T> {
    std::str::from_utf8(part).ok()?.parse().ok()
}

/// `BUTTON;COLUMN;ROW`, the button counted from `base`.
fn placed(parameters: &[u8], base: u8, released: bool) -> Sequence {
    let mut parts = parameters.split(|byte| *byte == b';');
    let button = parts.next().and_then(number::<u8>).and_then(|button| button.checked_sub(base));
    let mut place = || parts.next().and_then(number::<u16>);
    match (button, place(), place()) {
        (Some(button), Some(column), Some(row)) => mouse(button, column, row, released),
        _ => Sequence::Nothing,
    }
}

/// The mouse event with these button bits; columns and rows count from 1.
fn mouse(bits: u8, column: u16, row: u16, released: bool) -> Sequence {
    let dragging = bits & 0x20 != 0;
    let kind = match (bits & 0x03 | (bits & 0xc0) >> 4, dragging) {
        (button @ 0..=2, _) => {
            let button = [MouseButton::Left, MouseButton::Middle, MouseButton::Right][usize::from(button)];
            match (released, dragging) {
                (true, _) => MouseEventKind::Up(button),
                (false, true) => MouseEventKind::Drag(button),
                (false, false) => MouseEventKind::Down(button),
            }
        }
        (3, false) => MouseEventKind::Up(MouseButton::Left),
        (3..=5, true) => MouseEventKind::Moved,
        (4, false) => MouseEventKind::ScrollUp,
        (5, false) => MouseEventKind::ScrollDown,
        (6, false) => MouseEventKind::ScrollLeft,
        (7, false) => MouseEventKind::ScrollRight,
        _ => return Sequence::Nothing,
    };
    let held = [(0x04, KeyModifiers::SHIFT), (0x08, KeyModifiers::ALT), (0x10, KeyModifiers::CONTROL)];
    let modifiers = held.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, modifier)| modifier).collect();
    let (column, row) = (column.saturating_sub(1), row.saturating_sub(1));
    Sequence::Event(Event::Mouse(MouseEvent { kind, column, row, modifiers }))
}

/// A key with its modifiers: `NUMBER ; MODIFIERS` and the final byte.
fn keyed(parameters: &[u8], last: u8) -> Sequence {
    let parts: Vec<&[u8]> = parameters.split(|byte| *byte == b';').collect();
    let first = match parts[0] {
        [] => Some(1),
        part => number::<u32>(part.split(|byte| *byte == b':').next().unwrap_or_default()),
    };
    let mut held = parts.get(1).copied().unwrap_or_default().split(|byte| *byte == b':');
    let modifiers = modifiers(held.next().and_then(number::<u8>).unwrap_or(1));
    // the kitty protocol reports the release of a key
    let released = held.next() == Some(b"3");
    let code = match (first, last) {
        _ if released => None,
        (Some(1), b'Z') => return with(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT),
        (Some(1), letter) => lettered(letter).or_else(|| numbered(1).filter(|_| letter == b'~')),
        (Some(27), b'~') => parts.get(2).copied().and_then(number).and_then(coded),
        (Some(number), b'~') => numbered(number),
        (Some(code), b'u') => coded(code),
        _ => None,
    };
    code.map_or(Sequence::Nothing, |code| with(code, modifiers))
}

fn modifiers(number: u8) -> KeyModifiers {
    let all = [
        KeyModifiers::SHIFT,
        KeyModifiers::ALT,
        KeyModifiers::CONTROL,
        KeyModifiers::SUPER,
        KeyModifiers::HYPER,
        KeyModifiers::META,
    ];
    let bits = number.saturating_sub(1);
    all.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 != 0).map(|(_, modifier)| modifier).collect()
}

/// The key with this final letter.
fn lettered(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(letter - b'P' + 1),
        _ => return None,
    })
}

/// The key with this number before `~`.
fn numbered(number: u32) -> Option<KeyCode> {
    let f = |less: u32| u8::try_from(number - less).ok().map(KeyCode::F);
    match number {
        1 | 7 => Some(KeyCode::Home),
        2 => Some(KeyCode::Insert),
        3 => Some(KeyCode::Delete),
        4 | 8 => Some(KeyCode::End),
        5 => Some(KeyCode::PageUp),
        6 => Some(KeyCode::PageDown),
        11..=15 => f(10),
        17..=21 => f(11),
        23..=26 => f(12),
        28..=29 => f(13),
        31..=34 => f(14),
        _ => None,
    }
}

/// The key with this code point.
fn coded(code: u32) -> Option<KeyCode> {
    Some(match char::from_u32(code)? {
        '\r' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\x1b' => KeyCode::Esc,
        '\x08' | '\x7f' => KeyCode::Backspace,
        c if c.is_control() => return None,
        c => KeyCode::Char(c),
    })
}
