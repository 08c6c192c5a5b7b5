use tui_input::Input;

use crate::{experiment::Token, views::Prompts};

/// The line editor for the prompt, and for the contrast prompt below it.
#[derive(Clone, Debug)]
pub struct PromptLine {
    /// The prompt, and the contrast prompt; an empty contrast prompt is none.
    pub lines: [TextLine; 2],
    /// The line that is being typed in.
    pub active: usize,
    /// The number of the earlier prompt that is shown, for Up and Down.
    pub(super) at: usize,
    /// Enter was pressed: the text is run once its tokens are known.
    pub(super) entered: bool,
}

/// A text and its tokens.
#[derive(Clone, Debug)]
pub struct TextLine {
    pub input: Input,
    /// The tokens of the text, or why it can't be a prompt; those of an earlier text until the answer arrives.
    pub tokens: Result<Vec<Token>, String>,
    /// The text that `tokens` belongs to.
    pub(super) of: Option<String>,
}

impl TextLine {
    /// A text with known tokens. They can differ from the tokens that the text alone would have, if some were appended.
    pub(super) fn new(text: String, tokens: Vec<Token>) -> Self {
        Self { input: Input::new(text.clone()), tokens: Ok(tokens), of: Some(text) }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.of.as_deref() == Some(self.input.value())
    }
}

impl PromptLine {
    /// Go through the earlier prompts.
    pub(super) fn recall(&mut self, prompts: &Prompts, back: bool) {
        let n = prompts.earlier.len();
        self.at = if back { self.at.saturating_sub(1) } else { (self.at + 1).min(n) };
        let text = prompts.earlier.get(self.at).unwrap_or(&prompts.text);
        self.lines[self.active].input = Input::new(text.clone());
    }
}
