//! One JSON object a line: a prompt, or a document in windows.

use std::{fs::File, path::PathBuf};

use serde_json::Value;

use super::{
    Corpus, CorpusError, Misfit,
    file::Piece,
    lines::{TextLines, without_break},
    windows::{Windows, wrong_at},
};
use crate::{engine::CorpusPrompt, experiment::PromptParser};

pub(super) struct Records<'a> {
    path: PathBuf,
    lines: TextLines,
    parser: PromptParser<'a>,
    field: String,
    prepend_bos: bool,
    windows: Option<Windows<'a>>,
    number: u64,
}

impl<'a> Records<'a> {
    pub fn new(corpus: &Corpus, file: File, parser: PromptParser<'a>) -> Self {
        Self {
            path: corpus.path.clone(),
            lines: TextLines::new(&corpus.path, file),
            parser,
            field: corpus.field.clone(),
            prepend_bos: corpus.prepend_bos,
            windows: corpus.window.map(|window| Windows::new(parser, window, corpus.prepend_bos)),
            number: 0,
        }
    }

    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    pub fn next(&mut self) -> Option<Result<Piece, CorpusError>> {
        loop {
            if let Some(piece) = self.windows.as_mut().and_then(|windows| windows.next(true)) {
                return Some(Ok(piece));
            }
            let text = match self.text() {
                Ok(text) => text?,
                Err(error) => return Some(Err(error)),
            };
            let line = self.lines.line();
            let Some(windows) = &mut self.windows else {
                let document = self.number;
                self.number += 1;
                let tokens = self.parser.token_ids(&text, self.prepend_bos);
                let piece = |tokens| Piece {
                    line,
                    document,
                    first: 0,
                    prompt: CorpusPrompt { tokens, ..CorpusPrompt::default() },
                };
                let wrong = |reason| self.lines.wrong(Misfit::Prompt { what: "the prompt", reason: Box::new(reason) });
                return Some(tokens.map(piece).map_err(wrong));
            };
            windows.begin(line);
            if let Err(reason) = windows.push_text(&text).and_then(|()| windows.end()) {
                return Some(Err(wrong_at(&self.path, line, reason)));
            }
        }
    }

    /// The text of the next record; blank lines are left out.
    fn text(&mut self) -> Result<Option<String>, CorpusError> {
        let line = loop {
            match self.lines.next()? {
                None => return Ok(None),
                Some(line) if without_break(&line).trim().is_empty() => {}
                Some(line) => break line,
            }
        };
        let field = || self.field.clone();
        let not = |reason: String| self.lines.wrong(Misfit::NotARecord { field: field(), reason });
        let mut record = match serde_json::from_str(&line) {
            Ok(Value::Object(record)) => record,
            Ok(other) => return Err(not(format!("this is {}", kind(&other)))),
            Err(error) => return Err(not(error.to_string())),
        };
        match record.remove(&self.field) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.lines.wrong(Misfit::NotText { field: field() })),
            None => {
                let fields = record.keys().cloned().collect();
                Err(self.lines.wrong(Misfit::NoField { field: field(), fields }))
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
