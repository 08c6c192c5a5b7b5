//! The one declaration of keys, from which dispatch, the hint bar, the help overlay, the command line's names and README's
//! table come.

use crossterm::event::{KeyCode, KeyEvent};

use super::key::{Key, ch, ctrl, key, key_with_ctrl};
use crate::names::nearest;

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
    NextCheckpoint,
    Tour,
    PreviousCheckpoint,
    Face,
    Enable,
    NextTab,
    PreviousTab,
    View(usize),
    NextFocus,
    PreviousFocus,
    Maximise,
    Narrower,
    Wider,
    Switch,
    Layout,
    Compare,
    Extreme,
    Order,
    Target,
    Distractor,
    Append,
    TakeBack,
    Ablate,
    Grain,
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
    Contrast,
    Find,
    NextMatch,
    PreviousMatch,
    FindToken,
    Copy,
    CopyTable,
    Save,
    Write,
    Export,
    Open,
    Command,
    Help,
    Escape,
    Redraw,
    Suspend,
    Quit,
}

/// An action with its name, its keys and what is said of it.
pub struct Binding {
    pub action: Action,
    /// For the command line and the configuration file.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// For the help overlay and README.
    pub doc: &'static str,
    /// For the hint bar; empty where it is left out.
    pub hint: &'static str,
}

const fn bind(
    action: Action,
    name: &'static str,
    keys: &'static [Key],
    doc: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { action, name, keys, doc, hint }
}

