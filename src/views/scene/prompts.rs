use crate::experiment::Token;

/// The prompt and the contrast prompt, as text and as tokens, and earlier prompts.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    /// Tokens of the prompt, and of a continuation that is looked at with it.
    pub tokens: Vec<Token>,
    /// How many of the last tokens are the continuation's.
    pub generated: usize,
    pub contrast: Option<Vec<Token>>,
    /// Whether the beginning-of-sequence token is prepended to the prompts.
    pub prepend_bos: bool,
    pub text: String,
    pub contrast_text: String,
    /// Texts of earlier prompts, the latest last.
    pub earlier: Vec<String>,
    /// The number of tokens that were appended one by one.
    pub appended: usize,
}

impl Prompts {
    /// The tokens of the prompt alone.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        &self.tokens[..self.tokens.len().saturating_sub(self.generated)]
    }
}
