//! Windows of a document's tokens.

use std::collections::VecDeque;

use super::{CorpusError, Misfit, file::Piece};
use crate::{engine::CorpusPrompt, experiment::PromptParser, model::ModelError};

/// Cuts documents into windows while their text is read.
pub(super) struct Windows<'a> {
    parser: PromptParser<'a>,
    /// The tokens of text of a window.
    size: usize,
    bos: Option<u32>,
    /// The text that is not encoded yet.
    text: String,
    /// The tokens that are in no window yet, and the position of the first.
    tokens: VecDeque<u32>,
    first: u64,
    document: u64,
    /// Where the document begins.
    line: u64,
}

/// A text is encoded in parts of about as many bytes.
const PART: usize = 1 << 20;

impl<'a> Windows<'a> {
    /// Windows of `size` tokens, the beginning-of-sequence token among them.
    pub fn new(parser: PromptParser<'a>, size: usize, prepend_bos: bool) -> Self {
        let bos = prepend_bos.then_some(parser.config.bos);
        Self {
            parser,
            size: size - usize::from(prepend_bos),
            bos,
            text: String::new(),
            tokens: VecDeque::new(),
            first: 0,
            document: 0,
            line: 1,
        }
    }

    /// Go on with a document's text.
    pub fn push(&mut self, text: &str, part: usize) -> Result<(), ModelError> {
        self.text.push_str(text);
        while self.text.len() >= part {
            let Some(end) = last_cut(&self.text) else { return Ok(()) };
            let rest = self.text.split_off(end);
            self.tokens.extend(self.parser.tokenizer.encode(&self.text)?);
            self.text = rest;
        }
        Ok(())
    }

    /// As [`Self::push`], in parts of the usual size.
    pub fn push_text(&mut self, text: &str) -> Result<(), ModelError> {
        self.push(text, PART)
    }

    /// The text of the document is complete. One line break at its end belongs to what follows.
    pub fn end(&mut self) -> Result<(), ModelError> {
        let text = std::mem::take(&mut self.text);
        let text = super::lines::without_break(&text);
        if !text.is_empty() {
            self.tokens.extend(self.parser.tokenizer.encode(text)?);
        }
        Ok(())
    }

    /// Begin the next document, at a line.
    pub fn begin(&mut self, line: u64) {
        self.document += u64::from(self.first > 0);
        (self.line, self.first) = (line, 0);
        self.tokens.clear();
    }

    /// The next window: a full one or, of a document that has ended, what is left if it has at least two tokens.
    pub fn next(&mut self, ended: bool) -> Option<Piece> {
        let count = self.tokens.len().min(self.size);
        if count < self.size && (!ended || count < 2) {
            return None;
        }
        let tokens: Vec<u32> = self.bos.into_iter().chain(self.tokens.drain(..count)).collect();
        let (line, document, first) = (self.line, self.document, self.first);
        self.first += count as u64;
        Some(Piece { line, document, first, prompt: CorpusPrompt { tokens, ..CorpusPrompt::default() } })
    }

    pub fn wrong(reason: ModelError) -> Misfit {
        Misfit::Prompt { what: "the document", reason: Box::new(reason) }
    }
}

/// Where a text can be cut so that the parts have the tokens of the whole, as late as possible: before a space or a line
/// break between two other characters, where the splitting of GPT-2 and GPT-NeoX always begins a new word.
fn last_cut(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    // letters and digits, so that no rule joins what is before a break to it
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let is_cut = |at: &usize| matches!(bytes[*at], b' ' | b'\n') && plain(bytes[at - 1]) && plain(bytes[at + 1]);
    (1..bytes.len().saturating_sub(1)).rev().find(is_cut)
}

/// One text as a document of its own.
pub(super) fn wrong_at(path: &std::path::Path, line: u64, reason: ModelError) -> CorpusError {
    CorpusError::at(path, line, Windows::wrong(reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Placement, Processing, Source};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// A text that is encoded in small parts has the tokens of the whole.
        #[test]
        fn parts_have_the_tokens_of_the_whole(words in proptest::collection::vec("[ab ,.\n\t]{0,3}(Mary|John|gave| a|  the|é|日|'s|store\\.|12|\r)", 1..60), part in 1usize..40, size in 2usize..9) {
            use std::sync::LazyLock;
            static DEMO: LazyLock<crate::model::Loaded> =
                LazyLock::new(|| Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap());
            let text = words.concat();
            let mut windows = Windows::new(PromptParser::from(&*DEMO), size, false);
            let mut found: Vec<u32> = vec![];
            let mut take = |windows: &mut Windows<'_>, ended| {
                while let Some(piece) = windows.next(ended) {
                    assert_eq!(piece.first, found.len() as u64);
                    assert!(piece.prompt.tokens.len() == size || ended);
                    found.extend(piece.prompt.tokens);
                }
            };
            for word in &words {
                windows.push(word, part).unwrap();
                take(&mut windows, false);
            }
            windows.end().unwrap();
            take(&mut windows, true);
            let whole = DEMO.tokenizer.encode(super::super::lines::without_break(&text)).unwrap();
            // a single token at the end is no window
            let left = whole.len() % size;
            let whole = &whole[..whole.len() - usize::from(left == 1)];
            prop_assert_eq!(&found, whole);
        }
    }
}