/// Every binding, in the order in which the help shows them.
pub const BINDINGS: &[Binding] = &[
    bind(Action::NextHook, "next-hook", &[ch(']')], "the next hook of the forward pass", "next hook"),
    bind(Action::PreviousHook, "previous-hook", &[ch('[')], "the previous hook", "previous"),
    bind(Action::NextBlock, "next-block", &[ch('}')], "the same hook in the next block", "next block"),
    bind(Action::PreviousBlock, "previous-block", &[ch('{')], "the same hook in the previous block", ""),
    bind(
        Action::NextHead,
        "next-head",
        &[ch('>')],
        "the next head; in Values, the next index of the hidden axis",
        "head",
    ),
    bind(Action::PreviousHead, "previous-head", &[ch('<')], "the previous head or index", ""),
    bind(
        Action::NextCheckpoint,
        "next-checkpoint",
        &[key_with_ctrl(KeyCode::Right), ctrl('n')],
        "the next checkpoint of the model's training",
        "",
    ),
    bind(
        Action::PreviousCheckpoint,
        "previous-checkpoint",
        &[key_with_ctrl(KeyCode::Left), ctrl('p')],
        "the previous checkpoint",
        "",
    ),
    bind(
        Action::Tour,
        "tour",
        &[ch('W')],
        "visit every checkpoint on this machine, for the chart in Training; again, stop",
        "",
    ),
    bind(
        Action::Face,
        "face",
        &[ch('f')],
        "switch the tree between TransformerLens's hooks and Hugging Face's modules",
        "",
    ),
    bind(
        Action::Enable,
        "enable-hook",
        &[ch('O')],
        "turn an opt-in hook on or off (`:enable NAME` for all blocks)",
        "",
    ),
    bind(
        Action::Ablate,
        "ablate",
        &[ch('a')],
        "ablate the hook, or what is under the view's cursor; again, undo that",
        "ablate",
    ),
    bind(
        Action::Grain,
        "grain",
        &[ch('A')],
        "choose what `a` ablates in Values and Attention: cell, row, column or all",
        "",
    ),
    bind(
        Action::ChangeEdit,
        "edit-selected",
        &[ch('e')],
        "edit what is selected, as a line of text; in the edits panel, change the selected edit",
        "edit",
    ),
    bind(Action::NewEdit, "new-edit", &[ch('i')], "write a new edit", ""),
    bind(Action::More, "more", &[ch('+'), ch('=')], "raise the selected edit's number by a tenth", ""),
    bind(Action::Less, "less", &[ch('-')], "lower it by a tenth", ""),
    bind(Action::EditUp, "edit-up", &[ch('K')], "move the selected edit up (edits apply in order)", ""),
    bind(Action::EditDown, "edit-down", &[ch('J')], "move it down", ""),
    bind(Action::Rerun, "rerun", &[ch('r')], "run again after a cancelled or failed run", ""),
    bind(Action::Undo, "undo", &[ch('u')], "undo the last change to the edits", "undo"),
    bind(Action::Redo, "redo", &[ctrl('r')], "redo it", ""),
    bind(Action::ToggleEdit, "toggle-edit", &[ch(' ')], "switch the selected edit off or on", "on/off"),
    bind(Action::DeleteEdit, "delete-edit", &[ch('x'), key(KeyCode::Delete)], "delete the selected edit", "delete"),
    bind(Action::NextTab, "next-view", &[ch('v')], "the next view", "view"),
    bind(Action::PreviousTab, "previous-view", &[ch('V')], "the previous view", ""),
    bind(Action::View(0), "shape", &[ch('1')], "Shape: what the hook is, and its statistics", ""),
    bind(Action::View(1), "values", &[ch('2')], "Values: every number", ""),
    bind(Action::View(2), "attention", &[ch('3')], "Attention: patterns and scores", ""),
    bind(Action::View(3), "logits", &[ch('4')], "Logits: the next tokens", ""),
    bind(Action::View(4), "lens", &[ch('5')], "Lens: what each layer would predict", ""),
    bind(Action::View(5), "attribution", &[ch('6')], "Attribution: each component's contribution to the logit", ""),
    bind(Action::View(6), "heads", &[ch('7')], "Heads: every head by what it attends to", ""),
    bind(
        Action::View(7),
        "sweep",
        &[ch('8')],
        "Sweep: every head and MLP ablated, or patched from the contrast prompt",
        "",
    ),
    bind(
        Action::View(8),
        "training",
        &[ch('9')],
        "Training: the model's checkpoints, and a number over those you visited",
        "",
    ),
    bind(
        Action::Switch,
        "switch",
        &[ch('s')],
        "change what is shown: pattern, scores or value-weighted; axes; probability or KL; score; map; number",
        "",
    ),
    bind(
        Action::Layout,
        "layout",
        &[ch('m')],
        "change how it is shown: one head, the block's or all; numbers or colours; bars or map; metric",
        "",
    ),
    bind(Action::Compare, "compare", &[ch('d')], "with edits: cycle edited run, difference, baseline", ""),
    bind(Action::Extreme, "extreme", &[ch('*')], "Values, Attention: go to the value furthest from 0", ""),
    bind(
        Action::Order,
        "order",
        &[ch('c')],
        "Values: sort the columns by the cursor's row, or restore their order",
        "",
    ),
    bind(
        Action::Target,
        "set-target",
        &[ch('t')],
        "Logits, Lens: make this token the target of the logit difference",
        "",
    ),
    bind(Action::Distractor, "set-distractor", &[ch('T')], "make it the distractor; again, use the target alone", ""),
    bind(
        Action::Append,
        "append",
        &[ch('.')],
        "append the likeliest next token, or the one selected in Logits",
        "append",
    ),
    bind(Action::TakeBack, "take-back", &[ch(',')], "remove the last appended token", ""),
    bind(Action::NextFocus, "next-panel", &[key(KeyCode::Tab)], "the next panel: tree, view, edits", "panel"),
    bind(Action::PreviousFocus, "previous-panel", &[key(KeyCode::BackTab)], "the previous panel", ""),
    bind(Action::Maximise, "maximise", &[ch('z')], "maximise the panel, or restore it", ""),
    bind(Action::Narrower, "narrower", &[ch('(')], "make the tree narrower (you can also drag its border)", ""),
    bind(Action::Wider, "wider", &[ch(')')], "make the tree wider", ""),
    bind(Action::Prompt, "edit-prompt", &[ch('p')], "edit the prompt", "prompt"),
    bind(Action::Contrast, "edit-contrast", &[ch('P')], "edit the contrast prompt, the source of `= patch`", ""),
    bind(Action::Find, "find", &[ch('/')], "find a hook by parts of its name: `3 pat`", "find"),
    bind(Action::NextMatch, "next-match", &[ch('n')], "the next hook found", ""),
    bind(Action::PreviousMatch, "previous-match", &[ch('N')], "the previous hook found", ""),
    bind(Action::FindToken, "find-token", &[ch('F')], "the rank of any token among the next ones", ""),
    bind(Action::Copy, "copy", &[ch('y')], "copy the hook's name or, in a view, the value under the cursor", ""),
    bind(Action::CopyTable, "copy-table", &[ch('Y')], "copy the view's table, tab-separated", ""),
    bind(Action::Save, "save", &[ch('S')], "save the view as SVG, or its numbers as CSV or npz", ""),
    bind(Action::Write, "write", &[ch('w')], "write the experiment: model, prompts, hooks, edits, view", "write"),
    bind(Action::Open, "open", &[ch('o')], "open an experiment, or the last session", ""),
    bind(Action::Export, "export", &[ch('E')], "write a Python script that repeats the run in TransformerLens", ""),
    bind(
        Action::Command,
        "command",
        &[ch(':')],
        "open the command line: every action by name, and commands with arguments",
        "",
    ),
    bind(Action::Up, "up", &[ch('k'), key(KeyCode::Up)], "up", ""),
    bind(Action::Down, "down", &[ch('j'), key(KeyCode::Down)], "down", ""),
    bind(Action::Left, "left", &[ch('h'), key(KeyCode::Left)], "fold, or go to the parent; left in a view", ""),
    bind(Action::Right, "right", &[ch('l'), key(KeyCode::Right)], "unfold; right in a view", ""),
    bind(Action::Enter, "enter", &[key(KeyCode::Enter)], "fold or unfold; open what is under the cursor; zoom in", ""),
    bind(Action::First, "first", &[ch('g'), key(KeyCode::Home)], "the first row", ""),
    bind(Action::Last, "last", &[ch('G'), key(KeyCode::End)], "the last row", ""),
    bind(Action::PageUp, "page-up", &[ctrl('u'), key(KeyCode::PageUp)], "a page up", ""),
    bind(Action::PageDown, "page-down", &[ctrl('d'), key(KeyCode::PageDown)], "a page down", ""),
    bind(Action::Escape, "escape", &[key(KeyCode::Esc)], "close the dialog; cancel the run; return to the tree", ""),
    bind(Action::Help, "help", &[ch('?')], "this help", "help"),
    bind(Action::Redraw, "redraw", &[ctrl('l')], "redraw the screen", ""),
    bind(Action::Suspend, "suspend", &[ctrl('z')], "suspend to the shell; `fg` returns", ""),
    bind(Action::Quit, "quit", &[ch('q'), ctrl('c')], "quit", "quit"),
];

