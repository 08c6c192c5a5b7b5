use tui_input::Input;

/// The line, and its completions.
#[derive(Clone, Debug)]
pub struct CommandLine {
    pub input: Input,
    /// Best first.
    pub completions: Vec<Completion>,
    pub cursor: usize,
}

/// A complete line, the keys with the same effect, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub line: String,
    pub keys: String,
    pub doc: &'static str,
}
