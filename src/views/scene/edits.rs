use crate::{
    experiment::EditLine,
    hooks::{Edit, EditError, Plan, Schema},
};

/// The list of edits, with a cursor and the history of changes.
#[derive(Clone, Debug, Default)]
pub struct EditList {
    pub lines: Vec<EditLine>,
    pub cursor: usize,
    /// Previous lists, the latest last.
    before: Vec<Vec<EditLine>>,
    /// Lists that were undone, the latest last.
    after: Vec<Vec<EditLine>>,
}

impl EditList {
    /// The edits that are switched on.
    #[must_use]
    pub fn active(&self) -> Vec<Edit> {
        self.lines.iter().filter(|line| line.on).map(|line| line.edit.clone()).collect()
    }

    /// The line under the cursor.
    #[must_use]
    pub fn selected(&self) -> Option<&EditLine> {
        self.lines.get(self.cursor)
    }

    /// Change the list and its cursor in a way that can be undone.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<EditLine>, &mut usize)) {
        let before = self.lines.clone();
        change(&mut self.lines, &mut self.cursor);
        if self.lines != before {
            self.before.push(before);
            self.after.clear();
        }
    }

    /// Change the line under the cursor, if there is one.
    pub fn change_selected(&mut self, change: impl FnOnce(&mut EditLine)) {
        self.change(|lines, at| {
            if let Some(line) = lines.get_mut(*at) {
                change(line);
            }
        });
    }

    /// Add an edit at the end, and select it.
    pub fn push(&mut self, edit: Edit) {
        self.change(|lines, at| {
            lines.push(EditLine { edit, on: true });
            *at = lines.len() - 1;
        });
    }

    /// Add an edit, or switch on the same edit if it is in the list.
    pub fn add(&mut self, edit: Edit) {
        match self.lines.iter().position(|line| line.edit == edit) {
            Some(there) => self.change(|lines, at| {
                lines[there].on = true;
                *at = there;
            }),
            None => self.push(edit),
        }
    }

    /// Delete the line under the cursor.
    pub fn delete_selected(&mut self) {
        self.change(|lines, at| {
            if *at < lines.len() {
                lines.remove(*at);
            }
        });
    }

    /// Move the line under the cursor one up (-1) or down (1): edits apply in order.
    pub fn shift_selected(&mut self, by: isize) {
        self.change(|lines, at| {
            let other = at.checked_add_signed(by).filter(|other| *other < lines.len());
            if let Some(other) = other.filter(|_| *at < lines.len()) {
                lines.swap(*at, other);
                *at = other;
            }
        });
    }

    /// Whether there is a change to undo.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        !self.before.is_empty()
    }

    /// Return to the list before the last change; returns whether there was one.
    pub fn undo(&mut self) -> bool {
        let Some(lines) = self.before.pop() else { return false };
        self.after.push(std::mem::replace(&mut self.lines, lines));
        true
    }

    /// Return to the list that was undone last; returns whether there was one.
    pub fn redo(&mut self) -> bool {
        let Some(lines) = self.after.pop() else { return false };
        self.before.push(std::mem::replace(&mut self.lines, lines));
        true
    }

    /// Forget the history of changes.
    pub fn forget(&mut self) {
        self.before.clear();
        self.after.clear();
    }

    pub(super) fn settle(&mut self) {
        self.cursor = self.cursor.min(self.lines.len().saturating_sub(1));
    }
}

/// What an edit is checked against: the model's hooks, and the lengths of the prompts.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub schema: &'a Schema,
    pub n_pos: usize,
    pub contrast: Option<usize>,
}

impl Setting<'_> {
    /// Resolve an edit here.
    ///
    /// # Errors
    /// It selects something that does not exist, or needs a contrast prompt.
    pub fn plan(&self, edit: &Edit) -> Result<Plan, EditError> {
        Plan::resolve(std::slice::from_ref(edit), self.schema, self.n_pos, self.contrast)
    }
}
