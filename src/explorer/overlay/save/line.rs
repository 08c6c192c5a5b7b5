use std::path::{Path, PathBuf};

use tui_input::Input;

/// The line that asks where to save.
#[derive(Clone, Debug)]
pub struct SaveLine {
    pub input: Input,
    /// The error of the last attempt.
    pub problem: Option<String>,
    /// The name is a suggestion: the first typed letter replaces it.
    pub(super) suggested: bool,
    /// A file that already exists: a second Enter replaces it.
    pub(super) exists: Option<PathBuf>,
}

/// The formats that a view can be saved in, by extension.
pub(super) const FORMATS: [(&str, &str); 5] = [
    ("svg", "a picture of the view"),
    ("csv", "the view's table"),
    ("npz", "the view's numbers, for NumPy"),
    ("toml", "the experiment"),
    ("py", "a script that repeats the run in TransformerLens"),
];

impl SaveLine {
    /// What the extension stands for, as a title.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match Path::new(self.input.value()).extension().and_then(|ending| ending.to_str()) {
            Some("toml") => "write the experiment",
            Some("py") => "export to Python",
            _ => "save the view",
        }
    }

    /// A line with a given name.
    pub(super) fn new(name: &str) -> Self {
        Self { input: Input::new(name.into()), problem: None, suggested: false, exists: None }
    }

    /// A line with a suggested name, which can be kept, changed or typed over.
    pub(super) fn suggesting(name: &str) -> Self {
        Self { suggested: true, ..Self::new(name) }
    }

    /// What the extension stands for.
    #[must_use]
    pub fn format(&self) -> Option<&'static str> {
        let ending = Path::new(self.input.value()).extension()?.to_str()?.to_ascii_lowercase();
        FORMATS.iter().find(|(format, _)| *format == ending).map(|(_, what)| *what)
    }
}
