//! Overlays cover the screen and take the keys: one folder for each.

pub(super) mod command;
mod completion;
mod edit;
mod finder;
pub(super) mod help;
mod line;
mod open;
mod places;
pub(super) mod predicate;
pub(super) mod prompt;
pub(super) mod save;
pub(super) mod stops;
pub(super) mod views;

use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect};

use super::{event::Effect, state::State};
use crate::{keys::Action, paint::Theme};

pub use command::CommandLine;
pub use edit::{Editor, Problem};
pub use finder::Finder;
pub use help::HelpPage;
pub use open::Overlay;
pub use places::PlaceList;
pub use predicate::PredicateLine;
pub use prompt::{PromptLine, TextLine};
pub use save::SaveLine;

impl Overlay {
    pub(super) fn draw(&self, frame: &mut Frame<'_>, screen: Rect, state: &State, theme: Theme) {
        let scene = &state.scene;
        match self {
            Self::Help(page) => help::draw(frame, screen, page, state, theme),
            Self::Views(at) => views::draw(frame, screen, *at, state, theme),
            Self::Find(finder) => finder::draw(frame, screen, finder, scene, theme),
            Self::Edit(editor) => edit::draw(frame, screen, editor, state, theme),
            Self::Prompt(open) => prompt::draw(frame, screen, open, theme),
            Self::Command(line) => command::draw(frame, screen, line, theme),
            Self::Save(line) => save::draw(frame, screen, line, theme),
            Self::Predicate(line) => predicate::draw(frame, screen, line, theme),
            Self::Stops(at) => stops::draw(frame, screen, *at, state, theme),
            Self::Places(list) => places::draw(frame, screen, list, scene, theme),
        }
    }
}

/// The result of a key.
pub(super) enum Answer {
    Effects(Vec<Effect>),
    /// The command line named this action.
    Act(Action),
}

/// Handle a key while an overlay is open. The overlay was taken out of the state; it is put back if it stays open.
pub(super) fn key(state: &mut State, overlay: Overlay, key: &KeyEvent) -> Answer {
    let effects = match overlay {
        Overlay::Help(page) => {
            help::key(state, page, key);
            vec![]
        }
        Overlay::Views(at) => {
            views::key(state, at, key);
            vec![]
        }
        Overlay::Find(finder) => {
            finder::key(state, finder, key);
            vec![]
        }
        Overlay::Edit(editor) => {
            edit::key(state, editor, key);
            vec![]
        }
        Overlay::Prompt(open) => prompt::key(state, open, key),
        Overlay::Command(line) => return command::key(state, line, key),
        Overlay::Save(line) => save::key(state, line, key),
        Overlay::Predicate(line) => {
            predicate::key(state, line, key);
            vec![]
        }
        Overlay::Stops(at) => {
            stops::key(state, at, key);
            vec![]
        }
        Overlay::Places(list) => {
            places::key(state, list, key);
            vec![]
        }
    };
    Answer::Effects(effects)
}

/// Paste into the open line; only the prompt takes more than one line.
pub(super) fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let Some(overlay) = state.overlay.take() else { return vec![] };
    state.scene.message = None;
    let line =
        || -> String { text.chars().take_while(|c| !matches!(c, '\n' | '\r')).filter(|c| !c.is_control()).collect() };
    match overlay {
        Overlay::Prompt(open) => return prompt::paste(state, open, text),
        Overlay::Find(finder) => finder::paste(state, finder, &line()),
        Overlay::Edit(editor) => edit::paste(state, editor, &line()),
        Overlay::Command(open) => command::paste(state, open, &line()),
        Overlay::Save(open) => save::paste(state, open, &line()),
        Overlay::Help(page) => help::paste(state, page, &line()),
        Overlay::Predicate(open) => predicate::paste(state, open, &line()),
        list @ (Overlay::Views(_) | Overlay::Stops(_) | Overlay::Places(_)) => state.overlay = Some(list),
    }
    vec![]
}