/// The keys of each binding, in the order of [`BINDINGS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keymap(Vec<Vec<Key>>);

impl Default for Keymap {
    fn default() -> Self {
        Self(BINDINGS.iter().map(|binding| binding.keys.to_vec()).collect())
    }
}

impl Keymap {
    /// Bind the action of a name to these keys and no others; another action that had one of them loses it.
    ///
    /// # Errors
    /// No action has that name, or Ctrl-C is among the keys: it quits whatever is bound.
    pub fn bind(&mut self, name: &str, keys: &[Key]) -> Result<(), String> {
        let Some(at) = BINDINGS.iter().position(|binding| binding.name == name) else {
            let nearest = nearest(name, BINDINGS.iter().map(|binding| binding.name));
            return Err(format!("there is no action `{name}`{nearest}"));
        };
        let always = ctrl('c');
        if keys.contains(&always) && BINDINGS[at].action != Action::Quit {
            return Err(format!("{always} always quits; it can't be bound to `{name}`"));
        }
        for other in &mut self.0 {
            other.retain(|key| !keys.contains(key));
        }
        self.0[at] = keys.to_vec();
        Ok(())
    }

    /// The action bound to a key, if any.
    pub(super) fn action(&self, event: &KeyEvent) -> Option<Action> {
        let at = self.0.iter().position(|keys| keys.iter().any(|key| key.matches(event)))?;
        Some(BINDINGS[at].action)
    }

