//! Saving what a view shows: the line that asks for a name, and the result.

mod draw;
mod line;

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;

use super::{
    line::{LINE, pasted, typed},
    open::Overlay,
};
use crate::{
    explorer::{
        event::{Effect, NotSaved},
        state::State,
    },
    fs,
};

pub(super) use draw::draw;
pub use line::SaveLine;

use line::FORMATS;

/// Ask where to save, suggesting a descriptive name.
pub(in crate::explorer) fn open(state: &mut State, format: &str) {
    let stem = if matches!(format, "toml" | "py") { "experiment".into() } else { state.table_name() };
    let name = format!("{stem}.{format}");
    state.overlay = Some(Overlay::Save(SaveLine::suggesting(&name)));
}

/// Save under a given name.
pub(super) fn begin(state: &mut State, name: &str) -> Vec<Effect> {
    try_to(state, SaveLine::new(name))
}

pub(super) fn key(state: &mut State, mut line: SaveLine, key: &KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Enter => return try_to(state, line),
        KeyCode::Tab => {
            let path = PathBuf::from(line.input.value());
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let at = FORMATS.iter().position(|(format, _)| *format == ending).map_or(0, |at| (at + 1) % FORMATS.len());
            let name = path.with_extension(FORMATS[at].0);
            line = SaveLine { suggested: line.suggested, ..SaveLine::new(&name.to_string_lossy()) };
        }
        _ => {
            if std::mem::take(&mut line.suggested) && types_a_letter(key) {
                line.input = Input::default();
            }
            if typed(&mut state.scene, &mut line.input, key, LINE) {
                (line.problem, line.exists) = (None, None);
            }
        }
    }
    state.overlay = Some(Overlay::Save(line));
    vec![]
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut line: SaveLine, text: &str) {
    if std::mem::take(&mut line.suggested) {
        line.input = Input::default();
    }
    if pasted(&mut state.scene, &mut line.input, text, LINE) {
        (line.problem, line.exists) = (None, None);
    }
    state.overlay = Some(Overlay::Save(line));
}

fn types_a_letter(key: &KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL)
}

fn try_to(state: &mut State, mut line: SaveLine) -> Vec<Effect> {
    let path = PathBuf::from(line.input.value());
    if line.format().is_none() {
        line.problem = Some("expected a name that ends in .svg, .csv, .npz, .toml or .py".into());
        state.overlay = Some(Overlay::Save(line));
        return vec![];
    }
    let replace = line.exists.as_ref() == Some(&path);
    state.overlay = Some(Overlay::Save(line));
    vec![Effect::Save { path, replace }]
}

/// A file was written, or not: then the line stays open.
pub(in crate::explorer) fn saved(state: &mut State, path: PathBuf, result: Result<(), NotSaved>) {
    // in full, so that the file can be found from anywhere
    let shown = fs::absolute(&path).display().to_string();
    match (result, &mut state.overlay) {
        (Ok(()), _) => {
            state.overlay = None;
            state.scene.say(format!("saved {shown}"));
        }
        (Err(NotSaved::Exists), Some(Overlay::Save(line))) => {
            line.problem = Some(format!("{shown} exists: Enter replaces it, Esc leaves it"));
            line.exists = Some(path);
        }
        (Err(NotSaved::Failed(why)), Some(Overlay::Save(line))) => line.problem = Some(why),
        (Err(NotSaved::Exists), _) => state.scene.refuse(format!("{shown} exists")),
        (Err(NotSaved::Failed(why)), _) => state.scene.refuse(why),
    }
}
