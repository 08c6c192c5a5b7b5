//! Tables of results: typed columns, written whole or not at all as Parquet, CSV or JSON lines, and read back from Parquet.
//!
//! A table is a list of rows whose cells have the types of its columns. [`write`] streams rows into a file of any size with
//! the memory of one row group; [`Reader`] streams them out again. A [`Part`] says which share of which experiment a file
//! holds, so that parts can be checked and merged;
//! a [`Journal`] keeps what is done of one, so that an interrupted run goes on.

mod columns;
mod error;
mod format;
mod journal;
mod merge;
mod numbered;
mod parquet_file;
mod parquet_rows;
mod part;
mod reader;
mod record;
mod row_writer;
mod text_rows;

pub use columns::{Cell, Column, Columns, Kind};
pub use error::TableError;
pub use format::{Format, Sink, write};
pub use journal::Journal;
pub use merge::{MergeError, Merged, merge};
pub use numbered::Numbered;
pub use part::Part;
pub use reader::{Reader, Rows};

use std::{collections::BTreeMap, fmt::Write as _};

use ring::digest::{SHA256, digest};

/// What a Parquet file says about itself beside its rows, by key.
pub type Metadata = BTreeMap<String, String>;

/// A hash of everything that determines a table, as text: the first 128 bits of its SHA-256 in hexadecimal.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    fingerprint_of(text.as_bytes())
}

/// [`fingerprint`] of bytes.
#[must_use]
pub fn fingerprint_of(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    hash.as_ref()[..16].iter().fold(String::new(), |mut hex, byte| {
        // writing to a string can't fail
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
