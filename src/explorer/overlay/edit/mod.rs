//! The line editor for one edit.

mod draw;
mod editor;

use crossterm::event::{KeyCode, KeyEvent};

use super::{line, open::Overlay};
use crate::explorer::state::State;

pub(super) use draw::draw;
pub(crate) use editor::judge;
pub use editor::{Editor, Problem};

pub(super) fn key(state: &mut State, mut editor: Editor, key: &KeyEvent) {
    let scene = &mut state.scene;
    match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            if let Ok((edit, _)) = editor.verdict {
                return match editor.replaces.filter(|at| *at < scene.edits.lines.len()) {
                    Some(replaced) => scene.edits.change(|lines, _| lines[replaced].edit = edit),
                    None => scene.edits.push(edit),
                };
            }
        }
        KeyCode::Tab => editor.complete(scene.setting()),
        _ => {
            if line::typed(scene, &mut editor.input, key, line::LINE) {
                editor.refresh(scene.setting());
            }
        }
    }
    state.overlay = Some(Overlay::Edit(editor));
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut editor: Editor, text: &str) {
    if line::pasted(&mut state.scene, &mut editor.input, text, line::LINE) {
        editor.refresh(state.scene.setting());
    }
    state.overlay = Some(Overlay::Edit(editor));
}
