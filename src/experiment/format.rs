//! An experiment as text: everything that decides a run. TOML, versioned, to be edited by hand.

use std::{fmt::Display, ops::Range};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Spanned, de::DeTable};

use super::{EditLine, text};
use crate::{
    engine::{Map, Metric},
    hooks::{Edit, Schema},
    model::Processing,
    printed::escaped,
};

/// The version of the format that is written, and the latest that is read.
pub const VERSION: i64 = 1;

/// What stands above the experiment in its file.
const HEADING: &str = "# An experiment of pythia-tui. `pythia-tui --experiment FILE` explores it, `pythia-tui run --experiment FILE` runs it.\n";

/// What a program that shows runs keeps in an experiment's `[view]` table: where one looked. An experiment carries it, and
/// knows no more of it than this.
pub trait View: Clone + DeserializeOwned {
    /// The map that it shows, which a sweep fills in unless told otherwise.
    fn map(&self) -> Map;

    /// Whether it lies within the model and, where `n_pos` is given, the prompt of that many tokens.
    ///
    /// # Errors
    /// What does not exist, with what was expected.
    fn check(&self, schema: &Schema, n_pos: Option<usize>) -> Result<(), String>;
}

/// What a file holds. Keys that are left out have their usual values.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment<V> {
    pub version: i64,
    /// As `--model` takes it.
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default = "processed", with = "text")]
    pub processing: Processing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The ids that are run, as `--tokens` takes them; without them, those of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Spanned<Vec<u32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast_tokens: Option<Spanned<Vec<u32>>>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub prepend_bos: bool,
    /// Opt-in hooks that are on, as `--enable` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enable: Vec<Spanned<String>>,
    /// What a sweep measures, as `--metric` takes it; without it, [`Map::usual_metric`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub metric: Option<Metric>,
    /// As `--target` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Spanned<String>>,
    /// As `--distractor` takes it; empty where the target's logit is looked at alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distractor: Option<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<Spanned<V>>,
}

/// An edit of the list.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub line: Spanned<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub on: bool,
}

fn processed() -> Processing {
    Processing::Folded
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What is wrong with a file, and where: bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: Range<usize>,
    pub reason: String,
}

impl Wrong {
    /// Line and column of the place, from 1.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.at.start).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

impl<V: DeserializeOwned> Experiment<V> {
    /// # Errors
    /// No TOML, a version that is not known, a key that is not known or a value that it does not take, a line that is no
    /// edit.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong =
            |e: toml::de::Error| Wrong { at: e.span().unwrap_or(0..0), reason: escaped(e.message()).into_owned() };
        // the version first: of a newer one, nothing else need be as it is here
        let table = DeTable::parse(text).map_err(wrong)?;
        let version = table.get_ref().get("version");
        let at = version.map_or(0..0, Spanned::span);
        let number = version.and_then(|v| v.get_ref().as_integer()).and_then(|v| v.as_str().parse::<i64>().ok());
        let reason = match number {
            Some(1..=VERSION) => None,
            Some(newer) if newer > VERSION => Some(format!(
                "this experiment is of version {newer} and this program reads up to {VERSION}: a newer pythia-tui reads it"
            )),
            _ => Some(format!("expected `version = {VERSION}`")),
        };
        if let Some(reason) = reason {
            return Err(Wrong { at, reason });
        }
        let experiment: Self = toml::from_str(text).map_err(wrong)?;
        experiment.edits()?;
        Ok(experiment)
    }
}

impl<V> Experiment<V> {
    /// The edits, each with its place.
    ///
    /// # Errors
    /// A line that is no edit.
    pub fn edits(&self) -> Result<Vec<(EditLine, Range<usize>)>, Wrong> {
        let edit = |line: &Line| {
            let span = line.line.span();
            match line.line.get_ref().parse::<Edit>() {
                Ok(edit) => Ok((EditLine { edit, on: line.on }, span)),
                Err(e) => {
                    // behind the quotation mark
                    let start = (span.start + 1 + e.span.start).min(span.end);
                    let nearest = e.nearest.first().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
                    Err(Wrong { at: start..span.end, reason: format!("{}{nearest}", escaped(&e.message)) })
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
    fn what_is_left_out_is_as_usual() {
        let least = Experiment::parse("version = 1\nmodel = 'demo'\n").unwrap();
        assert_eq!((least.processing, least.metric, least.edit.len()), (Processing::Folded, None, 0));
        let text = "version = 1\nmodel = 'demo'\n[[edit]]\nline = 'hook_embed=0'\n[[edit]]\nline = 'hook_embed = 1'\non = false\n";
        let edits = Experiment::parse(text).unwrap().edits().unwrap();
        assert_eq!(edits.iter().map(|(line, _)| line.on).collect::<Vec<_>>(), [true, false]);
        assert_eq!(&text[edits[1].1.clone()], "'hook_embed = 1'");
    }

    #[test]
    fn line_ends_of_a_prompt_are_written_so_that_they_stay() {
        let text = "version = 1\nmodel = 'demo'\nprompt = \"\"\"one\\r\ntwo\\r\\nthree\\r\"\"\"\n";
        let read = Experiment::parse(text).unwrap();
        assert_eq!(read.prompt.as_deref(), Some("one\r\ntwo\r\nthree\r"));
        let written = read.to_string();
        assert!(!written.contains('\r'), "{written:?}");
        assert_eq!(Experiment::parse(&written).unwrap().prompt, read.prompt);
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_column() {
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
