//! The prompts of a corpus, whatever it is read from.

use super::{
    Corpus, CorpusError, CorpusFormat, Misfit, documents::Documents, file::Piece, lines::Lines, pairs::Pairs,
    records::Records,
};
use crate::{engine::CorpusPrompt, experiment::PromptParser, fs};

/// A prompt with its place in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 0.
    pub number: u64,
    /// The line where the prompt or its document begins, from 1.
    pub line: u64,
    /// The document, from 0, and the position in it of the window's first token; of prompts that are no windows, `number`
    /// and 0.
    pub document: u64,
    pub first: u64,
    pub prompt: CorpusPrompt,
}

/// The prompts of a corpus in their order.
pub struct Entries<'a> {
    pieces: Pieces<'a>,
    number: u64,
    failed: bool,
}

enum Pieces<'a> {
    Lines(Lines<'a>),
    Documents(Documents<'a>),
    Records(Records<'a>),
    Pairs(Box<Pairs<'a>>),
}

impl Corpus {
    /// Begin reading.
    ///
    /// # Errors
    /// The file can't be opened; windows or a field for a format that has none; a window that the context does not hold;
    /// a table without a column that is needed.
    pub fn open<'a>(&self, parser: PromptParser<'a>) -> Result<Entries<'a>, CorpusError> {
        let (path, wrong) = (&self.path, |what| Err(CorpusError::of_file(&self.path, what)));
        match self.window {
            Some(_) if self.format == CorpusFormat::Csv => return wrong(Misfit::WindowsOfPairs),
            Some(window) if window > parser.config.context => {
                return wrong(Misfit::WindowTooLong { window, context: parser.config.context });
            }
            Some(window) if window < 2 + usize::from(self.prepend_bos) => return wrong(Misfit::WindowTooShort),
            Some(_) | None => {}
        }
        let file = fs::open(path).map_err(|reason| CorpusError::of_file(path, Misfit::Read(reason)))?;
        let pieces = match (self.format, self.window) {
            (CorpusFormat::Text, None) => Pieces::Lines(Lines::new(self, file, parser)),
            (CorpusFormat::Text, Some(window)) => Pieces::Documents(Documents::new(self, file, parser, window)),
            (CorpusFormat::Jsonl, _) => Pieces::Records(Records::new(self, file, parser)),
            (CorpusFormat::Csv, _) => Pieces::Pairs(Box::new(Pairs::new(self, file, parser)?)),
        };
        Ok(Entries { pieces, number: 0, failed: false })
    }
}

impl Entries<'_> {
    /// The bytes of the file that have been read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        match &self.pieces {
            Pieces::Lines(lines) => lines.bytes_read(),
            Pieces::Documents(documents) => documents.bytes_read(),
            Pieces::Records(records) => records.bytes_read(),
            Pieces::Pairs(pairs) => pairs.bytes_read(),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let piece = match &mut self.pieces {
            Pieces::Lines(lines) => lines.next(),
            Pieces::Documents(documents) => documents.next(),
            Pieces::Records(records) => records.next(),
            Pieces::Pairs(pairs) => pairs.next(),
        }?;
        self.failed = piece.is_err();
        Some(piece.map(|Piece { line, document, first, prompt }| {
            let number = self.number;
            self.number += 1;
            Entry { number, line, document, first, prompt }
        }))
    }
}
