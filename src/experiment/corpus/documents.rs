//! Documents of a text file, which `<|endoftext|>` separates, in windows.

use std::{fs::File, path::PathBuf};

use super::{
    Corpus, CorpusError,
    file::Piece,
    lines::{TextLines, without_break},
    windows::{Windows, wrong_at},
};
use crate::experiment::PromptParser;

/// What separates documents, as in the Pile. A line break before it and one after it belong to it.
const END: &str = "<|endoftext|>";

pub(super) struct Documents<'a> {
    path: PathBuf,
    lines: TextLines,
    windows: Windows<'a>,
    /// What is left of the line that was read last.
    rest: String,
    /// The document that is being cut has ended.
    ended: bool,
    /// The file has ended.
    over: bool,
}

impl<'a> Documents<'a> {
    pub fn new(corpus: &Corpus, file: File, parser: PromptParser<'a>, window: usize) -> Self {
        Self {
            path: corpus.path.clone(),
            lines: TextLines::new(&corpus.path, file),
            windows: Windows::new(parser, window, corpus.prepend_bos),
            rest: String::new(),
            ended: false,
            over: false,
        }
    }

    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    pub fn next(&mut self) -> Option<Result<Piece, CorpusError>> {
        loop {
            if let Some(piece) = self.windows.next(self.ended) {
                return Some(Ok(piece));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.read() {
                return Some(Err(error));
            }
        }
    }

    /// Read on, to the end of the line or of the document.
    fn read(&mut self) -> Result<(), CorpusError> {
        if self.rest.is_empty() {
            match self.lines.next()? {
                Some(line) => self.rest = line,
                None => self.over = true,
            }
        }
        if std::mem::replace(&mut self.ended, self.over) && !self.over {
            self.windows.begin(self.lines.line());
        }
        let line = self.lines.line();
        let pushed = if self.over {
            self.windows.end()
        } else if let Some(at) = self.rest.find(END) {
            let after = self.rest.split_off(at + END.len());
            self.rest.truncate(at);
            let before = std::mem::replace(&mut self.rest, after);
            if without_break(&self.rest).is_empty() {
                self.rest.clear();
            }
            self.ended = true;
            self.windows.push_text(&before).and_then(|()| self.windows.end())
        } else {
            let rest = std::mem::take(&mut self.rest);
            self.windows.push_text(&rest)
        };
        pushed.map_err(|reason| wrong_at(&self.path, line, reason))
    }
}
