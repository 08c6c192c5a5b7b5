//! The one declaration of keys, from which dispatch, the hint bar, the help overlay and README's table come.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    NextHook,
    PreviousHook,
    NextBlock,
    PreviousBlock,
    NextHead,
    PreviousHead,
    NextTab,
    PreviousTab,
    NextFocus,
    PreviousFocus,
    ToggleScores,
    Ablate,
    NewEdit,
    ChangeEdit,
    More,
    Less,
    EditUp,
    EditDown,
    Rerun,
    Undo,
    Redo,
    ToggleEdit,
    DeleteEdit,
    Prompt,
    Find,
    NextMatch,
    PreviousMatch,
    Help,
    Escape,
    Redraw,
    Suspend,
    Quit,
}

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(KeyCode, KeyModifiers);

const fn ch(c: char) -> Key {
    Key(KeyCode::Char(c), KeyModifiers::NONE)
}

const fn ctrl(c: char) -> Key {
    Key(KeyCode::Char(c), KeyModifiers::CONTROL)
}

const fn key(code: KeyCode) -> Key {
    Key(code, KeyModifiers::NONE)
}

impl Key {
    fn matches(self, event: &KeyEvent) -> bool {
        // A terminal may or may not report Shift with a character that needs it.
        let modifiers = match event.code {
            KeyCode::Char(_) | KeyCode::BackTab => event.modifiers.difference(KeyModifiers::SHIFT),
            _ => event.modifiers,
        };
        event.code == self.0 && modifiers == self.1
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.1.contains(KeyModifiers::CONTROL) {
            f.write_str("Ctrl-")?;
        }
        match self.0 {
            KeyCode::Char(' ') => f.write_str("Space"),
            KeyCode::Char(c) if self.1.contains(KeyModifiers::CONTROL) => write!(f, "{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::BackTab => f.write_str("Shift-Tab"),
            KeyCode::PageUp => f.write_str("PgUp"),
            KeyCode::PageDown => f.write_str("PgDn"),
            other => write!(f, "{other}"),
        }
    }
}

/// An action with its keys and what is said of it.
pub struct Binding {
    pub action: Action,
    pub keys: &'static [Key],
    /// For the help overlay and README.
    pub doc: &'static str,
    /// For the hint bar; empty where it is left out.
    pub hint: &'static str,
}

const fn bind(action: Action, keys: &'static [Key], doc: &'static str, hint: &'static str) -> Binding {
    Binding { action, keys, doc, hint }
}

/// Every binding, in the order in which the help shows them.
pub const BINDINGS: &[Binding] = &[
    bind(Action::NextHook, &[ch(']')], "the next hook of the forward pass", "next hook"),
    bind(Action::PreviousHook, &[ch('[')], "the previous hook", "previous"),
    bind(Action::NextBlock, &[ch('}')], "the same hook a block on", "next block"),
    bind(Action::PreviousBlock, &[ch('{')], "the same hook a block back", ""),
    bind(Action::NextHead, &[ch('>')], "the next head", "head"),
    bind(Action::PreviousHead, &[ch('<')], "the previous head", ""),
    bind(
        Action::Ablate,
        &[ch('a')],
        "zero-ablate the head (in Attention and Heads) or the hook; again to take it back",
        "ablate",
    ),
    bind(
        Action::ChangeEdit,
        &[ch('e')],
        "write an edit for what is selected; in the edits panel, change the chosen one",
        "edit",
    ),
    bind(Action::NewEdit, &[ch('i')], "write an edit from an empty line", ""),
    bind(Action::More, &[ch('+'), ch('=')], "raise the chosen edit's number by a tenth", ""),
    bind(Action::Less, &[ch('-')], "lower it", ""),
    bind(Action::EditUp, &[ch('K')], "move the chosen edit up: edits apply in order", ""),
    bind(Action::EditDown, &[ch('J')], "move it down", ""),
    bind(Action::Rerun, &[ch('r')], "run again, after a run that was cancelled or failed", ""),
    bind(Action::Undo, &[ch('u')], "undo a change of the edits", "undo"),
    bind(Action::Redo, &[ctrl('r')], "redo it", ""),
    bind(Action::ToggleEdit, &[ch(' ')], "switch the chosen edit off and on", "on/off"),
    bind(Action::DeleteEdit, &[ch('x'), key(KeyCode::Delete)], "delete the chosen edit", "delete"),
    bind(Action::NextTab, &[ch('v')], "the next view: Shape, Attention, Logits, Lens, Heads", "view"),
    bind(Action::PreviousTab, &[ch('V')], "the previous view", ""),
    bind(Action::ToggleScores, &[ch('s')], "attention: pattern or scores; heads: the next score", ""),
    bind(Action::NextFocus, &[key(KeyCode::Tab)], "the next panel: tree, view, edits", "panel"),
    bind(Action::PreviousFocus, &[key(KeyCode::BackTab)], "the previous panel", ""),
    bind(Action::Prompt, &[ch('p')], "edit the prompt", "prompt"),
    bind(Action::Find, &[ch('/')], "find a hook by parts of its name: `3 pat`", "find"),
    bind(Action::NextMatch, &[ch('n')], "the next hook found", ""),
    bind(Action::PreviousMatch, &[ch('N')], "the previous hook found", ""),
    bind(Action::Up, &[ch('k'), key(KeyCode::Up)], "up", ""),
    bind(Action::Down, &[ch('j'), key(KeyCode::Down)], "down", ""),
    bind(Action::Left, &[ch('h'), key(KeyCode::Left)], "fold, or to the parent; left in a view", ""),
    bind(Action::Right, &[ch('l'), key(KeyCode::Right)], "unfold; right in a view", ""),
    bind(Action::Enter, &[key(KeyCode::Enter)], "fold or unfold; look at the hook", ""),
    bind(Action::First, &[ch('g'), key(KeyCode::Home)], "the first row", ""),
    bind(Action::Last, &[ch('G'), key(KeyCode::End)], "the last row", ""),
    bind(Action::PageUp, &[ctrl('u'), key(KeyCode::PageUp)], "a page up", ""),
    bind(Action::PageDown, &[ctrl('d'), key(KeyCode::PageDown)], "a page down", ""),
    bind(Action::Escape, &[key(KeyCode::Esc)], "close what is open; cancel a run", ""),
    bind(Action::Help, &[ch('?')], "this help", "help"),
    bind(Action::Redraw, &[ctrl('l')], "draw the screen anew", ""),
    bind(Action::Suspend, &[ctrl('z')], "back to the shell until `fg`", ""),
    bind(Action::Quit, &[ch('q'), ctrl('c')], "quit", "quit"),
];

impl Binding {
    /// Its keys, as help shows them.
    #[must_use]
    pub fn keys(&self) -> String {
        self.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// The action bound to a key, if any.
pub(super) fn action(event: &KeyEvent) -> Option<Action> {
    BINDINGS.iter().find(|b| b.keys.iter().any(|key| key.matches(event))).map(|b| b.action)
}

/// README's table of keys, in Markdown.
#[must_use]
pub fn key_table() -> String {
    let row = |b: &Binding| {
        let keys: Vec<String> = b.keys.iter().map(|k| format!("`{k}`")).collect();
        format!("| {} | {} |\n", keys.join(" "), b.doc)
    };
    let rows: String = BINDINGS.iter().map(row).collect();
    format!("| key | what it does |\n|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        let keys: Vec<Key> = BINDINGS.iter().flat_map(|b| b.keys.iter().copied()).collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{key} is bound twice");
        }
    }

    #[test]
    fn shift_does_not_hide_a_character() {
        let event = |modifiers| KeyEvent::new(KeyCode::Char('}'), modifiers);
        assert_eq!(action(&event(KeyModifiers::SHIFT)), Some(Action::NextBlock));
        assert_eq!(action(&event(KeyModifiers::NONE)), Some(Action::NextBlock));
        assert_eq!(action(&event(KeyModifiers::CONTROL)), None);
    }
}
