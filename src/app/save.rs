//! Saving what a view shows: the line that asks for a name, and what becomes of it.

use std::path::{Path, PathBuf};

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    Effect, NotSaved, Overlay, State,
    line::{LINE, pasted, typed},
    update::{refuse, say},
};

/// The line that asks where to save.
#[derive(Clone, Debug)]
pub struct SaveLine {
    pub input: Input,
    /// What went wrong with the last try.
    pub problem: Option<String>,
    /// The file that stands there already: Enter once more replaces it.
    exists: Option<PathBuf>,
}

/// The formats that a view can be saved in, by their endings.
const FORMATS: [(&str, &str); 5] = [
    ("svg", "a picture of the view"),
    ("csv", "the view's table"),
    ("npz", "the view's numbers, for NumPy"),
    ("toml", "the experiment"),
    ("py", "a script that repeats the run in TransformerLens"),
];

impl SaveLine {
    fn new(name: &str) -> Self {
        Self { input: Input::new(name.into()), problem: None, exists: None }
    }

    /// What the ending of the name asks for.
    #[must_use]
    pub fn format(&self) -> Option<&'static str> {
        let ending = Path::new(self.input.value()).extension()?.to_str()?.to_ascii_lowercase();
        FORMATS.iter().find(|(format, _)| *format == ending).map(|(_, what)| *what)
    }
}

/// Ask where to save, with a name that says what it is.
pub(super) fn open(state: &mut State, format: &str) {
    let stem = if matches!(format, "toml" | "py") { "experiment".into() } else { state.table_name() };
    let name = format!("{stem}.{format}");
    state.overlay = Some(Overlay::Save(SaveLine::new(&name)));
}

/// Save under a name that was given.
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
            line = SaveLine::new(&path.with_extension(FORMATS[at].0).to_string_lossy());
        }
        _ => {
            if typed(state, &mut line.input, key, LINE) {
                (line.problem, line.exists) = (None, None);
            }
        }
    }
    state.overlay = Some(Overlay::Save(line));
    vec![]
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut line: SaveLine, text: &str) {
    if pasted(state, &mut line.input, text, LINE) {
        (line.problem, line.exists) = (None, None);
    }
    state.overlay = Some(Overlay::Save(line));
}

fn try_to(state: &mut State, mut line: SaveLine) -> Vec<Effect> {
    let path = PathBuf::from(line.input.value());
    if line.format().is_none() {
        line.problem = Some("the name should end in .svg, .csv, .npz, .toml or .py".into());
        state.overlay = Some(Overlay::Save(line));
        return vec![];
    }
    let replace = line.exists.as_ref() == Some(&path);
    state.overlay = Some(Overlay::Save(line));
    vec![Effect::Save { path, replace }]
}

/// A file was written, or was not: then the line stays open.
pub(super) fn saved(state: &mut State, path: PathBuf, result: Result<(), NotSaved>) {
    let shown = path.display().to_string();
    match (result, &mut state.overlay) {
        (Ok(()), _) => {
            state.overlay = None;
            say(state, format!("saved {shown}"));
        }
        (Err(NotSaved::Exists), Some(Overlay::Save(line))) => {
            line.problem = Some(format!("{shown} exists: Enter replaces it, Esc leaves it"));
            line.exists = Some(path);
        }
        (Err(NotSaved::Failed(why)), Some(Overlay::Save(line))) => line.problem = Some(why),
        (Err(NotSaved::Exists), _) => refuse(state, format!("{shown} exists")),
        (Err(NotSaved::Failed(why)), _) => refuse(state, why),
    }
}
