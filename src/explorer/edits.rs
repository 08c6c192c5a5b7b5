//! Changing the numbers of edits, and undoing and redoing changes to their list.

use super::state::State;
use crate::{
    experiment::EditLine,
    hooks::Edit,
    views::{EditList, Focus, Scene},
};

/// Raise or lower the number of the selected edit; in a view that has something of its own to scale, the number of an edit of that,
/// which is added where there is none.
pub(super) fn slide(state: &mut State, up: bool) {
    let in_view = state.scene.layout.focus == Focus::View;
    let (view, scene) = state.view_mut();
    if in_view && view.slide(scene, up) {
        return;
    }
    let of_view = (state.scene.layout.focus == Focus::View).then(|| state.view().slides(&state.scene)).flatten();
    if let Some(edit) = of_view {
        let (view, scene) = state.view_mut();
        view.pin_cursor(scene);
        let same = |line: &EditLine| {
            let (there, new) = (&line.edit, &edit);
            (there.features, &there.target, &there.selection) == (new.features, &new.target, &new.selection)
                && there.op.is_same_operation(new.op)
        };
        let edits = &mut state.scene.edits;
        let Some(there) = edits.lines.iter().position(same) else {
            let op = edit.op.slid(up);
            return edits.push(Edit { op, ..edit });
        };
        edits.cursor = there;
    }
    state.scene.edits.change_selected(|line| line.edit.op = line.edit.op.slid(up));
}

/// Undo or redo a change to the list of edits ([`EditList::undo`], [`EditList::redo`]), and say what that changed.
pub(super) fn undo(scene: &mut Scene, step: fn(&mut EditList) -> bool) {
    let before = scene.edits.lines.clone();
    if !step(&mut scene.edits) {
        return scene.refuse("there is nothing more to undo or redo");
    }
    let said = change(&before, &scene.edits.lines);
    // the prompts may have changed since the list had these edits
    let unfit = scene.drop_unfit_edits();
    let unfit = match unfit {
        0 => String::new(),
        n => format!("; {n} of the edits do not fit the prompts and stay off"),
    };
    scene.say(said + &unfit);
}

/// The difference between two lists, in a few words.
fn change(before: &[EditLine], after: &[EditLine]) -> String {
    let missing = |from: &[EditLine], of: &[EditLine]| -> Vec<String> {
        from.iter().filter(|line| !of.iter().any(|o| o.edit == line.edit)).map(|line| line.edit.to_string()).collect()
    };
    let (gone, new) = (missing(before, after), missing(after, before));
    let switched = after.iter().find(|line| before.iter().any(|b| b.edit == line.edit && b.on != line.on));
    match (gone.as_slice(), new.as_slice(), switched) {
        ([gone], [new], _) => format!("changed {gone} to {new}"),
        ([gone], [], _) => format!("removed {gone}"),
        ([], [new], _) => format!("added {new}"),
        ([], [], Some(line)) => format!("switched {} {}", if line.on { "on" } else { "off" }, line.edit),
        ([], [], None) => "reordered the edits".into(),
        (gone, new, _) => format!("removed {} edits and added {}", gone.len(), new.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_described_by_what_differs() {
        let line = |text: &str, on: bool| EditLine { edit: text.parse().unwrap(), on };
        let (a, b) = (line("hook_embed = 0", true), line("hook_embed *= 2", true));
        assert_eq!(change(&[], std::slice::from_ref(&a)), "added hook_embed = 0");
        assert_eq!(change(std::slice::from_ref(&a), &[]), "removed hook_embed = 0");
        assert_eq!(
            change(std::slice::from_ref(&a), std::slice::from_ref(&b)),
            "changed hook_embed = 0 to hook_embed *= 2"
        );
        assert_eq!(change(std::slice::from_ref(&a), &[line("hook_embed = 0", false)]), "switched off hook_embed = 0");
        assert_eq!(change(&[a.clone(), b.clone()], &[b.clone(), a.clone()]), "reordered the edits");
        assert_eq!(change(&[], &[a, b]), "removed 0 edits and added 2");
    }
}
