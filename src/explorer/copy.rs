//! Copying to the clipboard of the terminal.

use super::{Effect, State};
use crate::{keys::Action, views::Focus};

/// The most bytes that terminals accept for the clipboard; xterm has the lowest limit.
const CLIPBOARD: usize = 74_000;

impl State {
    /// What `y` copies: in the tree the hook's name, in a view the value under the cursor, in the edits the line.
    #[must_use]
    pub fn under_cursor(&self) -> String {
        let value = match self.scene.layout.focus {
            Focus::Edits => self.scene.edits.selected().map(|line| line.edit.to_string()),
            Focus::Tree => None,
            Focus::View => self.view().value(&self.scene),
        };
        value.unwrap_or_else(|| self.scene.point().to_string())
    }
}

/// Copy what is under the cursor.
pub(super) fn value(state: &mut State) -> Vec<Effect> {
    let text = state.under_cursor();
    copy(state, text.clone(), &text)
}

/// Copy the view's table, tab-separated.
pub(super) fn table(state: &mut State) -> Vec<Effect> {
    let Some(table) = state.table().filter(|table| !table.rows.is_empty()) else {
        state.scene.refuse("this view has no table to copy");
        return vec![];
    };
    let what = format!("{} rows of {}", table.rows.len(), state.table_name());
    copy(state, table.tab_separated(), &what)
}

fn copy(state: &mut State, text: String, what: &str) -> Vec<Effect> {
    if text.len() > CLIPBOARD {
        let (bytes, save) = (text.len(), state.scene.key(Action::Save));
        state.scene.refuse(format!("{bytes} bytes are too many for a terminal's clipboard; {save} saves them"));
        return vec![];
    }
    state.scene.say(format!("copied {what}"));
    vec![Effect::Copy(text)]
}
