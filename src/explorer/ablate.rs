//! What `a` ablates: whatever is under the cursor.

use super::state::State;
use crate::{
    hooks::Edit,
    keys::Action,
    views::{Focus, ablated},
};

impl State {
    /// The edit that `a` would make: an ablation of what is under the view's cursor, else of the head or component on
    /// the screen, else of the whole hook.
    #[must_use]
    pub fn ablation(&self) -> Edit {
        let focused = self.scene.layout.focus == Focus::View;
        self.view().ablation(&self.scene, focused).unwrap_or_else(|| ablated(self.scene.point(), &[]))
    }

    /// Why `a` would be refused, if it would be.
    #[must_use]
    pub fn cannot_ablate(&self) -> Option<String> {
        if let Some(why) = self.view().cannot_ablate(&self.scene) {
            return Some(why);
        }
        let edit = self.ablation();
        let error = self.scene.setting().plan(&edit).err()?;
        let points = edit.target.points(&self.scene.schema.dims).unwrap_or_default();
        let off = points.into_iter().find(|point| point.is_opt_in() && !self.scene.schema.is_enabled(*point));
        Some(match off {
            Some(point) => format!("{point} is off; {} turns it on", self.scene.key(Action::Enable)),
            None if self.scene.prompts.generated > 0 => {
                // its key types a number into a cell of Values
                let here = "`:append` makes the text up to the cursor the prompt";
                format!("{error}; edits count positions in the prompt: {here}")
            }
            None => error.to_string(),
        })
    }
}

/// Ablate what is under the cursor; if it is ablated already, undo that.
pub(super) fn ablate(state: &mut State) {
    let (view, scene) = state.view_mut();
    view.pin_cursor(scene);
    let (edit, why_not) = (state.ablation(), state.cannot_ablate());
    let scene = &mut state.scene;
    let exists = scene.edits.lines.iter().position(|line| line.edit == edit);
    match (exists, why_not) {
        (Some(at), _) if scene.edits.lines[at].on => {
            scene.say(format!("no longer ablated: {edit}"));
            scene.edits.change(|lines, _| drop(lines.remove(at)));
        }
        (None, Some(why)) => scene.refuse(why),
        (Some(_), _) | (None, None) => {
            let undo = scene.key(Action::Undo);
            scene.say(format!("ablated: {edit}; {undo} undoes it"));
            scene.edits.add(edit);
        }
    }
}

/// Change how much is ablated from now on.
pub(super) fn next_scope(state: &mut State) {
    let in_view = state.scene.layout.focus == Focus::View;
    state.scene.layout.focus = Focus::View;
    let (view, scene) = state.view_mut();
    if in_view && !view.next_scope(scene) {
        scene.say("there is only one ablation scope here");
    }
}
