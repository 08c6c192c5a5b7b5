//! Files of many prompts, read one after the other: memory does not grow with the file.

mod documents;
mod entries;
mod error;
mod file;
mod lines;
mod pairs;
mod records;
mod windows;

pub use entries::{Entries, Entry};
pub use error::{CorpusError, Misfit};
pub use file::{Corpus, CorpusFormat};
