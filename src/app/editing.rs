//! Changes to the list of edits: with one key, in the line editor, and back again.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::InputRequest;

use super::{
    Action, Editor, Overlay, State, line,
    state::History,
    update::{refuse, run_again, say},
};
use crate::{
    experiment::EditLine,
    hooks::{Edit, Plan},
};

/// Change the list of edits, so that it can be undone, and run again if what is switched on differs.
pub(super) fn change_edits(state: &mut State, change: impl FnOnce(&mut Vec<EditLine>, &mut usize)) {
    let (before, active) = (state.edits.clone(), state.active_edits());
    change(&mut state.edits, &mut state.edit_cursor);
    if state.edits != before {
        state.undone.before.push(before);
        state.undone.after.clear();
    }
    if state.active_edits() != active {
        run_again(state);
    }
}

pub(super) fn alter(edits: &mut Vec<EditLine>, at: &mut usize, action: Action) {
    let other = match action {
        Action::EditUp => at.checked_sub(1),
        Action::EditDown => Some(*at + 1).filter(|other| *other < edits.len()),
        _ => None,
    };
    let Some(line) = edits.get_mut(*at) else { return };
    match (action, other) {
        (Action::ToggleEdit, _) => line.on = !line.on,
        (Action::DeleteEdit, _) => drop(edits.remove(*at)),
        (Action::More, _) => line.edit.op = line.edit.op.slid(true),
        (Action::Less, _) => line.edit.op = line.edit.op.slid(false),
        (_, Some(other)) => {
            edits.swap(*at, other);
            *at = other;
        }
        _ => {}
    }
}

/// Take a list of edits from one side of the history, leaving the present one on the other.
pub(super) fn time_travel(
    state: &mut State,
    sides: impl FnOnce(&mut History) -> (&mut Vec<Vec<EditLine>>, &mut Vec<Vec<EditLine>>),
) {
    let active = state.active_edits();
    let (from, to) = sides(&mut state.undone);
    let Some(edits) = from.pop() else { return refuse(state, "there is nothing to go back to".into()) };
    to.push(std::mem::replace(&mut state.edits, edits));
    // the prompts may be others than those that the list was made for
    let unfit = drop_unfit(state);
    if unfit > 0 {
        say(state, format!("{unfit} of the edits do not fit the prompts and stay off"));
    }
    if state.active_edits() != active {
        run_again(state);
    }
}

pub(super) fn editor_key(state: &mut State, mut editor: Editor, key: &KeyEvent) {
    match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            if let Ok((edit, _)) = editor.verdict {
                return match editor.replaces.filter(|at| *at < state.edits.len()) {
                    Some(replaced) => change_edits(state, |edits, _| edits[replaced].edit = edit),
                    None => push_edit(state, edit),
                };
            }
        }
        KeyCode::Tab => editor.complete(state.setting()),
        _ => {
            if line::typed(state, &mut editor.input, key, line::LINE) {
                editor.refresh(state.setting());
            }
        }
    }
    state.overlay = Some(Overlay::Edit(editor));
}

/// Text of one line, pasted into the line of an edit.
pub(super) fn editor_paste(state: &mut State, mut editor: Editor, text: &str) {
    if line::pasted(state, &mut editor.input, text, line::LINE) {
        editor.refresh(state.setting());
    }
    state.overlay = Some(Overlay::Edit(editor));
}

/// What a key does in a line of text.
pub(super) fn line_request(key: &KeyEvent) -> Option<InputRequest> {
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

/// Switch off the edits that do not fit the prompts and hooks as they are now; how many.
pub(super) fn drop_unfit(state: &mut State) -> usize {
    let (n_pos, contrast) = (state.tokens.len(), state.contrast.as_ref().map(Vec::len));
    let mut unfit = 0;
    for line in state.edits.iter_mut().filter(|line| line.on) {
        line.on = Plan::resolve(std::slice::from_ref(&line.edit), &state.schema, n_pos, contrast).is_ok();
        unfit += usize::from(!line.on);
    }
    unfit
}

/// Add an edit at the end of the list, and choose it.
pub(super) fn push_edit(state: &mut State, edit: Edit) {
    change_edits(state, |edits, at| {
        edits.push(EditLine { edit, on: true });
        *at = edits.len() - 1;
    });
}

/// Add an edit to the list, or switch on the same one if it is there.
pub(super) fn add_edit(state: &mut State, edit: Edit) {
    match state.edits.iter().position(|line| line.edit == edit) {
        Some(there) => change_edits(state, |edits, at| {
            edits[there].on = true;
            *at = there;
        }),
        None => push_edit(state, edit),
    }
}

pub(super) fn ablate(state: &mut State) {
    // what is largest changes with the edit; the cursor stays
    state.component = state.chosen_component();
    let edit = state.ablation();
    let exists = state.edits.iter().position(|line| line.edit == edit);
    match (exists, state.cannot_ablate()) {
        (Some(at), _) if state.edits[at].on => {
            say(state, format!("took back {edit}"));
            change_edits(state, |edits, _| drop(edits.remove(at)));
        }
        (None, Some(error)) => refuse(state, error),
        (Some(_), _) | (None, None) => add_edit(state, edit),
    }
}
