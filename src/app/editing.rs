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
    hooks::{Edit, Op, Plan},
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
        (Action::More, _) => line.edit.op = slide(line.edit.op, true),
        (Action::Less, _) => line.edit.op = slide(line.edit.op, false),
        (_, Some(other)) => {
            edits.swap(*at, other);
            *at = other;
        }
        _ => {}
    }
}

/// An operation with its number moved a step: a tenth, or as much as suits a number that is far smaller or larger.
fn slide(op: Op, up: bool) -> Op {
    let moved = |x: f32| {
        let size = f64::from(x.abs()).log10().floor();
        let step = match size {
            size if size >= 2.0 => 10f64.powf(size - 1.0),
            size if size < -1.0 && size.is_finite() => 10f64.powf(size),
            _ => 0.1,
        };
        // to a thousandth of a step, so that it returns to where it was
        let units = ((f64::from(x) + if up { step } else { -step }) / step * 1000.0).round();
        #[allow(clippy::cast_possible_truncation, reason = "numbers of edits are f32")]
        let moved = (units / 1000.0 * step).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        // an infinite number stays
        if x.is_finite() { moved } else { x }
    };
    match op {
        Op::Set(x) => Op::Set(moved(x)),
        Op::Scale(x) => Op::Scale(moved(x)),
        Op::Add(x) => Op::Add(moved(x)),
        Op::Noise { sd, seed } => Op::Noise { sd: moved(sd).max(0.0), seed },
        fixed @ (Op::Mean | Op::Patch | Op::Freeze) => fixed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_slide_by_what_suits_them_and_come_back() {
        let up = |x: f32| slide(Op::Set(x), true);
        let down = |op: Op| slide(op, false);
        for x in [0.5, 1.04, -2.0, 0.05, 0.003, 250.0, 7e20] {
            assert_ne!(up(x), Op::Set(x), "{x}");
            assert_eq!(down(up(x)), Op::Set(x), "{x}");
        }
        assert_eq!([up(0.0), up(0.3), up(0.05), up(250.0)], [0.1, 0.4, 0.06, 260.0].map(Op::Set));
        assert_eq!(up(f32::MAX), Op::Set(f32::MAX));
        assert_eq!(up(f32::NEG_INFINITY), Op::Set(f32::NEG_INFINITY));
        assert_eq!(slide(Op::Noise { sd: 0.1, seed: 3 }, false), Op::Noise { sd: 0.0, seed: 3 });
        assert_eq!(slide(Op::Mean, true), Op::Mean);
    }
}
