//! An experiment as text: everything that determines a run. TOML, versioned, meant to be edited by hand.

use std::{fmt::Display, ops::Range};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Spanned, de::DeTable};

use super::{
    CircuitTable, ContinuationTable, GridTable,
    flags::{is_false, is_true, yes},
    stops::{BreakpointTable, WatchTable},
    text,
    wrong::Wrong,
};
use crate::{
    engine::{Map, Metric},
    hooks::{Edit, Schema},
    model::Processing,
    printed::escaped,
    suggest::did_you_mean,
};

/// The version of the format that is written, and the latest one that can be read.
pub const VERSION: i64 = 1;

/// The comment above the experiment in its file.
const HEADING: &str = "# An experiment of pythia-tui. `pythia-tui --experiment FILE` explores it, `pythia-tui run --experiment FILE` runs it.\n";

/// What a program that displays runs keeps in an experiment's `[view]` table: what the user was looking at. An
/// experiment carries it without knowing more about it than this.
pub trait View: Clone + DeserializeOwned {
    /// The map that it shows, which a sweep fills in by default.
    fn map(&self) -> Map;

    /// Whether it fits the model and, if `n_pos` is given, a prompt of that many tokens.
    ///
    /// # Errors
    /// What does not exist, with what was expected.
    fn check(&self, schema: &Schema, n_pos: Option<usize>) -> Result<(), String>;
}

/// The contents of a file. Omitted keys have their defaults.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment<V> {
    pub version: i64,
    /// The model, as `--model` takes it.
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default = "processed", with = "text")]
    pub processing: Processing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The token ids to run, as `--tokens` takes them; by default those of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Spanned<Vec<u32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast_tokens: Option<Spanned<Vec<u32>>>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub prepend_bos: bool,
    /// The opt-in hooks that are on, as `--enable` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enable: Vec<Spanned<String>>,
    /// The metric of a sweep, as `--metric` takes it; by default [`Map::usual_metric`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub metric: Option<Metric>,
    /// The target, as `--target` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Spanned<String>>,
    /// The distractor, as `--distractor` takes it; empty to measure the target's logit alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distractor: Option<Spanned<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitTable>,
    /// What `grid` varies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dictionary: Vec<DictionaryLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vector: Vec<VectorLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakpoint: Vec<BreakpointTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<WatchTable>,
    /// How texts are continued in the explorer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation: Option<ContinuationTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<Spanned<V>>,
}

/// An edit of the list as text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub line: Spanned<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub on: bool,
}

/// A vector that edits can name, as text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VectorLine {
    pub name: Spanned<String>,
    /// As `--vector` takes it after the name; a path is relative to the file.
    pub source: Spanned<String>,
}

/// A sparse dictionary, as text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DictionaryLine {
    /// As `--sae` takes it; a path is relative to the file.
    pub source: Spanned<String>,
    /// The file of its labels, as `--labels` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Spanned<String>>,
}

/// An edit in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct EditLine {
    pub edit: Edit,
    pub on: bool,
}

pub(crate) fn processed() -> Processing {
    Processing::Folded
}

impl<V: DeserializeOwned> Experiment<V> {
    /// # Errors
    /// Invalid TOML, an unknown version, an unknown key or a value that it does not take, a line that is not an edit.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let experiment: Self = parsed(text, "experiment")?;
        experiment.edits()?;
        Ok(experiment)
    }
}

/// A text of this version of the format; `what` is its kind, for messages.
///
/// # Errors
/// As [`Experiment::parse`], except for edits.
pub(crate) fn parsed<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Wrong> {
    let wrong = |e: toml::de::Error| Wrong { at: e.span().unwrap_or(0..0), reason: escaped(e.message()).into_owned() };
    // the version first: in a newer one, everything else may differ
    let table = DeTable::parse(text).map_err(wrong)?;
    let version = table.get_ref().get("version");
    let at = version.map_or(0..0, Spanned::span);
    let number = version.and_then(|v| v.get_ref().as_integer()).and_then(|v| v.as_str().parse::<i64>().ok());
    match number {
        Some(1..=VERSION) => toml::from_str(text).map_err(wrong),
        Some(newer) if newer > VERSION => Err(Wrong {
            at,
            reason: format!(
                "this {what} has version {newer}, and this program reads up to {VERSION}: use a newer pythia-tui"
            ),
        }),
        _ => Err(Wrong { at, reason: format!("expected `version = {VERSION}`") }),
    }
}

