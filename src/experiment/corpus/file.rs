//! What a corpus is read from.

use std::path::{Path, PathBuf};

use crate::{engine::CorpusPrompt, suggest};

/// How the prompts of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorpusFormat {
    /// One prompt a line; with windows, documents that `<|endoftext|>` separates.
    Text,
    /// One JSON object a line, with the text in a field.
    Jsonl,
    /// A table of clean and corrupted prompts, as EAP-IG's.
    Csv,
}

impl CorpusFormat {
    pub const ALL: [Self; 3] = [Self::Text, Self::Jsonl, Self::Csv];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }

    /// The format that a file's name ends in; text otherwise.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        match end.as_str() {
            "jsonl" | "ndjson" => Self::Jsonl,
            "csv" => Self::Csv,
            _ => Self::Text,
        }
    }
}

impl std::str::FromStr for CorpusFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("format", name, &Self::ALL, Self::name)
    }
}

/// How a corpus is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    pub path: PathBuf,
    pub format: CorpusFormat,
    /// The field of a record that holds its text.
    pub field: String,
    /// Cut documents into windows of as many tokens, the beginning-of-sequence token among them.
    pub window: Option<usize>,
    pub prepend_bos: bool,
}

/// What comes out of a file: a text or a window of one, or a pair of prompts.
pub(super) struct Piece {
    pub line: u64,
    pub document: u64,
    pub first: u64,
    pub prompt: CorpusPrompt,
}