    /// Every binding with its keys here.
    pub fn bindings(&self) -> impl Iterator<Item = (&'static Binding, &[Key])> {
        BINDINGS.iter().zip(self.0.iter().map(Vec::as_slice))
    }

    /// The first key of an action, as the screen shows it; its name where it has none.
    #[must_use]
    pub fn key(&self, action: Action) -> String {
        let bound = self.bindings().find(|(binding, _)| binding.action == action);
        let first = bound.and_then(|(_, keys)| keys.first()).map(ToString::to_string);
        first.unwrap_or_else(|| bound.map(|(binding, _)| format!(":{}", binding.name)).unwrap_or_default())
    }
}

/// README's table of keys, in Markdown.
#[must_use]
pub fn key_table() -> String {
    let row = |b: &Binding| {
        let keys: Vec<String> = b.keys.iter().map(|k| format!("`{k}`")).collect();
        format!("| {} | `{}` | {} |\n", keys.join(" "), b.name, b.doc)
    };
    let rows: String = BINDINGS.iter().map(row).collect();
    format!("| key | name | what it does |\n|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        let keys: Vec<Key> = BINDINGS.iter().flat_map(|b| b.keys.iter().copied()).collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{key} is bound twice");
        }
        for (i, binding) in BINDINGS.iter().enumerate() {
            assert!(BINDINGS[..i].iter().all(|b| b.name != binding.name && b.action != binding.action));
        }
    }

    #[test]
    fn shift_does_not_hide_a_character() {
        let event = |modifiers| KeyEvent::new(KeyCode::Char('}'), modifiers);
        let keys = Keymap::default();
        assert_eq!(keys.action(&event(KeyModifiers::SHIFT)), Some(Action::NextBlock));
        assert_eq!(keys.action(&event(KeyModifiers::NONE)), Some(Action::NextBlock));
        assert_eq!(keys.action(&event(KeyModifiers::CONTROL)), None);
    }

    #[test]
    fn every_key_is_read_as_it_is_written() {
        for key in BINDINGS.iter().flat_map(|b| b.keys) {
            assert_eq!(key.to_string().parse::<Key>(), Ok(*key));
        }
        assert_eq!("F5".parse::<Key>().unwrap().to_string(), "F5");
        assert_eq!("Alt-Left".parse::<Key>().unwrap().to_string(), "Alt-Left");
        assert_eq!("-".parse::<Key>().unwrap(), ch('-'));
        for wrong in ["", "F13", "Ctrl-", "Hyper-x", "ab"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_is_given_to_another_action_leaves_the_first() {
        let mut keys = Keymap::default();
        let x: Key = "x".parse().unwrap();
        keys.bind("ablate", &[x]).unwrap();
        let event = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!(keys.action(&event('x')), Some(Action::Ablate));
        assert_eq!(keys.action(&event('a')), None);
        assert_eq!(keys.key(Action::DeleteEdit), "Del");
        assert!(keys.bind("abblate", &[x]).unwrap_err().contains("did you mean `ablate`?"));
        assert!(keys.bind("up", &["Ctrl-C".parse().unwrap()]).unwrap_err().contains("always quits"));
        keys.bind("quit", &["Q".parse().unwrap()]).unwrap();
        assert_eq!((keys.key(Action::Quit), keys.action(&event('q'))), ("Q".into(), None));
        assert_eq!("Alt-A".parse::<Key>().unwrap().to_string(), "Alt-A");
    }
}