impl<V> Experiment<V> {
    /// The edits, each with its place.
    ///
    /// # Errors
    /// A line that is not an edit.
    pub fn edits(&self) -> Result<Vec<(EditLine, Range<usize>)>, Wrong> {
        let edit = |line: &Line| {
            let span = line.line.span();
            match line.line.get_ref().parse::<Edit>() {
                Ok(edit) => Ok((EditLine { edit, on: line.on }, span)),
                Err(e) => {
                    // after the quotation mark
                    let start = (span.start + 1 + e.span.start).min(span.end);
                    let reason = format!("{}{}", escaped(&e.message), did_you_mean(&e.nearest));
                    Err(Wrong { at: start..span.end, reason })
                }
            }
        };
        self.edit.iter().map(edit).collect()
    }
}

impl<V: Serialize> Display for Experiment<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = toml::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(f, "{HEADING}{body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Experiment = super::Experiment<toml::Table>;

    fn wrong(text: &str) -> (usize, usize, String) {
        let wrong = Experiment::parse(text).unwrap_err();
        let (line, column) = wrong.place(text);
        (line, column, wrong.reason)
    }

    #[test]
    fn omitted_keys_have_their_defaults() {
        let least = Experiment::parse("version = 1\nmodel = 'demo'\n").unwrap();
        assert_eq!((least.processing, least.metric, least.edit.len()), (Processing::Folded, None, 0));
        let text = "version = 1\nmodel = 'demo'\n[[edit]]\nline = 'hook_embed=0'\n[[edit]]\nline = 'hook_embed = 1'\non = false\n";
        let edits = Experiment::parse(text).unwrap().edits().unwrap();
        assert_eq!(edits.iter().map(|(line, _)| line.on).collect::<Vec<_>>(), [true, false]);
        assert_eq!(&text[edits[1].1.clone()], "'hook_embed = 1'");
    }

    #[test]
    fn line_ends_of_a_prompt_survive_writing() {
        let text = "version = 1\nmodel = 'demo'\nprompt = \"\"\"one\\r\ntwo\\r\\nthree\\r\"\"\"\n";
        let read = Experiment::parse(text).unwrap();
        assert_eq!(read.prompt.as_deref(), Some("one\r\ntwo\r\nthree\r"));
        let written = read.to_string();
        assert!(!written.contains('\r'), "{written:?}");
        assert_eq!(Experiment::parse(&written).unwrap().prompt, read.prompt);
    }

    #[test]
    fn errors_state_line_and_column() {
        let with = |rest: &str| wrong(&format!("version = 1\nmodel = 'demo'\n{rest}\n"));
        assert_eq!(wrong("version = 7\nmodle = 'demo'\n").0, 1);
        assert!(wrong("version = 7\nnew-thing = true\n").2.contains("version 7"), "whatever else is in it");
        assert!(wrong("model = 'demo'").2.contains("version = 1"));
        assert!(wrong("version = 1\n").2.contains("model"));
        let (line, column, reason) = with("promt = 'x'");
        assert_eq!((line, column), (3, 1));
        assert!(reason.contains("unknown field `promt`") && reason.contains("`prompt`"), "{reason}");
        let (line, column, reason) = with("[[edit]]\nline = 'blocks.0.attn.hook_zz = 0'");
        assert_eq!((line, column), (4, 18), "{reason}");
        assert!(reason.contains("did you mean"), "{reason}");
        let (line, _, reason) = with("tokens = [1, -2]");
        assert_eq!(line, 3, "{reason}");
        assert_eq!(with("prompt = 'a").0, 3);
    }
}
