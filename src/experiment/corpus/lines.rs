//! One prompt a line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{Corpus, CorpusError, Misfit, file::Piece};
use crate::{engine::CorpusPrompt, experiment::PromptParser, fs::without_mark};

/// The most bytes of a line.
const LIMIT: usize = 64 << 20;

/// The lines of a file, with their numbers.
pub(super) struct TextLines {
    path: PathBuf,
    from: BufReader<File>,
    line: u64,
    bytes: u64,
}

impl TextLines {
    pub fn new(path: &Path, file: File) -> Self {
        Self { path: path.to_path_buf(), from: BufReader::with_capacity(1 << 20, file), line: 0, bytes: 0 }
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The number of the line that was read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    pub fn wrong(&self, reason: Misfit) -> CorpusError {
        CorpusError::at(&self.path, self.line, reason)
    }

    /// The next line with its line break; None at the end.
    pub fn next(&mut self) -> Result<Option<String>, CorpusError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = (&mut self.from).take(LIMIT as u64 + 1).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| self.wrong(Misfit::Io(error)))?;
        if read > LIMIT {
            return Err(self.wrong(Misfit::LineTooLong { limit: LIMIT }));
        }
        self.bytes += read as u64;
        if read == 0 {
            return Ok(None);
        }
        let text = String::from_utf8(bytes).map_err(|_| self.wrong(Misfit::NotUtf8))?;
        Ok(Some(if self.line == 1 { without_mark(&text).to_string() } else { text }))
    }
}

/// A line without its line break.
pub(super) fn without_break(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Each line that is not blank, as a prompt.
pub(super) struct Lines<'a> {
    from: TextLines,
    parser: PromptParser<'a>,
    prepend_bos: bool,
    number: u64,
}

impl<'a> Lines<'a> {
    pub fn new(corpus: &Corpus, file: File, parser: PromptParser<'a>) -> Self {
        Self { from: TextLines::new(&corpus.path, file), parser, prepend_bos: corpus.prepend_bos, number: 0 }
    }

    pub fn bytes_read(&self) -> u64 {
        self.from.bytes_read()
    }

    pub fn next(&mut self) -> Option<Result<Piece, CorpusError>> {
        loop {
            let line = match self.from.next() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            let text = without_break(&line);
            if text.trim().is_empty() {
                continue;
            }
            let tokens = self.parser.token_ids(text, self.prepend_bos);
            let document = self.number;
            self.number += 1;
            let piece = |tokens| Piece {
                line: self.from.line(),
                document,
                first: 0,
                prompt: CorpusPrompt { tokens, ..CorpusPrompt::default() },
            };
            let wrong = |reason| self.from.wrong(Misfit::Prompt { what: "the prompt", reason: Box::new(reason) });
            return Some(tokens.map(piece).map_err(wrong));
        }
    }
}
