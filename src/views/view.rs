//! The interface of views: everything that the explorer asks of a view.

use ratatui::{Frame, layout::Rect};

use super::{Scene, Table};
use crate::{
    engine::Request,
    experiment::Token,
    hooks::{Axis, Edit, HookPoint},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
};

/// Names of a view.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// On its tab.
    pub title: &'static str,
    /// In commands and files.
    pub name: &'static str,
    /// What it shows, for the help.
    pub doc: &'static str,
    /// The part of the picker that lists it.
    pub group: ViewGroup,
    /// The key that shows it.
    pub key: Option<char>,
    /// The name of the view that is shown beside it on a wide screen.
    pub beside: &'static str,
}

/// The groups of views, in the order of the picker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewGroup {
    Hook,
    Prediction,
    Heads,
    Causes,
    Training,
}

impl ViewGroup {
    pub const ALL: [Self; 5] = [Self::Hook, Self::Prediction, Self::Heads, Self::Causes, Self::Training];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Hook => "The selected hook",
            Self::Prediction => "The prediction",
            Self::Heads => "Heads",
            Self::Causes => "Causes",
            Self::Training => "Training",
        }
    }
}

/// The columns and rows that a view is drawn in.
pub type Room = (usize, usize);

/// Where Enter leads from a view, if it leads outside the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The attention of the head under the cursor.
    Head,
    /// The values of the selected hook.
    Values,
    /// The checkpoint of this number in the list.
    Checkpoint(usize),
    /// The row of this number of the results that are open.
    Result(usize),
}

/// A view: what it requests from the engine, what its keys do, its table, and how it is drawn. Its own settings and
/// cursor are its fields; what all views share is the [`Scene`].
pub trait View {
    fn about(&self) -> About;

    /// What it needs from the engine to be drawn in a room; None if it needs nothing, or can't request it yet.
    fn request(&self, scene: &Scene, room: Room) -> Option<Request>;

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme);

    /// What it shows, if that is not the selected hook.
    fn subject(&self, _scene: &Scene) -> Option<String> {
        None
    }

    /// The value at the place under the pointer.
    fn describe(&self, _scene: &Scene, _hit: Hit) -> Option<String> {
        None
    }

    /// Leave the innermost zoom; returns whether there was one.
    fn leave_zoom(&mut self) -> bool {
        false
    }

    /// Why it has nothing to show for this model, if it has nothing.
    fn unavailable(&self, _scene: &Scene) -> Option<String> {
        None
    }

    /// What it shows, as text and numbers; None while that is on its way, or if there is nothing to see.
    fn table(&self, scene: &Scene) -> Option<Table>;

    /// What it shows, in a few words: a file name without model and extension.
    fn table_name(&self, scene: &Scene) -> String;

    /// The columns inside its frame from which on it is readable, if the tree should shrink to provide them.
    fn readable(&self) -> u16 {
        0
    }

    /// The keys that matter most here, for the hint line.
    fn hints(&self, scene: &Scene) -> Vec<(Action, &'static str)>;

    /// Move its cursor.
    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination>;

    /// The place under its cursor, in the coordinates of its clickable regions.
    fn cursor(&self, scene: &Scene) -> Option<Hit>;

    /// Move its cursor to a place that was clicked.
    fn click(&mut self, scene: &mut Scene, hit: Hit);

    /// Whether two runs and their difference are shown one at a time, as [`Action::Compare`] says.
    fn compares(&self, _scene: &Scene) -> bool {
        true
    }

    /// Whether it shows the reading that [`Action::Gradient`] cycles.
    fn reads(&self) -> bool {
        false
    }

    /// What it adds to the caption of a gradient, from the longest form to the shortest.
    fn gradient_notes(&self, _scene: &Scene, _theme: Theme) -> Vec<String> {
        vec![]
    }

    /// Whether to measure runs while it is shown, for comparison with others.
    fn measures(&self) -> bool {
        false
    }

    /// Change what is shown.
    fn switch(&mut self, scene: &mut Scene) {
        scene.say("this view has nothing to switch");
    }

    /// Change how it is shown.
    fn change_layout(&mut self, scene: &mut Scene) {
        scene.say("this view has only one layout");
    }

    /// Sort the columns by the cursor's row, or restore their order.
    fn sort_columns(&mut self, scene: &mut Scene) {
        scene.refuse("only Values sorts its columns");
    }

    /// Go to the value furthest from 0.
    fn go_to_extreme(&mut self, scene: &mut Scene) {
        scene.refuse("only Values and the Attention of one head have an extreme value to go to");
    }

    /// Go to the next head, or to the next index along the hidden axis.
    fn step_head(&mut self, scene: &mut Scene, by: isize) {
        step_index(scene, Axis::Head, by);
    }

    /// The token under its cursor, if it lists tokens.
    fn token(&self, _scene: &Scene) -> Option<Token> {
        None
    }

    /// What `a` ablates while the view is shown; `focused` if its cursor is in use. None for the selected hook.
    fn ablation(&self, _scene: &Scene, _focused: bool) -> Option<Edit> {
        None
    }

    /// An edit that sets the value under its cursor to 0, if it has cells that take a number.
    fn cell(&self, _scene: &Scene) -> Option<Edit> {
        None
    }

    /// Why there is nothing to ablate under its cursor, if there is nothing.
    fn cannot_ablate(&self, _scene: &Scene) -> Option<String> {
        None
    }

    /// What `+` and `-` raise and lower while the cursor of the view is in use, in place of the selected edit: the edit that leaves it
    /// as it is.
    fn slides(&self, _scene: &Scene) -> Option<Edit> {
        None
    }

    /// Raise or lower a number of its own that is selected; returns whether there is one. Otherwise the selected edit's slides.
    fn slide(&mut self, _scene: &mut Scene, _up: bool) -> bool {
        false
    }

    /// Change how much is ablated from now on; returns whether another scope makes a difference here.
    fn next_scope(&mut self, _scene: &Scene) -> bool {
        false
    }

    /// Keep the cursor on the same thing when the run changes.
    fn pin_cursor(&mut self, _scene: &Scene) {}

    /// The value under its cursor, for copying; None for the name of the hook.
    fn value(&self, scene: &Scene) -> Option<String>;

    /// Bring its cursor and settings back into range.
    fn settle(&mut self, scene: &Scene);

    /// Another hook was selected.
    fn hook_changed(&mut self, _before: HookPoint, _scene: &Scene) {}

    /// Whether an answer of this view is still filling in, so that Escape stops it.
    fn is_filling(&self, _scene: &Scene) -> bool {
        false
    }

    /// Escape cancelled the view's answer, or the run that it needs.
    fn stop(&mut self, _scene: &Scene) {}

    /// [`Action::Rerun`] lets what was stopped go on.
    fn resume(&mut self) {}
}

/// Go to the next index along an axis, wrapping around.
pub(super) fn step_index(scene: &mut Scene, axis: Axis, by: isize) {
    let n = scene.size(axis).max(1);
    let at = scene.cursor.index(axis);
    scene.cursor.set_index(axis, (at + n).wrapping_add_signed(by) % n);
}
