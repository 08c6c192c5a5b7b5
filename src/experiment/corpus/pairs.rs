//! Clean and corrupted prompts with the tokens that tell them apart: the tables of EAP-IG (Hanna et al., "Have Faith in
//! Faithfulness", 2024).

use std::{fs::File, io::BufReader, path::PathBuf};

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::{Corpus, CorpusError, Misfit, file::Piece};
use crate::{engine::CorpusPrompt, experiment::PromptParser};

pub(super) struct Pairs<'a> {
    path: PathBuf,
    from: Reader<BufReader<File>>,
    parser: PromptParser<'a>,
    prepend_bos: bool,
    clean: usize,
    corrupted: usize,
    correct: usize,
    incorrect: Option<usize>,
    number: u64,
}

impl<'a> Pairs<'a> {
    /// # Errors
    /// A column is missing, or the first line is no line of a table.
    pub fn new(corpus: &Corpus, file: File, parser: PromptParser<'a>) -> Result<Self, CorpusError> {
        let path = corpus.path.clone();
        let mut from = ReaderBuilder::new().from_reader(BufReader::with_capacity(1 << 20, file));
        let columns: Vec<String> = match from.headers() {
            Ok(headers) => headers.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect(),
            Err(error) => return Err(unreadable(&path, 1, error)),
        };
        let find = |name: &str| columns.iter().position(|column| column == name);
        let needed = |column: &'static str| {
            let missing = || CorpusError::at(&path, 1, Misfit::NoColumn { column, columns: columns.clone() });
            find(column).ok_or_else(missing)
        };
        let (clean, corrupted, correct) = (needed("clean")?, needed("corrupted")?, needed("correct_idx")?);
        let (incorrect, prepend_bos) = (find("incorrect_idx"), corpus.prepend_bos);
        Ok(Self { path, from, parser, prepend_bos, clean, corrupted, correct, incorrect, number: 0 })
    }

    pub fn bytes_read(&self) -> u64 {
        self.from.position().byte()
    }

    pub fn next(&mut self) -> Option<Result<Piece, CorpusError>> {
        let mut record = StringRecord::new();
        let begin = self.from.position().line();
        match self.from.read_record(&mut record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(unreadable(&self.path, begin, error))),
        }
        let line = record.position().map_or(begin, csv::Position::line);
        let document = self.number;
        self.number += 1;
        let prompt = self.pair(&record).map_err(|reason| CorpusError::at(&self.path, line, reason));
        Some(prompt.map(|prompt| Piece { line, document, first: 0, prompt }))
    }

    fn pair(&self, record: &StringRecord) -> Result<CorpusPrompt, Misfit> {
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let tokens = |column, what| {
            let wrong = |reason| Misfit::Prompt { what, reason: Box::new(reason) };
            self.parser.token_ids(cell(column), self.prepend_bos).map_err(wrong)
        };
        Ok(CorpusPrompt {
            tokens: tokens(self.clean, "clean")?,
            contrast: Some(tokens(self.corrupted, "corrupted")?),
            target: Some(self.token("correct_idx", cell(self.correct))?),
            distractor: self.incorrect.map(|column| self.token("incorrect_idx", cell(column))).transpose()?,
        })
    }

    fn token(&self, column: &'static str, text: &str) -> Result<u32, Misfit> {
        let d_vocab = self.parser.config.d_vocab;
        let id = text.trim().parse::<u32>().ok().filter(|id| (*id as usize) < d_vocab);
        id.ok_or_else(|| Misfit::NotAToken { column, value: text.into(), d_vocab })
    }
}

/// A line that can't be read as part of a table.
fn unreadable(path: &std::path::Path, line: u64, error: csv::Error) -> CorpusError {
    let place = error.position().map_or(line, csv::Position::line);
    let reason = match error.into_kind() {
        ErrorKind::Io(error) => Misfit::Io(error),
        ErrorKind::Utf8 { .. } => Misfit::NotUtf8,
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Misfit::Csv(format!("the line has {len} cells; expected {expected_len}, as the first line has"))
        }
        other => Misfit::Csv(format!("{other:?}")),
    };
    CorpusError::at(path, place, reason)
}
