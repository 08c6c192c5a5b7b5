//! Keys, as events, as text in the help and as text in the configuration file.

use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(super) KeyCode, pub(super) KeyModifiers);

pub(super) const fn ch(c: char) -> Key {
    Key(KeyCode::Char(c), KeyModifiers::NONE)
}

pub(super) const fn ctrl(c: char) -> Key {
    Key(KeyCode::Char(c), KeyModifiers::CONTROL)
}

pub(super) const fn key_with_ctrl(code: KeyCode) -> Key {
    Key(code, KeyModifiers::CONTROL)
}

pub(super) const fn key_with_alt(code: KeyCode) -> Key {
    Key(code, KeyModifiers::ALT)
}

pub(super) const fn key(code: KeyCode) -> Key {
    Key(code, KeyModifiers::NONE)
}

/// The character of a key with which a number begins: a digit, `-` or `.`. In a cell it is typed, whatever it is bound to.
pub(crate) fn number_begun(event: &KeyEvent) -> Option<char> {
    match event.code {
        KeyCode::Char(c) if event.modifiers.is_empty() && (c.is_ascii_digit() || c == '-' || c == '.') => Some(c),
        _ => None,
    }
}

impl Key {
    /// The event that a terminal sends for this key.
    #[must_use]
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.0, self.1)
    }

    pub(super) fn matches(self, event: &KeyEvent) -> bool {
        // A terminal may or may not report Shift with a character that needs it.
        let modifiers = match event.code {
            KeyCode::Char(_) | KeyCode::BackTab => event.modifiers.difference(KeyModifiers::SHIFT),
            _ => event.modifiers,
        };
        event.code == self.0 && modifiers == self.1
    }
}

/// Keys that have a name, as help shows them and the configuration file writes them.
const NAMED: [(&str, KeyCode); 15] = [
    ("Space", KeyCode::Char(' ')),
    ("Enter", KeyCode::Enter),
    ("Esc", KeyCode::Esc),
    ("Tab", KeyCode::Tab),
    ("Shift-Tab", KeyCode::BackTab),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("Del", KeyCode::Delete),
    ("Backspace", KeyCode::Backspace),
];

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.1.contains(KeyModifiers::CONTROL) {
            f.write_str("Ctrl-")?;
        }
        if self.1.contains(KeyModifiers::ALT) {
            f.write_str("Alt-")?;
        }
        match (self.0, NAMED.iter().find(|(_, code)| *code == self.0)) {
            (_, Some((name, _))) => f.write_str(name),
            (KeyCode::Char(c), _) if self.1.contains(KeyModifiers::CONTROL) => write!(f, "{}", c.to_ascii_uppercase()),
            (KeyCode::Char(c), _) => write!(f, "{c}"),
            (other, _) => write!(f, "{other}"),
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rest, mut modifiers) = (text, KeyModifiers::NONE);
        for (prefix, modifier) in [("Ctrl-", KeyModifiers::CONTROL), ("Alt-", KeyModifiers::ALT)] {
            if let Some(after) = rest.strip_prefix(prefix).filter(|after| !after.is_empty()) {
                (rest, modifiers) = (after, modifiers | modifier);
            }
        }
        if let Some((_, code)) = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(rest)) {
            return Ok(Self(*code, modifiers));
        }
        let mut chars = rest.chars();
        match (chars.next(), chars.as_str()) {
            (Some(c), "") if modifiers.contains(KeyModifiers::CONTROL) => {
                Ok(Self(KeyCode::Char(c.to_ascii_lowercase()), modifiers))
            }
            (Some(c), "") => Ok(Self(KeyCode::Char(c), modifiers)),
            (Some('F'), number) if matches!(number.parse(), Ok(1..=12u8)) => {
                Ok(Self(KeyCode::F(number.parse().unwrap_or(1)), modifiers))
            }
            _ => {
                let names = NAMED.map(|(name, _)| name).join(", ");
                Err(format!(
                    "`{text}` is not a key; expected a character, {names} or F1 to F12, optionally after Ctrl- or Alt-"
                ))
            }
        }
    }
}
